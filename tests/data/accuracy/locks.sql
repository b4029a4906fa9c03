BEGIN;
UPDATE hot SET n = n + 1 WHERE id = 1;
\sleep 2 ms
END;
