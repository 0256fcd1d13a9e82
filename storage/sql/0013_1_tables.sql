-- Settlement of merchants: what their users paid them, once a business day.
SELECT 1;
