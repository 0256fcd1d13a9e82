-- What a merchant sees of foreign currency, which transfers a row comes to, and how a conversion ends without having been dealt.
-- The books compute all transfers from locked rows: no process says what moves.

CREATE FUNCTION app.receiving_account_view(r app.receiving_account) RETURNS jsonb LANGUAGE sql STABLE SET search_path = pg_catalog
    RETURN jsonb_build_object('id', r.id, 'object', 'receiving_account', 'user_id', r.user_id, 'bank_code', r.bank_code,
        'currency', r.currency, 'account_last4', r.account_last4, 'state', r.state, 'reason', r.reason,
        'state_since', app.instant(r.state_since), 'accepted_at', app.instant(r.accepted_at),
        'waiting_for', app.waiting_for(r.wait_reason, r.state_since, r.wait_until, r.wait_deadline));

CREATE FUNCTION app.inbound_view(b app.inbound) RETURNS jsonb LANGUAGE sql STABLE SET search_path = pg_catalog
    RETURN jsonb_build_object('id', b.id, 'object', 'inbound', 'user_id', b.user_id, 'bank_code', b.bank_code,
        'reference', b.reference, 'receiving_account_id', b.receiving_account_id, 'amount_minor', b.amount_minor,
        'currency', b.currency, 'value_date', b.value_date::text, 'booked_at', app.instant(b.booked_at),
        'purpose_code', b.purpose_code, 'remitter_country', b.remitter_country, 'state', b.state, 'reason', b.reason,
        'state_since', app.instant(b.state_since), 'received_at', app.instant(b.received_at));

CREATE FUNCTION app.inbound_return_view(r app.inbound_return) RETURNS jsonb LANGUAGE sql STABLE SET search_path = pg_catalog
    RETURN jsonb_build_object('id', r.id, 'object', 'inbound_return', 'inbound_id', r.inbound_id, 'fx_id', r.fx_id,
        'bank_code', r.bank_code, 'amount_minor', r.amount_minor, 'currency', r.currency, 'state', r.state,
        'reason', r.reason, 'bank_reference', r.bank_reference, 'booked_at', app.instant(r.booked_at),
        'state_since', app.instant(r.state_since), 'accepted_at', app.instant(r.accepted_at),
        'waiting_for', app.waiting_for(r.wait_reason, r.state_since, r.wait_until, r.wait_deadline));

CREATE FUNCTION app.fx_mandate_view(m app.fx_mandate) RETURNS jsonb LANGUAGE sql STABLE SET search_path = pg_catalog
    RETURN jsonb_build_object('id', m.id, 'object', 'fx_mandate', 'user_id', m.user_id, 'currency', m.currency,
        'purpose_code', m.purpose_code, 'is_trade', m.is_trade, 'evidence', m.evidence, 'residency', m.residency,
        'over_quota', m.over_quota, 'mandate_reference', m.mandate_reference, 'agreement_version', m.agreement_version,
        'valid_until', app.instant(m.valid_until), 'state', m.state, 'created_at', app.instant(m.created_at),
        'ended_at', app.instant(m.ended_at));

-- Nothing of what the person has settled elsewhere: a merchant learns what became of its own conversion.
CREATE FUNCTION app.fx_view(f app.fx) RETURNS jsonb LANGUAGE sql STABLE SET search_path = pg_catalog
    RETURN jsonb_build_object('id', f.id, 'object', 'fx', 'user_id', f.user_id, 'kind', f.kind, 'origin', f.origin,
        'order_number', f.order_number, 'mandate_id', f.mandate_id, 'inbound_id', f.inbound_id, 'rest_of', f.rest_of,
        'rest_id', (SELECT r.id FROM app.fx r WHERE r.rest_of = f.id ORDER BY r.id DESC LIMIT 1), 'reversal_of', f.reversal_of,
        'amount_minor', f.amount_minor, 'currency', f.currency, 'held_at', f.held_at,
        'purpose_code', f.purpose_code, 'is_trade', f.is_trade, 'evidence', f.evidence, 'residency', f.residency,
        'over_quota', f.over_quota, 'value_date', f.value_date::text, 'confirmation_hash', f.confirmation_hash,
        'agreement_version', f.agreement_version,
        'state', f.state, 'reason', f.reason, 'state_since', app.instant(f.state_since), 'accepted_at', app.instant(f.accepted_at),
        'desk', f.desk, 'planned', CASE WHEN f.state = 'waiting' AND f.slot_at IS NOT NULL THEN
            jsonb_build_object('at', app.instant(f.slot_at), 'provisional', f.plan_provisional) END,
        'quota', CASE WHEN f.quota_decision IS NOT NULL THEN jsonb_build_object('decision', f.quota_decision,
            'year', f.quota_year, 'usd_minor', f.quota_usd_minor) END,
        'cny_minor', f.cny_minor, 'dealt_at', app.instant(f.dealt_at), 'bank_reference', f.bank_reference,
        'rate_e8', f.rate_e8, 'remainder_e8', f.remainder_e8,
        'rate', (SELECT jsonb_build_object('rate_e8', q.rate_e8, 'publisher', q.publisher,
                'published_at', app.instant(q.published_at), 'valid_until', app.instant(q.valid_until),
                'used_at', app.instant(f.dealt_at))
            FROM app.fx_quote q WHERE f.rate_e8 IS NOT NULL AND q.bank_code = f.desk AND q.quote_id = f.quote_id),
        'delivered_at', app.instant(f.delivered_at), 'delivery_reference', f.delivery_reference,
        'reversed_minor', f.reversed_minor, 'shortfall_minor', f.shortfall_minor,
        'rate_difference_minor', f.rate_difference_minor,
        'waiting_for', app.waiting_for(f.wait_reason, f.state_since, f.wait_until, f.wait_deadline));

