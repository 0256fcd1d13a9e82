-- The review queue.
SELECT 1;
