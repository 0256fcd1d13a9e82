-- Freezes of amounts, which reach what is already waiting; decisions on payouts.
SELECT 1;
