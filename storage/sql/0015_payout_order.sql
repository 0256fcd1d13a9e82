-- The instant of acceptance is read before the user's lock is had, so of two payouts that race for it the later in time may be
-- the earlier in the books. A rule that counts what was ordered before (app.risk_inputs) would then count each for neither:
-- eleven payouts got past a limit of ten. Whoever has the lock sees all that was accepted before, and comes after it.
CREATE INDEX payout_of_user_in_order ON app.payout (user_id, accepted_at DESC);

CREATE FUNCTION app.accept_in_order() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    NEW.accepted_at := coalesce((SELECT o.accepted_at + interval '1 microsecond' FROM app.payout o
        WHERE o.user_id = NEW.user_id AND o.accepted_at >= NEW.accepted_at ORDER BY o.accepted_at DESC LIMIT 1),
        NEW.accepted_at);
    NEW.state_since := greatest(NEW.state_since, NEW.accepted_at);
    RETURN NEW;
END $$;

CREATE TRIGGER accepted_in_order BEFORE INSERT ON app.payout
    FOR EACH ROW WHEN (NEW.user_id IS NOT NULL) EXECUTE FUNCTION app.accept_in_order();
