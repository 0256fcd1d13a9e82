-- Webhook endpoints, their secrets, deliveries, and the reading of events.
SELECT 1;
