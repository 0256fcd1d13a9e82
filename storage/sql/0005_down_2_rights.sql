REVOKE ALL ON FUNCTION
    app.begin_requests(jsonb), app.finish_request(text, text, text, text, text, timestamptz, text, jsonb)
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app.begin_requests(jsonb) TO {app};
