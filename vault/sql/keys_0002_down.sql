REVOKE ALL ON FUNCTION keys.read_user_key(text) FROM {ops};
REVOKE ALL ON SCHEMA keys FROM {ops};
