\set lo random(1, 100000 * :scale - 50000)
\set hi :lo + 50000
SELECT sum(abalance), avg(abalance), count(DISTINCT abalance) FROM pgbench_accounts WHERE aid BETWEEN :lo AND :hi;
