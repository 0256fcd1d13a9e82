-- The bank account that a merchant is settled to: proposed by the merchant's signed instruction, and in force once two of the
-- institution's people have approved it.

-- item: {request, now, id, holder_type, region, bank_id_kind, bank_id, account_index, account_last4, name_index, sealed: [...],
--        element_tokens}. A later proposal takes the place of one that is not decided yet.
CREATE FUNCTION app.propose_settlement_account(i jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    whose text := i->'request'->>'merchant_id';
    instant timestamptz := (i->>'now')::timestamptz;
    y app.payee;
    same text;
    error text;
    answer jsonb;
BEGIN
    PERFORM 1 FROM app.merchant WHERE id = whose FOR NO KEY UPDATE;
    SELECT * INTO y FROM app.payee WHERE id = i->>'id';
    SELECT o.id INTO same FROM app.payee o WHERE o.merchant_id = whose AND o.user_id IS NULL AND o.state = 'active'
        AND o.region = i->>'region' AND o.bank_id = i->>'bank_id' AND o.account_index = i->>'account_index';
    IF y.id IS NULL AND NOT EXISTS (SELECT 1 FROM app.merchant m WHERE m.id = whose AND m.state = 'active'
            AND m.contract_until > instant) THEN
        error := 'merchant_suspended';
    ELSIF y.id IS NULL AND same IS NOT NULL THEN
        error := 'payee_exists';
    ELSIF y.id IS NULL THEN
        UPDATE app.payee SET state = 'removed', removed_at = instant
            WHERE merchant_id = whose AND user_id IS NULL AND state = 'proposed';
        PERFORM vault.store_items(i->'sealed');
        INSERT INTO app.payee AS n (id, merchant_id, relation, holder_type, region, bank_id_kind, bank_id, account_index,
                account_last4, name_index, element_tokens, name_match, state, created_at)
            VALUES (i->>'id', whose, 'own', i->>'holder_type', i->>'region', i->>'bank_id_kind', i->>'bank_id',
                i->>'account_index', i->>'account_last4', i->>'name_index', i->'element_tokens', 'unknown', 'proposed',
                instant)
            RETURNING n.* INTO y;
    END IF;
    answer := CASE WHEN error IS NULL THEN jsonb_build_object('ok', true, 'resource', app.payee_view(y))
        ELSE jsonb_build_object('ok', false, 'error', error, 'subject_id', same) END;
    PERFORM app.finish_request(whose, i->'request'->>'idempotency_key', i->'request'->>'request_id',
        i->'request'->>'key_id', 'propose_settlement_account', instant, i->>'id', answer);
    RETURN answer;
END $$;

CREATE OR REPLACE FUNCTION app.merchant_of_settlement(what text, subject text) RETURNS text LANGUAGE sql STABLE
    SET search_path = pg_catalog
    RETURN (SELECT y.merchant_id FROM app.payee y WHERE y.id = subject AND y.user_id IS NULL);

CREATE OR REPLACE FUNCTION app.why_not_settlement(what text, subject text, more jsonb, at timestamptz) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    standing text;
BEGIN
    PERFORM 1 FROM app.merchant m WHERE m.id = (SELECT y.merchant_id FROM app.payee y WHERE y.id = subject) FOR NO KEY UPDATE;
    SELECT y.state INTO standing FROM app.payee y WHERE y.id = subject AND y.user_id IS NULL FOR UPDATE;
    RETURN CASE WHEN standing IS DISTINCT FROM 'proposed' THEN 'decision_not_applicable' END;
END $$;

CREATE OR REPLACE FUNCTION app.carry_out_settlement(d app.decision) RETURNS void LANGUAGE plpgsql
    SET search_path = pg_catalog AS $$
BEGIN
    UPDATE app.payee SET state = 'removed', removed_at = d.decided_at
        WHERE merchant_id = d.merchant_id AND user_id IS NULL AND state = 'active';
    UPDATE app.payee SET state = 'active' WHERE id = d.subject_id;
END $$;