-- Tells the merchant, if there is one to tell: an event with the next number.
CREATE FUNCTION app.tell_of_fx(f app.fx, event text, at timestamptz) RETURNS app.fx LANGUAGE plpgsql
    SET search_path = pg_catalog AS $$
BEGIN
    UPDATE app.fx n SET event_sequence = n.event_sequence + 1 WHERE n.id = f.id RETURNING n.* INTO f;
    INSERT INTO app.event (merchant_id, object_id, sequence, type, at, body)
        VALUES (f.merchant_id, f.id, f.event_sequence, event, at, app.fx_view(f));
    RETURN f;
END $$;

CREATE FUNCTION app.note_fx(f app.fx, event text, at timestamptz, actor text, action text, why text)
RETURNS app.fx LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    INSERT INTO app.operation (at, actor, action, outcome, reason, subject_id, merchant_id)
        VALUES (at, actor, action, CASE f.state WHEN 'refused' THEN 'refused' WHEN 'unknown' THEN 'unknown' ELSE 'done' END,
            why, f.id, f.merchant_id);
    IF event IS NULL THEN RETURN f; END IF;
    RETURN app.tell_of_fx(f, event, at);
END $$;

-- One transfer or hold, for ledger.apply.
CREATE FUNCTION app.fx_movement(
    f app.fx, action text, key text, kind text, direction text, debit text, credit text, currency text, amount bigint, at timestamptz
) RETURNS jsonb LANGUAGE sql STABLE SET search_path = pg_catalog
    RETURN jsonb_build_array(jsonb_build_object('action', action, 'key', f.id || ':' || key, 'kind', kind, 'direction', direction,
        'debit', debit, 'credit', credit, 'currency', currency, 'amount', amount, 'instruction', f.id, 'reference', f.id,
        'booked_at', app.instant(at)));

CREATE FUNCTION app.end_hold(f app.fx, action text, key text, hold text, at timestamptz) RETURNS jsonb LANGUAGE sql STABLE
    SET search_path = pg_catalog
    RETURN jsonb_build_array(jsonb_build_object('action', action, 'key', f.id || ':' || key, 'hold', f.id || ':' || hold,
        'instruction', f.id, 'reference', f.id, 'booked_at', app.instant(at)));

-- Holds what is to be converted, on the user's account and where the currency lies; of a reversal, what there is of its CNY.
CREATE FUNCTION app.fx_hold(f app.fx, at timestamptz) RETURNS jsonb LANGUAGE sql STABLE SET search_path = pg_catalog
    RETURN CASE WHEN f.held_minor = 0 THEN '[]'::jsonb WHEN f.kind = 'conversion' THEN
        app.fx_movement(f, 'hold', 'hold:' || f.hold_number, 'fx_conversion', 'internal', 'user:' || f.user_id || ':' || f.currency,
            'reserve:' || f.held_at || ':' || f.currency, f.currency, f.held_minor, at)
    ELSE app.fx_movement(f, 'hold', 'hold:' || f.hold_number, 'fx_reversal', 'internal', 'user:' || f.user_id || ':CNY',
            'reserve:' || f.desk || ':CNY', 'CNY', f.held_minor, at) END;

