REVOKE ALL ON ALL FUNCTIONS IN SCHEMA app FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app.settlement_view(app.settlement_report), app.settlement_line_view(app.settlement_line)
    TO {app}, {ops};
GRANT EXECUTE ON FUNCTION app.merchants_to_settle(date, date, text, text, int), app.report_settlement(jsonb),
    app.settlements_to_pay(text, int), app.pay_settlement(jsonb), app.propose_settlement_account(jsonb) TO {app};
GRANT EXECUTE ON FUNCTION app.reopen_settlement(jsonb) TO {ops};
