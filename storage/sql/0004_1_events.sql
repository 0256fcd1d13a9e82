-- Events as they are read and sent. A position is drawn before its transaction commits, and transactions commit in
-- another order than they draw: whoever pages by position alone misses what commits late. So each event carries its
-- transaction, events are read in the order (transaction, position), and only below the oldest transaction that is
-- still open: nothing can appear there any more.

-- Events from before this migration belong to no open transaction. A constant needs no rewriting of the table.
ALTER TABLE app.event ADD COLUMN xid xid8 NOT NULL DEFAULT '0';
ALTER TABLE app.event ALTER COLUMN xid SET DEFAULT pg_current_xact_id();

-- The hot path writes as many trees as before. The block range index costs an insertion nothing that can be measured;
-- it serves the replay of a span.
DROP INDEX app.event_of_merchant;
CREATE INDEX event_of_merchant ON app.event (merchant_id, xid, position);
CREATE INDEX event_at ON app.event USING brin (at) WITH (autosummarize = on);

CREATE FUNCTION app.event_horizon() RETURNS xid8 LANGUAGE sql STABLE SET search_path = pg_catalog
    RETURN pg_snapshot_xmin(pg_current_snapshot());

-- An event on the wire.
CREATE FUNCTION app.event_view(e app.event) RETURNS jsonb LANGUAGE sql STABLE SET search_path = pg_catalog
    RETURN jsonb_build_object('id', e.id, 'object', 'event', 'type', e.type, 'object_id', e.object_id,
        'sequence', e.sequence, 'created_at', app.instant(e.at), 'data', e.body);

-- `payment.succeeded` and `payment.*` both match an event of that type; no filter matches everything.
CREATE FUNCTION app.event_matches(type text, filters text[]) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog
    RETURN cardinality(filters) = 0 OR type = ANY (filters) OR split_part(type, '.', 1) || '.*' = ANY (filters);