CREATE FUNCTION app.fx_release(f app.fx, at timestamptz) RETURNS jsonb LANGUAGE sql STABLE SET search_path = pg_catalog
    RETURN CASE WHEN f.held_minor = 0 THEN '[]'::jsonb
        ELSE app.end_hold(f, 'release_hold', 'hold:' || f.hold_number || ':release', 'hold:' || f.hold_number, at) END;

-- What leaves for the desk: held from the deal on, posted when it is delivered.
CREATE FUNCTION app.fx_leg_out(f app.fx, action text, key text, at timestamptz) RETURNS jsonb LANGUAGE sql STABLE
    SET search_path = pg_catalog
    RETURN CASE WHEN f.kind = 'conversion' THEN
        app.fx_movement(f, action, key, 'bank_settlement', 'out', 'fx_position:' || f.desk || ':' || f.currency,
            'reserve:' || f.held_at || ':' || f.currency, f.currency, f.amount_minor, at)
    ELSE app.fx_movement(f, action, key, 'bank_settlement', 'out', 'fx_position:' || f.desk || ':CNY',
            'reserve:' || f.desk || ':CNY', 'CNY', f.cny_minor, at) END;

-- A deal moves what is given into the position of the desk; what it is delivered from is held until then.
CREATE FUNCTION app.fx_dealt(f app.fx, from_user bigint, at_once boolean, at timestamptz) RETURNS jsonb LANGUAGE sql STABLE
    SET search_path = pg_catalog
    RETURN app.fx_release(f, at) || CASE WHEN f.kind = 'conversion' THEN
        app.fx_movement(f, 'post', 'sold', 'fx_conversion', 'internal', 'user:' || f.user_id || ':' || f.currency,
            'fx_position:' || f.desk || ':' || f.currency, f.currency, f.amount_minor, at)
        || CASE WHEN at_once THEN '[]' ELSE app.fx_leg_out(f, 'hold', 'delivery', at) END
    ELSE
        CASE WHEN from_user > 0 THEN app.fx_movement(f, 'post', 'given', 'fx_reversal', 'internal',
            'user:' || f.user_id || ':CNY', 'fx_position:' || f.desk || ':CNY', 'CNY', from_user, at) ELSE '[]' END
        || CASE WHEN from_user < f.cny_minor THEN app.fx_movement(f, 'post', 'owed', 'fx_reversal', 'internal',
            'receivable:CNY', 'fx_position:' || f.desk || ':CNY', 'CNY', f.cny_minor - from_user, at) ELSE '[]' END
        || CASE WHEN at_once THEN '[]' ELSE app.fx_leg_out(f, 'hold', 'delivery', at) END
    END;

-- The settlement with the bank: both currencies have moved there, and the positions are back at nought.
CREATE FUNCTION app.fx_delivered(f app.fx, at_once boolean, at timestamptz) RETURNS jsonb LANGUAGE sql STABLE
    SET search_path = pg_catalog
    RETURN CASE WHEN at_once THEN app.fx_leg_out(f, 'post', 'delivered', at)
            ELSE app.end_hold(f, 'post_hold', 'delivered', 'delivery', at) END || CASE WHEN f.kind = 'conversion' THEN
        app.fx_movement(f, 'post', 'received', 'bank_settlement', 'in', 'reserve:' || f.desk || ':CNY',
            'fx_position:' || f.desk || ':CNY', 'CNY', f.cny_minor, at)
        || app.fx_movement(f, 'post', 'bought', 'fx_conversion', 'internal', 'fx_position:' || f.desk || ':CNY',
            'user:' || f.user_id || ':CNY', 'CNY', f.cny_minor, at)
    ELSE
        app.fx_movement(f, 'post', 'received', 'bank_settlement', 'in', 'reserve:' || f.held_at || ':' || f.currency,
            'fx_position:' || f.desk || ':' || f.currency, f.currency, f.amount_minor, at)
        || app.fx_movement(f, 'post', 'taken-back', 'fx_reversal', 'internal', 'fx_position:' || f.desk || ':' || f.currency,
            'user:' || f.user_id || ':' || f.currency, f.currency, f.amount_minor, at)
    END;

