REVOKE ALL ON FUNCTION
    app.check_signing_key(), app.signing_key_view(app.signing_key), app.signature_fault(jsonb, text, timestamptz),
    app.register_signing_key(jsonb), app.revoke_signing_key(jsonb)
    FROM PUBLIC;
GRANT SELECT ON app.signing_key TO {app}, {ops};
GRANT SELECT ON app.instruction_signature TO {ops};
GRANT EXECUTE ON FUNCTION
    app.signing_key_view(app.signing_key), app.register_signing_key(jsonb), app.revoke_signing_key(jsonb)
    TO {app}, {ops};
