-- An API key for everything has more scopes than before.
ALTER TABLE app.api_key DROP CONSTRAINT api_key_scopes_check;
ALTER TABLE app.api_key ADD CONSTRAINT api_key_scopes_check CHECK (cardinality(scopes) BETWEEN 1 AND 40);