-- Takes the locks of a conversion in everybody's order and answers its row as it is then; all NULL if there is none.
CREATE FUNCTION app.lock_fx(fx_id text) RETURNS app.fx LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    f app.fx;
BEGIN
    SELECT * INTO f FROM app.fx WHERE id = fx_id;
    PERFORM 1 FROM app.merchant m WHERE m.id = f.merchant_id FOR KEY SHARE;
    PERFORM 1 FROM app.end_user u WHERE u.id = f.user_id FOR NO KEY UPDATE;
    SELECT * INTO f FROM app.fx WHERE id = fx_id FOR NO KEY UPDATE;
    RETURN f;
END $$;

-- Posts the transfers of one conversion, with what freezes take of them; raises where the ledger says no.
CREATE FUNCTION app.post_fx(f app.fx, transfers jsonb, what text, at timestamptz) RETURNS void LANGUAGE plpgsql
    SET search_path = pg_catalog AS $$
DECLARE
    s app.settlement;
    failed record;
BEGIN
    s.item := 0; s.kind := 'fx'; s.id := f.id; s.key := f.id || ':' || what; s.state := what; s.at := at;
    transfers := app.transfers_with_freezes(s, transfers);
    IF transfers = '[]' THEN RETURN; END IF;
    SELECT * INTO failed FROM ledger.apply(jsonb_build_array(jsonb_build_object('item', 0, 'transfers', transfers)));
    IF failed.error IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'LS003', MESSAGE = failed.error, DETAIL = coalesce(failed.detail::text, '');
    END IF;
END $$;

-- By which freeze money of a user stays what and where it is: by one of all of it, or one of an amount that lacks money.
CREATE FUNCTION app.frozen_by(who text, cur text, instant timestamptz) RETURNS text LANGUAGE sql STABLE SET search_path = pg_catalog
    RETURN (SELECT CASE r.kind WHEN 'authority_order' THEN 'authority_hold' ELSE 'funds_frozen' END FROM app.restriction r
        WHERE r.subject_id = who AND r.lifted_at IS NULL AND (r.ends_at IS NULL OR r.ends_at > instant)
          AND app.is_freeze(r) AND r.function IS NULL
          AND (r.amount_minor IS NULL OR r.currency = cur AND r.amount_minor > app.frozen_minor(r.id))
        ORDER BY r.kind LIMIT 1);

-- Up to which day the latest of what a user has received is not at our disposal at its bank (A5.1a), or NULL. Which remittance a
-- balance consists of nobody can say: the latest counts. A value date on a day off is the next working day of the currency's
-- centre, so that one of the last days may still be ahead.
CREATE FUNCTION app.value_date_ahead(who text, cur text, at timestamptz) RETURNS date
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog
    RETURN (SELECT max(b.value_date) FROM app.inbound b WHERE b.user_id = who AND b.currency = cur AND b.state = 'credited'
        AND b.value_date > app.business_date(at) - 15);

-- What keeps a conversion where it is for now, and passes.
CREATE FUNCTION app.fx_obstacle(f app.fx, instant timestamptz) RETURNS text LANGUAGE sql STABLE SET search_path = pg_catalog
    RETURN CASE
        WHEN f.desk IS NOT NULL AND NOT EXISTS (SELECT 1 FROM app.partner t WHERE t.code = f.desk AND t.enabled)
            THEN 'partner_not_available'
        WHEN EXISTS (SELECT 1 FROM app.end_user u WHERE u.id = f.user_id AND u.state <> 'active') THEN 'user_not_active'
        -- What a desk has turned away and says since that it dealt: not once more, until people have looked.
        WHEN EXISTS (SELECT 1 FROM app.effect e JOIN app.case_record c ON c.id = 'case_' || e.request_number
            WHERE e.subject_id = f.id AND e.step IN ('FX', 'FR') AND e.outcome = 'declined' AND (c.state = 'open' OR EXISTS (
                -- Nor once they have found that it did deal.
                SELECT 1 FROM app.decision d WHERE d.id = c.resolved_by AND d.detail->>'resolution' = 'confirmed')))
            THEN 'bank_contradicts_itself'
        ELSE coalesce(app.restricted('fx', f.user_id, f.merchant_id, f.user_id, instant, false),
            -- A reversal takes CNY.
            app.frozen_by(f.user_id, CASE f.kind WHEN 'conversion' THEN f.currency ELSE 'CNY' END, instant)) END;

-- Where a conversion stands, for its process.
CREATE FUNCTION app.fx_standing(fx_id text, at timestamptz) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog
    RETURN (SELECT jsonb_build_object('state', f.state, 'reason', f.reason, 'obstacle', app.fx_obstacle(f, at))
        FROM app.fx f WHERE f.id = fx_id);
