-- Freezes are decisions, and go through those functions; the worker looks after what has ended.
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA app FROM PUBLIC;
GRANT SELECT ON app.payout_to_tell TO {app}, {ops};
GRANT EXECUTE ON FUNCTION app.frozen_minor(text), app.is_freeze(app.restriction) TO {app}, {ops};
GRANT EXECUTE ON FUNCTION app.balance_view(text, timestamptz), app.look_after_funds(timestamptz, text),
    app.owner_to_look_after(timestamptz, text),
    app.payouts_told(text[]) TO {app};
