"""Tried against closings: money that is lost, silence, and what is left of the forgotten (P3.4, P4.5, A8.4)."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from pyrage import x25519

from domain.decisions import DecisionKind
from domain.limits import windows_to_take
from ops.decision_schemas import NewDecision
from storage.closures import ClosureBook
from tests.conftest import Database
from tests.storage.books import LIMITS, NOW, Books
from tests.storage.closing import Closures
from tests.storage.fx_books import FxBooks, open_fx_books
from tests.storage.payout_steps import sent, settlement
from vault.leaving import Retaining
from vault.retention import RetainedRecord, RetentionStore

DUE, SOON = date(2026, 12, 14), date(2026, 12, 9)


@pytest.fixture
def closures(books: Books) -> Closures:
    return Closures(books)


@pytest.fixture
async def fx(database: Database) -> AsyncIterator[FxBooks]:
    async with open_fx_books(database) as opened:
        yield opened


async def places_of(books: Books, needle: str) -> list[str]:
    """Every column of the business schemas that has it somewhere."""
    columns = sa.text(
        "SELECT table_schema, table_name, column_name FROM information_schema.columns"
        " WHERE table_schema IN ('app', 'vault', 'ledger') AND data_type IN ('text', 'jsonb', 'ARRAY')"
    )
    found = []
    async with books.owner.connect() as connection:
        for schema, table, column in (await connection.execute(columns)).all():
            query = f'SELECT count(*) FROM {schema}."{table}" WHERE "{column}"::text LIKE :n'  # noqa: S608
            if await connection.scalar(sa.text(query), {"n": f"%{needle}%"}):
                found.append(f"{schema}.{table}.{column}")
    return found


async def paid_by_card(books: Books) -> None:
    """A payment that counted towards the limit of its card, too, and came to nothing."""
    limits = windows_to_take([(f"user:{books.user_id}", LIMITS), ("card:card-1", LIMITS)], 1_000, NOW)
    payment = await books.instructions.accept_payment(books.payment(1_000, limits=tuple(limits)))
    await books.run("UPDATE app.payment SET state = 'failed', state_since = :at WHERE id = :i", i=payment["id"], at=NOW)


@pytest.mark.parametrize("scope", ["account", "quick_pay"])
async def test_no_payment_of_the_forgotten_names_the_card_by_its_digest(closures: Closures, scope: str) -> None:
    """The limit of the card goes on under the digest alone, so that a new enrolment resets nothing."""
    books = closures.books
    await paid_by_card(books)
    closure = await closures.asked(scope)
    await closures.ended(closure)
    if scope == "quick_pay":
        erased = await ClosureBook(books.app).items_to_forget(closure)
        await books.run("SELECT app.forget_items(:u, :t, :at)", u=books.user_id, t=erased, at=NOW)
    await closures.completed(closure)
    assert await places_of(books, "card-1") == ["app.limit_usage.subject"]
    kept = await books.value("SELECT limit_reservations->0->>'subject' FROM app.payment")
    assert kept == f"user:{books.user_id}"


async def test_references_to_evidence_of_trades_are_forgotten_with_the_others(fx: FxBooks) -> None:
    evidence = [{"kind": "contract", "reference": "contract-of-jia"}]
    await fx.acceptance.accept_mandate(fx.mandate(is_trade=True, evidence=evidence))
    assert len(await places_of(fx.books, "contract-of-jia")) == 2
    closures = Closures(fx.books)
    await closures.completed(await closures.asked())
    assert await places_of(fx.books, "contract-of-jia") == []


@pytest.mark.parametrize("changes", [{"receiver_name": "TEST YI"}, {"currency": "EUR"}])
async def test_a_remittance_to_the_users_number_that_nobody_has_assigned_is_in_the_way(
    fx: FxBooks, changes: dict[str, Any]
) -> None:
    """Afterwards it could only go back, and what it says of the user would be forgotten by nobody."""
    received = await fx.receive(1_000, **changes)
    closures = Closures(fx.books)
    closure = await closures.asked()
    await closures.hand_over(closure)
    [found] = (await closures.look(closure)).obstacles
    assert (found.kind, found.subject_id, found.detail) == ("instruction", received.inbound_id, "remittance suspense")
    await fx.books.run("UPDATE app.inbound SET state = 'returning', state_since = :at", at=NOW)
    assert await closures.kinds(closure) == ["instruction"]
    await fx.books.run("UPDATE app.inbound SET state = 'returned', state_since = :at", at=NOW)
    assert (await closures.look(closure)).state == "unsigning"


async def test_money_that_comes_after_people_have_seen_to_it_is_a_case_again(closures: Closures) -> None:
    books, book = closures.books, ClosureBook(closures.books.app)
    await closures.completed(await closures.asked())
    open_case = "SELECT id FROM app.case_record WHERE kind = 'money_after_closing' AND state = 'open'"
    await books.fund(500)
    assert await book.open_late_money_cases(NOW) == 1
    first = await books.value(open_case)
    long_after = datetime.now(UTC) + timedelta(days=1)
    await closures.decide(DecisionKind.CASE_RESOLVE, first, now=long_after)
    assert await book.open_late_money_cases(long_after) == 0
    # Of the money that came yesterday nobody hears again; what has come since is new.
    await books.run("UPDATE app.case_record SET resolved_at = :at WHERE id = :id", id=first, at=NOW)
    await books.fund(70_000)
    assert [await book.open_late_money_cases(NOW), await book.open_late_money_cases(NOW)] == [1, 0]
    assert await books.value(open_case) != first


async def test_a_payout_that_is_sent_back_while_banks_are_told_and_after_the_end_is_never_lost(
    closures: Closures,
) -> None:
    """A8.4: credited either way; in the way of the end, or a case."""
    books = closures.books
    await books.fund(10_200)
    payout = await sent(books)
    await books.instructions.settle(settlement(payout, "succeeded", bank_reference="R1"))
    closure = await closures.asked()
    await closures.hand_over(closure)
    await closures.ended(closure)
    await books.instructions.settle(settlement(payout, "returned", return_reference="RET1", key=f"{payout}:returned"))
    assert await books.balance(f"user:{books.user_id}:CNY") > 0
    assert await ClosureBook(books.app).open_late_money_cases(NOW) == 1


@pytest.mark.parametrize("state", ["closing", "forgetting"])
async def test_people_hear_of_what_is_due_whatever_it_is_stuck_at(closures: Closures, state: str) -> None:
    """P3.4: its process may be unable to look, as while it forgets."""
    book = ClosureBook(closures.books.app)
    closure = await closures.asked(due_on=DUE, escalate_on=SOON)
    if state == "forgetting":
        await closures.look(closure, due_on=DUE, escalate_on=SOON)
        await closures.ended(closure)
    at = [datetime(2026, 12, day, 4, tzinfo=UTC) for day in (8, 9, 10, 14, 15, 16)]
    assert [await book.escalate(now) for now in at] == [0, 1, 0, 0, 1, 0]
    assert await closures.cases(closure) == ["closure_due", "closure_overdue"]
    assert await closures.state(closure) == state


async def test_every_case_of_a_closing_can_be_decided_by_its_id(closures: Closures) -> None:
    """The operators' API takes no other ids than those of the house, and turns its pages by them."""
    books, book = closures.books, ClosureBook(closures.books.app)
    closure = await closures.asked(due_on=DUE, escalate_on=SOON)
    await book.escalate(datetime(2027, 1, 8, tzinfo=UTC))
    await closures.completed(closure)
    await books.fund(500)
    await book.open_late_money_cases(NOW)
    await book.end_following(closure, NOW)
    ids = await books.value("SELECT array_agg(id) FROM app.case_record")
    assert len(ids) == 4
    for each in ids:
        given = {"kind": "case.resolve", "subject_id": each, "ground": "handled", "reason": "办妥", "detail": {}}
        assert NewDecision.model_validate(given).subject_id == each
        assert re.fullmatch(r"case_[0-9A-Z]{1,40}", each)


