"""Leaving when the merchant's contract is over, and what is not left behind of who has left (A0.3, P4.5b, P4.5d)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from domain.errors import RefusedError
from storage.closures import ClosureBook
from tests.storage.books import NOW
from tests.storage.closing import Closures


@pytest.mark.parametrize(
    ("since", "refusal"),
    [
        ("UPDATE app.merchant SET state = 'suspended'", "MERCHANT_SUSPENDED"),
        ("UPDATE app.merchant SET contract_until = created_at", "MERCHANT_SUSPENDED"),
        ("UPDATE app.agreement_version SET in_force_until = in_force_from + interval '1 day'", "AGREEMENT_REQUIRED"),
    ],
)
async def test_who_is_leaving_is_paid_out_whatever_has_become_of_merchant_and_agreement(
    closures: Closures, since: str, refusal: str
) -> None:
    """It is the user's own money, and nobody else can instruct that it goes."""
    books = closures.books
    await books.fund(10_200)
    payee = await books.known_payee()
    await books.run(since)
    with pytest.raises(RefusedError, match=refusal):
        await books.instructions.accept_payout(books.payout(payee, 10_000))
    await closures.asked()
    accepted = await books.instructions.accept_payout(books.payout(payee, 10_000))
    assert accepted["state"] in ("checking", "awaiting_confirmation")


async def test_what_a_judge_of_identity_says_counts_only_from_another_than_who_recorded_it(closures: Closures) -> None:
    closure = await closures.recorded()
    assert (await closures.verify(closure, by="sue"))["error"] == "second_person_required"
    assert await closures.books.value("SELECT identity_attempts FROM app.closure") == 0
    number = {"method": "id_number", "holds": None, "person_index": "person-1"}
    assert (await closures.verify(closure, by="sue", **number))["ok"]


async def test_what_merchants_answered_to_webhooks_is_forgotten(closures: Closures) -> None:
    books = closures.books
    await books.run(
        "INSERT INTO app.webhook_endpoint (id, merchant_id, url, event_types, description, state_since, created_at,"
        " cursor_xid, cursor_position) VALUES ('whe_1', :m, 'https://m.example', '{}', '', :at, :at, '0', 0)",
        m=books.merchant_id, at=NOW,
    )  # fmt: skip
    closure = await closures.asked()
    await books.run(
        "INSERT INTO app.webhook_delivery (endpoint_id, event_id, object_id, sequence, kind, state, created_at,"
        " ended_at)"
        " SELECT 'whe_1', e.id, e.object_id, e.sequence, 'event', 'delivered', :at, :at FROM app.event e",
        at=NOW,
    )  # fmt: skip
    await books.run(
        "INSERT INTO app.webhook_attempt (delivery, number, started_at, duration_ms, status, response)"
        " SELECT position, 1, :at, 5, 200, 'thanks, ref-1' FROM app.webhook_delivery",
        at=NOW,
    )  # fmt: skip
    await closures.completed(closure)
    assert await books.value("SELECT count(*) FROM app.webhook_attempt") > 0
    assert await books.value("SELECT count(*) FROM app.webhook_attempt WHERE response IS NOT NULL") == 0


async def test_a_mark_of_misuse_names_nothing_of_who_has_left(closures: Closures) -> None:
    books = closures.books
    await books.run(
        "INSERT INTO app.restriction (id, kind, subject_id, merchant_id, function, ground, placed_by, placed_at)"
        " VALUES ('rst_1', 'suspension', :u, :m, 'collect', 'breach', 'dec_1', :at)",
        u=books.user_id, m=books.merchant_id, at=NOW,
    )  # fmt: skip
    await closures.completed(await closures.asked())
    mark = str(await books.value("SELECT to_jsonb(m)::text FROM app.person_mark m"))
    assert '"function": "collect"' in mark
    for trace in (books.user_id, "rst_1", "dec_1"):
        assert trace not in mark


async def test_a_conversion_that_waits_for_somebody_who_has_left_is_a_case(closures: Closures) -> None:
    books = closures.books
    await closures.completed(await closures.asked())
    fx_id = books.new_id("fx")
    await books.run("ALTER TABLE app.fx DISABLE TRIGGER USER")
    await books.run(
        "INSERT INTO app.fx (id, merchant_id, user_id, kind, origin, amount_minor, currency, held_at, purpose_code,"
        " is_trade, residency, over_quota, agreement_version, held_minor, state, state_since, accepted_at)"
        " VALUES (:i, :m, :u, 'conversion', 'institution', 100, 'USD', 'HBRB', '121010', false,"
        " 'domestic_individual', 'split', '1.0', 0, 'waiting', :at, :at)",
        i=fx_id, m=books.merchant_id, u=books.user_id, at=NOW,
    )  # fmt: skip
    await ClosureBook(books.app).open_late_money_cases(NOW + timedelta(minutes=1))
    opened = await books.value("SELECT kind FROM app.case_record WHERE subject_id = :i", i=fx_id)
    assert opened == "operator_needed"
