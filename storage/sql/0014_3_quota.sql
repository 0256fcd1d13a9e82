-- The yearly quota of a person (L9, A5.2a-d): reserved when a conversion is planned, used when it is dealt, by the year in which it
-- is converted. Nobody asks the authority: what a partner says of it is learned (A5.2b).
-- Locks: merchant, user, the conversion, then the quota of a person and year, then balances.

CREATE FUNCTION app.minor_digits(currency text) RETURNS int LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog
    RETURN CASE currency WHEN 'JPY' THEN 0 ELSE 2 END;

-- What an amount of a currency comes to at a rate, in 10^-8 minor units of CNY or USD: exact.
CREATE FUNCTION app.exact_e8(minor bigint, currency text, rate_e8 bigint) RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog
    RETURN minor::numeric * rate_e8 * (10 ^ (2 - app.minor_digits(currency))::numeric)::bigint;

-- In CNY, to the fen: half a fen counts as one. Rates are above nought, so that this is what the desk does, too.
CREATE FUNCTION app.cny_of(minor bigint, currency text, rate_e8 bigint) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog
    RETURN div(2 * app.exact_e8(minor, currency, rate_e8) + 100000000, 200000000)::bigint;

-- In USD, to the cent, rounded up, so that a quota is never overrun by rounding.
CREATE FUNCTION app.usd_of(minor bigint, currency text, usd_e8 bigint) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog
    RETURN div(app.exact_e8(minor, currency, usd_e8) + 99999999, 100000000)::bigint;

-- The most of a currency that comes to so many cents, or fewer.
CREATE FUNCTION app.most_within(usd_minor bigint, currency text, usd_e8 bigint) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog
    RETURN div(usd_minor::numeric * 100000000, usd_e8 * (10 ^ (2 - app.minor_digits(currency))::numeric)::bigint)::bigint;

CREATE FUNCTION app.year_of(at timestamptz) RETURNS int LANGUAGE sql IMMUTABLE SET search_path = pg_catalog
    RETURN extract(year FROM app.business_date(at))::int;

-- The authority's rate of the latest month, as far as one is in force; USD counts as itself.
CREATE FUNCTION app.authority_rate_at(cur text, at timestamptz) RETURNS app.authority_rate LANGUAGE sql STABLE
    SET search_path = pg_catalog
    BEGIN ATOMIC
        SELECT cur, date_trunc('month', app.business_date(at)::timestamp)::date, 100000000::bigint, 'USD', at WHERE cur = 'USD'
        UNION ALL
        (SELECT r.currency, r.month, r.usd_e8, r.source, r.loaded_at FROM app.authority_rate r, app.fx_rule l
            WHERE r.currency = cur AND cur <> 'USD' AND r.month <= app.business_date(at)
              AND app.business_date(at) - r.month <= l.authority_rates_valid_days
            ORDER BY r.month DESC LIMIT 1);
    END;

-- Trade with evidence is exempt; a flag without evidence is not (A5.2d). Enterprises have no quota, and a reversal gives back.
CREATE FUNCTION app.quota_exemption(f app.fx) RETURNS text LANGUAGE sql IMMUTABLE SET search_path = pg_catalog
    RETURN CASE WHEN f.kind = 'reversal' OR f.residency = 'enterprise' THEN 'not_subject'
        WHEN f.is_trade AND f.evidence <> '[]' THEN 'exempt_trade' END;

CREATE FUNCTION app.person_of(who text) RETURNS text LANGUAGE sql STABLE SET search_path = pg_catalog
    RETURN (SELECT u.person_index FROM app.end_user u WHERE u.id = who);

-- Takes the row of a person's year, and answers it.
CREATE FUNCTION app.lock_quota(person text, of_year int) RETURNS app.fx_quota LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    q app.fx_quota;
BEGIN
    INSERT INTO app.fx_quota (person_index, year) VALUES (person, of_year) ON CONFLICT DO NOTHING;
    SELECT * INTO q FROM app.fx_quota x WHERE x.person_index = person AND x.year = of_year FOR UPDATE;
    RETURN q;
END $$;

-- Every change of a quota, with what it was for.
CREATE FUNCTION app.move_quota(person text, of_year int, fx_id text, reserved bigint, used bigint, why text, at timestamptz)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    PERFORM app.lock_quota(person, of_year);
    UPDATE app.fx_quota q SET reserved_usd_minor = q.reserved_usd_minor + reserved, used_usd_minor = q.used_usd_minor + used,
            exceeded_at = CASE why WHEN 'learned_exceeded' THEN coalesce(q.exceeded_at, move_quota.at) ELSE q.exceeded_at END
        WHERE q.person_index = person AND q.year = of_year;
    INSERT INTO app.fx_quota_entry (person_index, year, fx_id, reserved_usd_minor, used_usd_minor, why, at)
        VALUES (person, of_year, fx_id, reserved, used, why, at);
