\set lo random(1, 100000 * :scale - 20000)
\set hi :lo + 20000
SELECT sum(abalance) FROM pgbench_accounts WHERE aid BETWEEN :lo AND :hi;
