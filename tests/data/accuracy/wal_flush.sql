\set n random(1, 1000000)
INSERT INTO journal (n) VALUES (:n);
