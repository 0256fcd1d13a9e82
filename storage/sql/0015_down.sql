DROP TRIGGER numbered_in_order ON app.payout;
DROP FUNCTION app.number_in_order();
-- With the sequence that it owns.
ALTER TABLE app.payout DROP COLUMN accepted_number;
