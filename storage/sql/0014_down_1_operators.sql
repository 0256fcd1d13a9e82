-- Operators see nothing of the ledger any more.
DROP FUNCTION app.open_positions;
