-- Settlement of merchants: what their users paid them goes to their bank account, net of fees and refunds, once a business day.
-- A settlement and its lines are written once and never changed, apart from what becomes of its payout.

CREATE TABLE app.settlement_report (
    id text PRIMARY KEY CHECK (id ~ '^stl_[0-9A-HJKMNP-TV-Z]{26}$'),
    merchant_id text NOT NULL REFERENCES app.merchant,
    business_date date NOT NULL,
    -- Payments that were booked on this day or before, and the refunds of what has been settled.
    through_date date NOT NULL CHECK (through_date < business_date),
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    payment_count int NOT NULL CHECK (payment_count >= 0),
    refund_count int NOT NULL CHECK (refund_count >= 0),
    gross_minor bigint NOT NULL CHECK (gross_minor >= 0),
    fees_minor bigint NOT NULL CHECK (fees_minor >= 0),
    -- Less what came back because a refund failed after it had been settled; below zero if that was more.
    refunds_minor bigint NOT NULL,
    fees_back_minor bigint NOT NULL,
    -- What an earlier settlement was short of.
    brought_forward_minor bigint NOT NULL CHECK (brought_forward_minor >= 0),
    net_minor bigint NOT NULL,
    -- carried: nothing to pay out, or a shortfall, which the next settlement bears (A10.2b).
    state text NOT NULL CHECK (state IN ('reported', 'paying', 'paid', 'failed', 'carried')),
    state_since timestamptz NOT NULL,
    -- Why it is not being paid out yet: no_account, merchant_suspended, insufficient_funds, payout_bank_without_funds …
    wait_reason text,
    payout_id text,
    attempt int NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL,
    event_sequence int NOT NULL DEFAULT 0,
    UNIQUE (merchant_id, business_date, currency),
    CHECK (net_minor = gross_minor - fees_minor - refunds_minor + fees_back_minor - brought_forward_minor),
    CHECK ((state = 'carried') = (net_minor <= 0)),
    CHECK (state NOT IN ('paying', 'paid') OR payout_id IS NOT NULL)
);
CREATE INDEX settlement_unpaid ON app.settlement_report (created_at) WHERE state IN ('reported', 'failed');
CREATE INDEX settlement_of_payout ON app.settlement_report (payout_id) WHERE payout_id IS NOT NULL;

-- One payment or refund in one settlement; `refund_failed` takes a refund out again that was settled while it was under way.
CREATE TABLE app.settlement_line (
    settlement_id text NOT NULL REFERENCES app.settlement_report,
    kind text NOT NULL CHECK (kind IN ('payment', 'refund', 'refund_failed')),
    subject_id text NOT NULL,
    order_number text NOT NULL,
    amount_minor bigint NOT NULL CHECK (amount_minor > 0),
    fee_minor bigint NOT NULL CHECK (fee_minor >= 0),
    net_minor bigint NOT NULL,
    at timestamptz NOT NULL,
    PRIMARY KEY (kind, subject_id),
    CHECK (net_minor = CASE kind WHEN 'refund' THEN fee_minor - amount_minor ELSE amount_minor - fee_minor END)
);
CREATE INDEX line_of_settlement ON app.settlement_line (settlement_id, at, kind, subject_id);

-- What a merchant owes because refunds were more than payments; cleared by the settlement that bore it.
CREATE TABLE app.merchant_receivable (
    settlement_id text PRIMARY KEY REFERENCES app.settlement_report,
    merchant_id text NOT NULL REFERENCES app.merchant,
    currency text NOT NULL,
    amount_minor bigint NOT NULL CHECK (amount_minor > 0),
    opened_at timestamptz NOT NULL,
    cleared_by text REFERENCES app.settlement_report,
    cleared_at timestamptz,
    CHECK ((cleared_by IS NULL) = (cleared_at IS NULL))
);
CREATE INDEX receivable_open ON app.merchant_receivable (merchant_id, currency) WHERE cleared_by IS NULL;

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON app.settlement_line
    FOR EACH ROW EXECUTE FUNCTION app.forbid_change();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON app.settlement_line EXECUTE FUNCTION app.forbid_change();
CREATE FUNCTION app.guard_settlement() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    moves text[] := ARRAY['state', 'state_since', 'wait_reason', 'payout_id', 'attempt', 'event_sequence'];
BEGIN
    IF TG_OP <> 'UPDATE' OR to_jsonb(NEW) - moves <> to_jsonb(OLD) - moves THEN
        RAISE EXCEPTION 'append-only: % on app.settlement_report is not allowed', TG_OP
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER reported_once BEFORE UPDATE OR DELETE ON app.settlement_report
    FOR EACH ROW EXECUTE FUNCTION app.guard_settlement();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON app.settlement_report EXECUTE FUNCTION app.forbid_change();

-- The account that a merchant is settled to: at most one active one, and one that is proposed.
CREATE UNIQUE INDEX one_settlement_account ON app.payee (merchant_id, state)
    WHERE user_id IS NULL AND state <> 'removed';
-- What is due is found by the day on which it became final.
CREATE INDEX payment_to_settle ON app.payment (merchant_id, currency, state_since)
    WHERE payee_kind = 'merchant' AND state = 'succeeded';
CREATE INDEX refund_of_merchant ON app.refund (merchant_id, currency, accepted_at);

GRANT SELECT ON app.settlement_report, app.settlement_line, app.merchant_receivable TO {app}, {ops};