END $$;

CREATE FUNCTION app.has_reservation(f app.fx) RETURNS boolean LANGUAGE sql IMMUTABLE SET search_path = pg_catalog
    RETURN f.quota_year IS NOT NULL AND f.state IN ('waiting', 'sending', 'unknown');

-- Gives back what is reserved for a conversion; the caller writes the row.
CREATE FUNCTION app.release_quota(f app.fx, at timestamptz) RETURNS app.fx LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    IF app.has_reservation(f) THEN
        PERFORM app.move_quota(app.person_of(f.user_id), f.quota_year, f.id, -f.quota_usd_minor, 0, 'released', at);
    END IF;
    f.quota_year := NULL; f.quota_usd_minor := NULL; f.quota_usd_e8 := NULL; f.quota_rate_month := NULL;
    RETURN f;
END $$;

-- Whether what was decided about the quota still holds at an instant: it is that of the year of conversion, by the rate in force.
CREATE FUNCTION app.quota_is_current(f app.fx, at timestamptz) RETURNS boolean LANGUAGE sql STABLE SET search_path = pg_catalog
    RETURN CASE WHEN app.quota_exemption(f) IS NOT NULL THEN true
        ELSE f.quota_year IS NOT DISTINCT FROM app.year_of(at)
            AND f.quota_rate_month IS NOT DISTINCT FROM (app.authority_rate_at(f.currency, at)).month END;

-- Decides what of a conversion may be converted at an instant, and reserves it: `part_minor` is all of it, some, or nought.
-- The row comes back with the decision; the caller writes it, and splits off the rest.
CREATE FUNCTION app.reserve_quota(f app.fx, converted_at timestamptz, at timestamptz, OUT decided app.fx, OUT part_minor bigint)
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    person text := app.person_of(f.user_id);
    exempt text := app.quota_exemption(f);
    of_year int := app.year_of(converted_at);
    r app.authority_rate := app.authority_rate_at(f.currency, converted_at);
    q app.fx_quota;
    left_minor bigint;
BEGIN
    decided := f;
    part_minor := f.amount_minor;
    IF exempt IS NOT NULL THEN
        decided.quota_decision := exempt;
        RETURN;
    END IF;
    IF app.quota_is_current(f, converted_at) AND f.quota_decision IN ('within', 'documents') THEN RETURN; END IF;
    -- Years in their order, so that two who move from one to the other, and back, do not wait for each other.
    PERFORM app.lock_quota(person, least(f.quota_year, of_year));
    decided := app.release_quota(decided, at);
    q := app.lock_quota(person, of_year);
    IF q.exceeded_at IS NOT NULL THEN
        decided.quota_decision := 'known_exceeded';
        part_minor := 0;
        RETURN;
    END IF;
    IF f.residency = 'foreign_individual' AND f.evidence <> '[]' THEN
        decided.quota_decision := 'documents';
    ELSE
        left_minor := greatest((SELECT l.yearly_quota_usd_minor FROM app.fx_rule l) - q.used_usd_minor - q.reserved_usd_minor, 0);
        part_minor := least(f.amount_minor, app.most_within(left_minor, f.currency, r.usd_e8));
        decided.quota_decision := 'within';
        IF part_minor < f.amount_minor AND (f.over_quota = 'hold' OR part_minor = 0) THEN
            decided.quota_decision := 'exceeded';
            part_minor := 0;
            RETURN;
        END IF;
    END IF;
    decided.quota_year := of_year; decided.quota_usd_e8 := r.usd_e8; decided.quota_rate_month := r.month;
    decided.quota_usd_minor := app.usd_of(part_minor, f.currency, r.usd_e8);
    PERFORM app.move_quota(person, of_year, f.id, decided.quota_usd_minor, 0, 'reserved', at);
END $$;

-- What was reserved is used once it is dealt, in the year in which the desk has dealt it.
CREATE FUNCTION app.use_quota(f app.fx, dealt_at timestamptz, at timestamptz) RETURNS app.fx LANGUAGE plpgsql
    SET search_path = pg_catalog AS $$
DECLARE
    person text := app.person_of(f.user_id);
BEGIN
    IF NOT app.has_reservation(f) THEN RETURN f; END IF;
    PERFORM app.lock_quota(person, least(f.quota_year, app.year_of(dealt_at)));
    PERFORM app.move_quota(person, f.quota_year, f.id, -f.quota_usd_minor, 0, 'released', at);
    f.quota_year := app.year_of(dealt_at);
    PERFORM app.move_quota(person, f.quota_year, f.id, 0, f.quota_usd_minor, 'used', at);
    RETURN f;
END $$;
