-- Signing keys of merchants, the signatures of their instructions, mandates.
SELECT 1;
