-- Decisions, restrictions and withdrawals, and the send claim that meets them.
SELECT 1;
