-- Calendars and hours of banks, as operators load them, and the release slots of payouts.
SELECT 1;
