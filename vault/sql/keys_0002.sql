GRANT USAGE ON SCHEMA keys TO {ops};
GRANT EXECUTE ON FUNCTION keys.read_user_key(text) TO {ops};
