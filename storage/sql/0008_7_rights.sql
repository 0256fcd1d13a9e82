REVOKE ALL ON ALL FUNCTIONS IN SCHEMA app FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app.payee_view(app.payee), app.payout_view(app.payout) TO {app}, {ops};
GRANT EXECUTE ON FUNCTION
    app.accept_payee(jsonb), app.remove_payee(jsonb), app.accept_payouts(jsonb), app.confirm_payout(jsonb),
    app.payout_standing(text, timestamptz)
    TO {app};
