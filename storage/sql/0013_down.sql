DROP TRIGGER follow_settlement ON app.payout;
DROP FUNCTION app.propose_settlement_account(jsonb), app.follow_settlement_payout(), app.pay_settlement(jsonb), app.reopen_settlement(jsonb),
    app.settlements_to_pay(text, int), app.report_settlement(jsonb), app.merchants_to_settle(date, date, text, text, int),
    app.lines_to_settle(text, text, date), app.move_settlement(text, text, text, text, text, timestamptz),
    app.business_date(timestamptz), app.settlement_line_view(app.settlement_line),
    app.settlement_view(app.settlement_report);
DROP TABLE app.merchant_receivable, app.settlement_line, app.settlement_report;
DROP FUNCTION app.guard_settlement();
DROP INDEX app.one_settlement_account, app.payment_to_settle, app.refund_of_merchant;
