-- Where a merchant wants to be told of events, and what became of each telling.

CREATE TABLE app.webhook_endpoint (
    id text PRIMARY KEY,
    merchant_id text NOT NULL REFERENCES app.merchant,
    url text NOT NULL CHECK (char_length(url) <= 500),
    event_types text[] NOT NULL CHECK (cardinality(event_types) <= 50),
    description text NOT NULL CHECK (char_length(description) <= 200),
    state text NOT NULL DEFAULT 'enabled' CHECK (state IN ('enabled', 'disabled', 'deleted')),
    state_since timestamptz NOT NULL,
    reason text CHECK (reason IN ('by_merchant', 'gone', 'failing')),
    created_at timestamptz NOT NULL,
    -- Up to where its merchant's events were handed to it.
    cursor_xid xid8 NOT NULL,
    cursor_position bigint NOT NULL,
    failing_since timestamptz,
    -- Whether the last attempt was a quick success; until then, and again after anything else, there is one slot.
    well boolean NOT NULL DEFAULT false,
    quiet_until timestamptz,
    event_sequence int NOT NULL DEFAULT 0,
    CHECK ((state = 'enabled') = (reason IS NULL))
) WITH (fillfactor = 70);
CREATE INDEX webhook_endpoint_of_merchant ON app.webhook_endpoint (merchant_id, id) WHERE state <> 'deleted';
CREATE INDEX webhook_endpoint_enabled ON app.webhook_endpoint (id) WHERE state = 'enabled';

-- Sealed under a key that no database holds. One without an end signs; after a rotation the former ones sign as well
-- until theirs.
CREATE TABLE app.webhook_secret (
    id text PRIMARY KEY,
    endpoint_id text NOT NULL REFERENCES app.webhook_endpoint,
    sealed bytea NOT NULL CHECK (octet_length(sealed) BETWEEN 28 AND 200),
    created_at timestamptz NOT NULL,
    expires_at timestamptz
);
CREATE UNIQUE INDEX one_lasting_secret ON app.webhook_secret (endpoint_id) WHERE expires_at IS NULL;
CREATE INDEX webhook_secret_of_endpoint ON app.webhook_secret (endpoint_id);

-- One event for one endpoint. `pending`: its turn, due at next_attempt_at; a lease moves that instant on, so that what a
-- dead sender held becomes due by itself. `waiting`: an earlier one of the same object comes first.
CREATE TABLE app.webhook_delivery (
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id text NOT NULL UNIQUE DEFAULT 'whd_' || upper(replace(gen_random_uuid()::text, '-', '')),
    endpoint_id text NOT NULL REFERENCES app.webhook_endpoint,
    event_id text NOT NULL REFERENCES app.event (id),
    object_id text NOT NULL,
    sequence int NOT NULL,
    kind text NOT NULL CHECK (kind IN ('event', 'replay', 'test')),
    state text NOT NULL CHECK (state IN ('waiting', 'pending', 'delivered', 'given_up', 'cancelled')),
    created_at timestamptz NOT NULL,
    next_attempt_at timestamptz,
    leased_until timestamptz,
    attempts int NOT NULL DEFAULT 0,
    failures int NOT NULL DEFAULT 0,
    ended_at timestamptz,
    CHECK ((state IN ('waiting', 'pending')) = (ended_at IS NULL)),
    CHECK ((state = 'pending') = (next_attempt_at IS NOT NULL))
) WITH (fillfactor = 70);
CREATE UNIQUE INDEX one_delivery_per_endpoint_and_event ON app.webhook_delivery (endpoint_id, event_id)
    WHERE kind = 'event';
CREATE INDEX webhook_delivery_due ON app.webhook_delivery (endpoint_id, next_attempt_at, position)
    WHERE state = 'pending';
CREATE INDEX webhook_delivery_leased ON app.webhook_delivery (endpoint_id) WHERE leased_until IS NOT NULL;
CREATE INDEX webhook_delivery_open ON app.webhook_delivery (endpoint_id, object_id, kind, sequence, position)
    WHERE state IN ('waiting', 'pending');
CREATE INDEX webhook_delivery_of_endpoint ON app.webhook_delivery (endpoint_id, position);
CREATE INDEX webhook_delivery_ended ON app.webhook_delivery (ended_at) WHERE ended_at IS NOT NULL;

CREATE TABLE app.webhook_attempt (
    delivery bigint NOT NULL REFERENCES app.webhook_delivery ON DELETE CASCADE,
    number int NOT NULL CHECK (number > 0),
    started_at timestamptz NOT NULL,
    duration_ms int NOT NULL CHECK (duration_ms >= 0),
    status int CHECK (status BETWEEN 100 AND 999),
    error text CHECK (char_length(error) <= 60),
    response text CHECK (char_length(response) <= 500),
    PRIMARY KEY (delivery, number)
);

-- An endpoint that the institution had to disable is a case for its operators. More kinds come with later migrations.
ALTER TABLE app.case_record DROP CONSTRAINT case_record_kind_check;
ALTER TABLE app.case_record ADD CONSTRAINT case_record_kind_check CHECK (kind ~ '^[a-z][a-z_]{2,39}$');

CREATE FUNCTION app.webhook_endpoint_view(w app.webhook_endpoint) RETURNS jsonb LANGUAGE sql STABLE
    SET search_path = pg_catalog
    RETURN jsonb_build_object('id', w.id, 'object', 'webhook_endpoint', 'url', w.url,
        'event_types', to_jsonb(w.event_types), 'description', w.description, 'state', w.state,
        'state_since', app.instant(w.state_since), 'reason', w.reason, 'created_at', app.instant(w.created_at),
        'failing_since', app.instant(w.failing_since));

CREATE FUNCTION app.webhook_attempt_view(a app.webhook_attempt) RETURNS jsonb LANGUAGE sql STABLE
    SET search_path = pg_catalog
    RETURN jsonb_build_object('number', a.number, 'started_at', app.instant(a.started_at),
        'duration_ms', a.duration_ms, 'status', a.status, 'error', a.error, 'response', a.response);

CREATE FUNCTION app.webhook_delivery_view(d app.webhook_delivery) RETURNS jsonb LANGUAGE sql STABLE
    SET search_path = pg_catalog
    RETURN jsonb_build_object('id', d.id, 'object', 'webhook_delivery', 'endpoint_id', d.endpoint_id,
        'event_id', d.event_id, 'event_type', (SELECT e.type FROM app.event e WHERE e.id = d.event_id),
        'object_id', d.object_id, 'sequence', d.sequence, 'kind', d.kind, 'state', d.state,
        'created_at', app.instant(d.created_at), 'next_attempt_at', app.instant(d.next_attempt_at),
        'ended_at', app.instant(d.ended_at), 'attempts', d.attempts,
        'last_attempt', (SELECT app.webhook_attempt_view(a) FROM app.webhook_attempt a
                         WHERE a.delivery = d.position ORDER BY a.number DESC LIMIT 1));
