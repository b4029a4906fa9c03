\set lo random(1, 100000 * :scale - 20000)
\set hi :lo + 20000
SELECT count(*) FROM (SELECT aid, filler FROM pgbench_accounts WHERE aid BETWEEN :lo AND :hi ORDER BY abalance, aid DESC, filler OFFSET 0) s;
