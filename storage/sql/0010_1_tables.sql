-- Calendars, hours and closures of banks, as operators load them, and the release slots of payouts (A6.4a-b, Q4).
-- Whatever changes when money can leave makes a new version of all of it. Every plan rests on one version, so that those that
-- rest on an older one are found. All rows stay as they were loaded; a later version wins day by day and bank by bank.

CREATE TABLE app.calendar_version (
    version bigint PRIMARY KEY CHECK (version > 0),
    kind text NOT NULL CHECK (kind IN ('calendar', 'hours', 'closure', 'partner')),
    -- The operator; of a partner that was switched on or off, the decision is on record.
    loaded_by text NOT NULL CHECK (char_length(loaded_by) <= 80),
    note text NOT NULL CHECK (char_length(note) BETWEEN 1 AND 200),
    fingerprint text NOT NULL CHECK (fingerprint ~ '^[0-9a-f]{64}$'),
    at timestamptz NOT NULL
);

-- A general calendar, or a bank's own days on top of the mainland's.
CREATE TABLE app.calendar_day (
    version bigint NOT NULL REFERENCES app.calendar_version,
    calendar text NOT NULL CHECK (calendar ~ '^(CN|HK|MO|TW|[A-Z]{4})$'),
    day date NOT NULL CHECK (day BETWEEN '2020-01-01' AND '2099-12-31'),
    is_working boolean NOT NULL,
    name text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 60),
    PRIMARY KEY (calendar, day, version)
);

-- A year that was loaded as a whole: what had been thought of it before falls away.
CREATE TABLE app.published_year (
    version bigint NOT NULL REFERENCES app.calendar_version,
    calendar text NOT NULL CHECK (calendar IN ('CN', 'HK', 'MO', 'TW')),
    year int NOT NULL CHECK (year BETWEEN 2020 AND 2099),
    PRIMARY KEY (calendar, year, version)
);

-- [{weekdays: [1…7], opens: "08:30", closes: "17:00"}]; NULL: the hours of the route again.
CREATE TABLE app.bank_hours (
    version bigint NOT NULL REFERENCES app.calendar_version,
    bank_code text NOT NULL REFERENCES app.partner,
    ranges jsonb CHECK (jsonb_typeof(ranges) = 'array' AND jsonb_array_length(ranges) BETWEEN 1 AND 28),
    PRIMARY KEY (bank_code, version)
);

-- Without `until_at` the bank is open again from `from_at` on: earlier closures end there.
CREATE TABLE app.bank_closure (
    version bigint NOT NULL REFERENCES app.calendar_version,
    bank_code text NOT NULL REFERENCES app.partner,
    from_at timestamptz NOT NULL,
    until_at timestamptz CHECK (until_at > from_at AND until_at <= from_at + interval '60 days'),
    PRIMARY KEY (bank_code, version)
);

-- Planning takes the row of a bank, so that two payouts are never given the last place of one second.
CREATE TABLE app.bank_slots (bank_code text PRIMARY KEY REFERENCES app.partner);

-- How many payouts leave by a bank in a second, by the plans of a version. Nobody's truth: what is over is deleted.
CREATE TABLE app.release_second (
    bank_code text NOT NULL,
    version bigint NOT NULL,
    second timestamptz NOT NULL CHECK (second = date_trunc('second', second)),
    taken int NOT NULL CHECK (taken >= 0),
    PRIMARY KEY (bank_code, version, second)
) WITH (fillfactor = 60);

-- The slot is lost at `release_until`, when its window closes. Arrival follows the slot after `arrives_after`, or does not
-- depend on it.
ALTER TABLE app.payout ADD COLUMN release_until timestamptz, ADD COLUMN arrives_after interval;
-- Who of a bank's backlog was accepted last.
CREATE INDEX payout_waiting_by_acceptance ON app.payout (bank_code, accepted_at, id) WHERE state = 'scheduled';

DO $$
DECLARE
    t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['calendar_version', 'calendar_day', 'published_year', 'bank_hours', 'bank_closure'] LOOP
        EXECUTE format('CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON app.%I
            FOR EACH ROW EXECUTE FUNCTION app.forbid_change()', t);
        EXECUTE format('CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON app.%I
            EXECUTE FUNCTION app.forbid_change()', t);
    END LOOP;
END $$;
