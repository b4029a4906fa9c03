-- What the planted bottlenecks work on, beside the tables of pgbench.
CREATE EXTENSION pg_prewarm;
CREATE TABLE hot (id int PRIMARY KEY, n bigint NOT NULL);
INSERT INTO hot SELECT i, 0 FROM generate_series(1, 100) i;
CREATE TABLE journal (id bigserial PRIMARY KEY, n int NOT NULL);
CREATE TABLE orders (id int PRIMARY KEY, customer int NOT NULL, amount numeric NOT NULL, note text);
INSERT INTO orders
SELECT i, 1 + (i::bigint * 7919) % 20000, (i % 1000) / 7.0, repeat('x', 60)
FROM generate_series(1, 100000) i;
VACUUM ANALYZE;
