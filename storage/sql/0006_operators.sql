-- Operators, their roles, credentials and sessions, and what each of them read.
SELECT 1;