async def test_who_has_consented_a_thousand_times_is_kept_in_parts_and_forgotten(
    closures: Closures, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One record has room for so much; what did not fit kept the account in 'forgetting' for ever."""
    books, kept = closures.books, []
    await books.run(
        "INSERT INTO app.consent (user_id, merchant_id, kind, version, content_hash, channel, evidence_ref, acted_at)"
        " SELECT :u, :m, 'agreement', '1.0', :h, 'app', repeat('x', 120) || g, :at FROM generate_series(1, 1500) g",
        u=books.user_id, m=books.merchant_id, h="a" * 64, at=NOW,
    )  # fmt: skip
    public = str(x25519.Identity.generate().to_public())
    store = RetentionStore(books.app, database.key_app_engine, public, lambda: datetime.now(UTC))
    keep = store.keep

    async def seen(records: list[RetainedRecord]) -> int:
        kept.extend(records)
        return await keep(records)

    monkeypatch.setattr(store, "keep", seen)
    retaining = Retaining(ClosureBook(books.app), books.vault, store, books.ids.ulid)
    closure = books.new_id("cls")
    first = await retaining.identity(books.user_id, closure, NOW.date())
    assert first == 16
    assert await retaining.identity(books.user_id, closure, NOW.date()) == 0
    consents = [each for record in kept[:first] for each in record.content["consents"]]
    assert len(consents) == 1501
    assert len({json.dumps(each) for each in consents}) == 1501
    assert "测试甲" in json.dumps(kept[0].content, ensure_ascii=False)


async def test_whatever_a_remittance_says_no_key_of_another_user_is_destroyed_with_it(fx: FxBooks) -> None:
    """A key that is destroyed does not come back, so a wrong row may cost nobody else theirs."""
    await fx.receive(1_000)
    book, user = ClosureBook(fx.books.app), fx.books.user_id
    assert await book.keys_of(user) == [user]
    inbound = await fx.books.value("SELECT id FROM app.inbound")
    await fx.books.run("UPDATE app.inbound SET sealed_under = :i", i=inbound)
    assert await book.keys_of(user) == [user, inbound]
    for another in ("usr_01KB5NSOMEBODYELSE00000000", "inb_01KB5NSOMEBODYELSE00000000"):
        await fx.books.run("UPDATE app.inbound SET sealed_under = :k", k=another)
        assert await book.keys_of(user) == [user]
