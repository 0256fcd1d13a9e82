-- What the law keeps of a person who was forgotten, and nobody can copy any more: on data that are older than the copies, under a key
-- that is destroyed (P4.5d-e). People have to hear of it, once a person; of one whom these data do not know too: that belongs to no
-- merchant then and is nobody's but ours.
CREATE FUNCTION app.open_lost_copies_case(who text, at timestamptz) RETURNS void LANGUAGE sql SECURITY DEFINER
    SET search_path = pg_catalog
    BEGIN ATOMIC
        INSERT INTO app.case_record (id, kind, subject_id, merchant_id, opened_at)
            VALUES ('case_' || split_part(who, '_', 2) || 'LOST', 'retained_copies_lost', who, coalesce(
                (SELECT u.merchant_id FROM app.end_user u WHERE u.id = who),
                (SELECT min(r.merchant_id) FROM retention.record r WHERE r.user_id = who), ''), at) ON CONFLICT DO NOTHING;
    END;

REVOKE ALL ON FUNCTION app.open_lost_copies_case(text, timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app.open_lost_copies_case(text, timestamptz) TO {app};
