DROP FUNCTION keys.read_retention_keys(text[]), keys.destroy_retention_keys(text[], text, timestamptz),
    keys.keep_retention_keys(jsonb);
DROP TABLE keys.retention_key;
DROP FUNCTION keys.keep_retention_destroyed(), keys.refuse_removal();
