DROP TRIGGER accepted_in_order ON app.payout;
DROP FUNCTION app.accept_in_order();
DROP INDEX app.payout_of_user_in_order;
