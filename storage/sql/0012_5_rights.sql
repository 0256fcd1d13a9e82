-- Reviewers work through one function and decide through decisions; nobody writes to a table.
REVOKE ALL ON FUNCTION
    app.guard_review(), app.review_id(timestamptz), app.note_review(app.review, timestamptz, text, text, text, text, jsonb),
    app.open_review(app.payout, jsonb, timestamptz), app.end_review(app.review, text, text, text, timestamptz),
    app.leave_review(), app.review_standing(jsonb), app.review_view(app.review, timestamptz),
    app.obstacle_to_review(app.review, jsonb, timestamptz), app.work_on_review(jsonb), app.give_evidence(jsonb),
    app.open_payout_cases(timestamptz), app.approved_payouts(timestamptz, interval, int)
    FROM PUBLIC;
GRANT SELECT ON app.review, app.review_entry, app.review_rule, app.payout_target TO {ops};
-- What `app.payout_view` says of a review.
GRANT SELECT (payout_id, state, evidence_kinds, evidence_until) ON app.review TO {app};
REVOKE ALL ON FUNCTION app.payout_view(app.payout) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app.payout_view(app.payout), app.payout_row_view(app.payout) TO {app}, {ops};
GRANT EXECUTE ON FUNCTION app.review_view(app.review, timestamptz), app.work_on_review(jsonb) TO {ops};
GRANT EXECUTE ON FUNCTION
    app.review_standing(jsonb), app.give_evidence(jsonb), app.open_payout_cases(timestamptz),
    app.approved_payouts(timestamptz, interval, int)
    TO {app};
