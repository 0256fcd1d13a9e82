-- A consent to keep data longer has a last day (P4.5f). Former body: 0007_6_following.sql.
CREATE OR REPLACE FUNCTION app.record_consent(i jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    whose text := i->'request'->>'merchant_id';
    instant timestamptz := (i->>'now')::timestamptz;
    u app.end_user;
    what text := i->>'kind';
    answer jsonb;
    error text;
    waived text[];
BEGIN
    PERFORM 1 FROM app.merchant WHERE id = whose FOR KEY SHARE;
    SELECT * INTO u FROM app.end_user WHERE id = i->>'user_id' AND merchant_id = whose FOR NO KEY UPDATE;
    IF NOT FOUND THEN error := 'user_not_found';
    -- Of whoever has left nothing more is collected (P4.5d).
    ELSIF u.state = 'closed' THEN error := 'user_not_active';
    ELSIF what = 'agreement' AND NOT EXISTS (
        SELECT 1 FROM app.agreement_version a WHERE a.version = i->>'version' AND a.content_hash = i->>'content_hash'
            AND a.in_force_from <= instant AND (a.in_force_until IS NULL OR a.in_force_until > instant)) THEN
        error := 'agreement_version_unknown';
    ELSIF what IN ('waiver_authorisation', 'waiver_notice') AND NOT EXISTS (
        SELECT 1 FROM app.waiver_application w WHERE w.merchant_id = whose AND w.state = 'approved') THEN
        error := 'waiver_not_enabled';
    ELSIF what IN ('waiver_authorisation', 'waiver_notice') AND NOT EXISTS (
        SELECT 1 FROM app.waiver_application w
        WHERE w.merchant_id = whose AND w.state = 'approved' AND w.id = i->>'version') THEN
        error := 'waiver_version_unknown';
    END IF;
    IF error IS NOT NULL THEN
        answer := jsonb_build_object('ok', false, 'error', error);
    ELSE
        INSERT INTO app.consent (user_id, merchant_id, kind, version, content_hash, channel, evidence_ref, acted_at, until_on)
            VALUES (u.id, whose, what, i->>'version', i->>'content_hash', i->>'channel', i->>'evidence_ref',
                    (i->>'acted_at')::timestamptz, (i->>'until_on')::date);
        IF what LIKE 'waiver%' THEN
            INSERT INTO app.user_waiver AS w (user_id, authorised_version, noticed_version, objected_at)
                VALUES (u.id, CASE what WHEN 'waiver_authorisation' THEN i->>'version' END,
                        CASE what WHEN 'waiver_notice' THEN i->>'version' END,
                        CASE what WHEN 'waiver_objection' THEN instant END)
                ON CONFLICT (user_id) DO UPDATE SET
                    authorised_version = CASE what WHEN 'waiver_authorisation' THEN i->>'version'
                        WHEN 'waiver_objection' THEN NULL ELSE w.authorised_version END,
                    noticed_version = CASE what WHEN 'waiver_notice' THEN i->>'version' ELSE w.noticed_version END,
                    objected_at = CASE what WHEN 'waiver_objection' THEN instant
                        WHEN 'waiver_authorisation' THEN NULL ELSE w.objected_at END;
        END IF;
        IF what = 'waiver_objection' THEN
            SELECT coalesce(array_agg(p.id ORDER BY p.id), '{}') INTO waived
                FROM app.payment p WHERE p.user_id = u.id AND p.verification = 'waived';
            INSERT INTO app.case_record (id, kind, subject_id, merchant_id, opened_at, payments)
                VALUES (i->>'case_id', 'waiver_objection', u.id, whose, instant, waived) ON CONFLICT DO NOTHING;
        END IF;
        answer := jsonb_build_object('ok', true, 'resource', jsonb_build_object('object', 'consent', 'user_id', u.id,
            'kind', what, 'version', i->>'version', 'acted_at', app.instant((i->>'acted_at')::timestamptz),
            'recorded_at', app.instant(instant), 'until_on', (i->>'until_on')::date,
            'case_id', CASE what WHEN 'waiver_objection' THEN i->>'case_id' END));
    END IF;
    PERFORM app.finish_request(whose, i->'request'->>'idempotency_key', i->'request'->>'request_id',
        i->'request'->>'key_id', 'record_' || what, instant, i->>'user_id', answer);
    RETURN answer;
END $$;
