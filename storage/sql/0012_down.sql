-- The review queue.
DROP TRIGGER leave_review ON app.payout;
DROP FUNCTION app.payout_view(app.payout);
ALTER FUNCTION app.payout_row_view(app.payout) RENAME TO payout_view;
DROP INDEX app.payout_under_review, app.payout_for_people, app.payout_order;
DROP FUNCTION app.approved_payouts(timestamptz, interval, int), app.open_payout_cases(timestamptz),
    app.give_evidence(jsonb), app.work_on_review(jsonb), app.obstacle_to_review(app.review, jsonb, timestamptz), app.review_view(app.review, timestamptz),
    app.review_standing(jsonb), app.leave_review(), app.end_review(app.review, text, text, text, timestamptz),
    app.open_review(app.payout, jsonb, timestamptz),
    app.note_review(app.review, timestamptz, text, text, text, text, jsonb), app.review_id(timestamptz);
DROP TABLE app.review_entry, app.review, app.review_rule, app.payout_target;
DROP FUNCTION app.guard_review();
