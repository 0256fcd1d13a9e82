"""Who asks to close, and who comes back: what came by telephone, refusals, a new enrolment (P4.4a, P4.2a, P4.5d)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from domain.decisions import DecisionKind
from domain.errors import DomainError
from domain.instructions import AcceptUser
from storage.decisions import decide_directly
from tests.conftest import Database
from tests.storage.books import LIMITS
from tests.storage.closing import refusal
from tests.storage.deciders import Deciders, enrol_deciders
from tests.workflows.closing_house import ClosingHouse, open_closing_house

DAY = timedelta(days=1)


@pytest.fixture
async def at(database: Database) -> AsyncIterator[ClosingHouse]:
    async with open_closing_house(database) as opened:
        opened.closures.deciders = await enrol_deciders(database, database.ops_engine)
        await opened.closures.deciders.enrol("sue", "support")
        yield opened


def deciders(at: ClosingHouse) -> Deciders:
    assert at.closures.deciders is not None
    return at.closures.deciders


async def recorded(at: ClosingHouse, scope: str = "account", **changes: object) -> str:
    """By telephone; its process runs and waits for the identity."""
    closure = await at.closures.recorded(scope, now=await at.house.now(), **changes)
    await at.begin(closure)
    await at.seen(closure, "identity")
    return closure


async def test_nothing_happens_before_it_is_known_who_asks_and_then_it_goes_on_by_itself(at: ClosingHouse) -> None:
    """P4.4a: service goes on while the identity is not verified; the days count from receipt all the same."""
    closure = await recorded(at)
    assert (await at.house.collect(await at.house.accept_waived())).state == "succeeded"
    await at.sleep(2 * DAY)
    now = await at.house.now()
    assert (await at.closures.verify(closure, holds=False, now=now))["error"] == "identity_differs"
    said = {"method": "id_number", "holds": None, "person_index": "person-1"}
    assert (await at.closures.verify(closure, **said, now=now))["ok"]
    await at.seen(closure, "records")
    await at.closures.hand_over(closure, now=now)
    await at.until(closure, "completed")
    assert (await at.answer(closure))["channel"] == "hotline"
    assert await at.books.value("SELECT evidence_ref IS NULL AND identity_evidence_ref IS NULL FROM app.closure")


async def test_whoever_is_not_the_user_is_refused_after_three_attempts_and_nothing_has_changed(
    at: ClosingHouse,
) -> None:
    closure = await recorded(at)
    now = await at.house.now()
    for _ in range(3):
        assert (await at.closures.verify(closure, holds=False, now=now))["error"] == "identity_differs"
    assert (await at.closures.verify(closure, now=now))["error"] == "identity_attempts_exhausted"
    await at.seen(closure, "identity")
    await at.closures.refuse(closure, "identity_not_verified", now)
    await at.sweep()
    assert (await at.end(closure)).state == "refused"
    assert (await at.readable(), await at.has_key(), await at.entries()) == (5, True, [])
    assert (await at.house.collect(await at.house.accept_waived())).state == "succeeded"


async def test_a_deletion_whose_ground_is_not_given_is_refused_and_one_that_is_given_takes_two(
    at: ClosingHouse,
) -> None:
    """P4.2a, P4.4d: asked, verified, decided; the data that are in use hold it up in between."""
    first = await recorded(at, "deletion")
    await at.closures.verify(first)
    await at.seen(first, "decision", "data_in_use")
    await at.closures.refuse(first, "ground_not_met", await at.house.now())
    await at.sweep()
    assert (await at.end(first)).state == "refused"
    second = await recorded(at, "deletion")
    await at.closures.verify(second)
    now = await at.house.now()
    asked = await deciders(at).ask("closure.grant", second, ground="ground_met", now=now)
    assert await refusal(deciders(at).approve(asked["id"], by="anna", now=now)) == "second_person_required"
    await deciders(at).approve(asked["id"], now=now)
    await at.seen(second, "data_in_use")
    await at.house.unbind(await at.house.accept_unbinding(at.books.binding_id))
    await at.until(second, "completed")
    assert (await at.answer(second))["destroyed"]["fields"] == ["mobile"]
    assert await at.has_key()


async def enrolled_again(at: ClosingHouse) -> str:
    """The merchant's name for the one who left is free for a new user, who consents anew."""
    user, now = at.books.new_id("usr"), await at.house.now()
    await at.books.instructions.accept_user(
        AcceptUser(
            request=at.books.context(), now=now, id=user, merchant_user_ref="ref-1", type="individual", region="CN",
            blocked_regions=("KP",),
        )
    )  # fmt: skip
    assert await at.books.value("SELECT count(*) FROM app.consent WHERE user_id = :u", u=user) == 0
    await at.books.run(
        "INSERT INTO app.consent (user_id, merchant_id, kind, version, content_hash, channel, acted_at)"
        " VALUES (:u, :m, 'agreement', '1.0', :h, 'app', :at)",
        u=user, m=at.books.merchant_id, h="a" * 64, at=now,
    )  # fmt: skip
    await at.books.vault.ensure_user_key(user)
    return user


