-- Risk decisions and screening lists.
SELECT 1;
