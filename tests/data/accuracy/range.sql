\set lo random(1, 100000 * :scale - 100)
\set hi :lo + 99
SELECT aid, abalance FROM pgbench_accounts WHERE aid BETWEEN :lo AND :hi;