async def bind(at: ClosingHouse, user: str) -> None:
    """A card of the same person, confirmed by its issuer."""
    at.books.user_id = user
    # The bank's clock is this machine's, which the server's has left behind.
    at.bank.code_lifetime = 3650 * DAY
    binding = await at.house.accept_binding("card-1")
    await at.house.begin_to_bind(binding)
    await at.house.until("SELECT state FROM app.binding WHERE id = :id", "awaiting_code", id=binding["id"])
    agreement = await at.books.bank_vault.seal_agreement(user, "AG-2")
    attempt = await at.house.type_code("binding", binding["id"], "confirmed", agreement=agreement)
    await at.house.tell("binding", binding["id"], attempt, "confirmed")
    await at.house.until("SELECT state FROM app.binding WHERE id = :id", "open", id=binding["id"])
    at.books.binding_id = binding["id"]


async def test_who_comes_back_starts_from_nothing_but_for_misuse_and_the_limits_of_the_day(at: ClosingHouse) -> None:
    """P3.3b, P4.5d: known again when the issuer has confirmed who it is, and not sooner."""
    left = at.books.user_id
    payment = await at.house.accept_waived()
    # Not to its end, after which the server's clock might leap into another day.
    await at.house.processes.collect_payment(at.house.order(payment))
    await at.house.until("SELECT state FROM app.payment", "succeeded")
    closure = await at.ask()
    now = await at.house.now()
    await decide_directly(at.books.owner, DecisionKind.USER_SUSPEND, left, now, detail={"function": "payout"})
    await at.closures.hand_over(closure, now=now)
    await at.begin(closure)
    await at.until(closure, "completed")
    assert (await at.answer(closure))["pseudonymous"] == ["misuse_marks"]
    user = await enrolled_again(at)
    mark = "SELECT count(*) FROM app.restriction WHERE subject_id = :u AND lifted_at IS NULL"
    used = (
        "SELECT coalesce(max(used_minor), 0) FROM app.limit_usage WHERE subject = 'user:' || :u AND window_kind = 'day'"
    )
    assert (await at.books.value(mark, u=user), await at.books.value(used, u=user)) == (0, 0)
    await bind(at, user)
    assert (await at.books.value(mark, u=user), await at.books.value(used, u=user)) == (1, 10_000)
    assert await at.books.value("SELECT state FROM app.end_user WHERE id = :u", u=user) == "active"
    tight = LIMITS.model_copy(update={"per_day_minor": 15_000})
    with pytest.raises(DomainError) as refused:
        await at.house.accept(6_000, limit_set=tight)
    assert "limit" in refused.value.code.value.lower()
    await at.house.accept(5_000, limit_set=tight)
    # What was forgotten stays forgotten, whoever comes back.
    assert (await at.has_key(left), await at.has_key(user)) == (False, True)


async def test_the_second_leaving_of_a_person_keeps_its_own_copies(at: ClosingHouse) -> None:
    """P4.5e: two relations one after the other, two records of identity."""
    first = await at.begun()
    await at.until(first, "completed")
    user = await enrolled_again(at)
    await bind(at, user)
    second = await at.begun()
    await at.until(second, "completed")
    found = await at.retained()
    assert set(found) == {first, second}
    assert found[second].user_id == user
    assert await at.entries() == [("person", found[first].user_id), ("person", user)]
