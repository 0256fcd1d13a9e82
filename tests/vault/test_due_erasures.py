"""What no purpose needs any longer goes while its user stays, each on its day, and what waits is said (P3.3b)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

import pytest
from pyrage import x25519
from sqlalchemy.exc import DBAPIError
from ulid import ULID

from domain.business_time import SHANGHAI, business_date
from domain.personal_data import Purpose
from domain.retention import ErasedLine, ErasureReason, PurgeReport, PurgeTooEarlyError, RetentionRules, WaitingLine
from storage.closures import ClosureBook
from tests.conftest import Database
from tests.storage.books import NOW, Books
from tests.storage.closing import Closures, binding
from tests.storage.deciders import enrol_deciders
from tests.storage.fx_books import FxBooks, open_fx_books
from tests.storage.settling import collected, refund_ends, refunded
from vault.due_erasures import DueErasures
from vault.erasures import Erasure, ErasureList
from vault.errors import UserErasedError
from vault.forgetting import Forgetting
from vault.leaving import Retaining
from vault.purging import RetentionPurge
from vault.retention import RetentionStore

RULES = RetentionRules()
TODAY = business_date(NOW)
R = ErasureReason


@dataclass
class House:
    """A user with a bound card, whoever erases, and a clock set by hand."""

    database: Database
    fx: FxBooks
    forgetting: Forgetting
    erasures: ErasureList
    now: datetime = NOW

    @property
    def books(self) -> Books:
        return self.fx.books

    async def run_on(self, day: date, rules: RetentionRules = RULES) -> PurgeReport:
        """The purge of a day at twenty to four in the morning."""
        self.now = datetime.combine(day, time(3, 40), SHANGHAI)
        return await RetentionPurge(self.books.app, self.forgetting, lambda: self.now).purge_due(day, rules)

    async def becomes(self, binding_id: str, *states: str) -> None:
        for state in states:
            await self.books.run(
                "UPDATE app.binding SET state = :s, state_since = :at WHERE id = :b", s=state, b=binding_id, at=NOW
            )

    async def declined(self, end: str = "declined") -> str:
        made = await binding(self.books)
        await self.becomes(made["id"], "applying", *(["awaiting_code"] if end == "expired" else []), end)
        return str(made["id"])

    async def unbound(self) -> str:
        """The one card of the user, with an agreement number."""
        books = self.books
        found = str(await books.value("SELECT id FROM app.binding WHERE user_id = :u", u=books.user_id))
        await self.becomes(found, "unbinding", "unbound")
        return found

    async def kept_of(self, binding_id: str) -> list[str]:
        """The elements that can still be read."""
        tokens = await self.books.value("SELECT element_tokens FROM app.binding WHERE id = :b", b=binding_id)
        if not tokens:
            return []
        found = await self.books.vault.reveal(self.books.user_id, list(tokens.values()), Purpose.USER_REQUEST, "test")
        return sorted(found)

    async def cipher_count(self, tokens: Sequence[str]) -> int:
        statement = "SELECT count(*) FROM vault.item WHERE token = ANY(:t) AND ciphertext IS NOT NULL"
        return int(await self.books.value(statement, t=list(tokens)))


@pytest.fixture
async def house(database: Database) -> AsyncIterator[House]:
    async with open_fx_books(database) as fx:
        books = fx.books
        retention = RetentionStore(
            books.app, database.key_app_engine, str(x25519.Identity.generate().to_public()), lambda: NOW
        )
        retaining = Retaining(ClosureBook(books.app), books.vault, retention, lambda: str(ULID()), lambda: NOW)
        erasures = ErasureList(database.erasure_app_engine)
        yield House(
            database, fx, Forgetting(books.app, books.vault, retention, erasures, retaining.everything), erasures
        )


@pytest.mark.parametrize("end", ["declined", "expired"])
async def test_the_elements_of_a_card_that_no_issuer_confirmed_go_after_thirty_days(house: House, end: str) -> None:
    binding_id, books = await house.declined(end), house.books
    tokens = list((await books.value("SELECT element_tokens FROM app.binding WHERE id = :b", b=binding_id)).values())
    assert (await house.run_on(TODAY + timedelta(days=30))).erased == 0
    assert await house.cipher_count(tokens) == 4
    report = await house.run_on(TODAY + timedelta(days=31))
    assert report.erased_lines == (ErasedLine(why=R.DECLINED_BINDING, people=1, items=4),)
    assert (report.erased, report.purged, report.held, report.unfinished) == (4, 0, 0, 0)
    assert await house.cipher_count(tokens) == 0
    empty = "coalesce(card_index, card_last4, person_index) IS NULL AND element_tokens = '{}'"
    assert await books.value(f"SELECT {empty} FROM app.binding WHERE id = :b", b=binding_id)  # noqa: S608
    [entry] = await house.erasures.after(0)
    assert (entry.kind, entry.user_id, entry.detail.tokens) == ("items", books.user_id, tuple(sorted(tokens)))
    # The card that an issuer has confirmed is as it was, and another run finds nothing more.
    bound = str(await books.value("SELECT id FROM app.binding WHERE state = 'open'"))
    assert await house.kept_of(bound) == ["card_number", "id_number", "mobile", "name"]
    assert (await house.run_on(TODAY + timedelta(days=32))).erased == 0
    # No agreement came of it: nothing is copied for the law.
    assert await books.value("SELECT count(*) FROM retention.record") == 0


async def test_of_an_unbound_card_who_it_was_stays_and_the_law_has_its_copy_first(house: House) -> None:
    await house.books.fund(50_000)
    payment = await collected(house.books)
    binding_id, books = await house.unbound(), house.books
    assert (await house.run_on(TODAY + timedelta(days=180))).erased == 0
    report = await house.run_on(TODAY + timedelta(days=181))
    [line] = report.erased_lines
    assert (line.why, line.people) == (R.UNBOUND_CARD, 1)
    assert await house.kept_of(binding_id) == ["id_number", "name"]
    assert await books.value("SELECT card_index IS NULL AND agreement_token IS NULL FROM app.binding")
    assert await books.value("SELECT person_index IS NOT NULL FROM app.end_user WHERE id = :u", u=books.user_id)
    async with books.owner.connect() as connection:
        kept = await connection.exec_driver_sql("SELECT kind, source_id, event_on FROM retention.record ORDER BY kind")
        assert [tuple(row) for row in kept] == [
            ("identity", f"due/{TODAY + timedelta(days=181)}/{books.user_id}", TODAY),
            ("transaction", payment["id"], TODAY),
        ]
    # What was paid with it is paid back all the same: a refund needs neither card nor agreement.
    refund = await refunded(books, payment, 1_000)
    await refund_ends(books, payment, refund, "succeeded")


async def test_the_account_of_a_removed_payee_goes_once_nothing_is_on_its_way_to_it(house: House) -> None:
    books = house.books
    await books.fund(50_000)
    payee = await books.payee()
    await books.instructions.accept_payee(payee)
    accepted = await books.instructions.accept_payout(books.payout(payee.id))
    await books.run("UPDATE app.payee SET state = 'removed', removed_at = :at WHERE id = :p", at=NOW, p=payee.id)
    late = TODAY + timedelta(days=400)
    assert (await house.run_on(late)).erased == 0
    await books.run("UPDATE app.payout SET state = 'refused' WHERE id = :p", p=accepted["id"])
    report = await house.run_on(late + timedelta(days=1))
    assert report.erased_lines == (ErasedLine(why=R.REMOVED_PAYEE, people=1, items=2),)
    assert await books.value("SELECT coalesce(account_index, account_last4, name_index) IS NULL FROM app.payee")
    assert await house.cipher_count(list(payee.element_tokens.values())) == 0


async def test_a_card_waits_for_what_is_at_its_issuer_and_nothing_but_its_own_is_copied_with_it(house: House) -> None:
    """What else was booked may still change, as when a bank sends a payout back: it is copied as it is in the end."""
    books = house.books
    await books.fund(50_000)
    payment = await collected(books)
    payee = await books.payee()
    await books.instructions.accept_payee(payee)
    await books.instructions.accept_payout(books.payout(payee.id))
    await books.run("ALTER TABLE app.payout DISABLE TRIGGER USER")
    await books.run("UPDATE app.payout SET state = 'succeeded', booked_at = :at", at=NOW)
    await house.unbound()
    await books.run("ALTER TABLE app.payment DISABLE TRIGGER USER")
    await books.run("UPDATE app.payment SET state = 'unknown'")
    late = TODAY + timedelta(days=400)
    assert (await house.run_on(late)).erased == 0
    await books.run("UPDATE app.payment SET state = 'succeeded'")
    assert (await house.run_on(late + timedelta(days=1))).erased > 0
    kept = "SELECT array_agg(source_id) FROM retention.record WHERE kind = 'transaction'"
    assert await books.value(kept) == [payment["id"]]


async def test_a_remittance_that_went_back_is_kept_as_the_law_says_and_then_its_key_goes(house: House) -> None:
    fx, books = house.fx, house.books
    received = await fx.receive(1_000, receiver_name="SOMEBODY ELSE")
    inbound = received.inbound_id
    at = datetime(2026, 12, 31, 15, 59, tzinfo=UTC)  # one minute of the year is left in Shanghai
    await books.run("UPDATE app.inbound SET state = 'returning', booked_at = :at", at=at)
    await books.run("UPDATE app.inbound SET state = 'returned'")
    assert await books.value("SELECT sealed_under = id FROM app.inbound")
    assert (await house.run_on(date(2036, 12, 31))).erased == 0
    report = await house.run_on(date(2037, 1, 1))
    assert report.erased_lines == (ErasedLine(why=R.RETURNED_REMITTANCE, people=1, items=report.erased),)
    assert report.erased > 0
    with pytest.raises(UserErasedError):
        await books.vault.ensure_user_key(inbound)
    await books.vault.ensure_user_key(books.user_id)
    row = "SELECT coalesce(account_index, receiver_index) IS NULL AND element_tokens = '{}' FROM app.inbound"
    assert await books.value(row)


async def test_of_a_remittance_all_goes_with_its_key_and_never_the_key_of_another(house: House) -> None:
    """A key that is destroyed does not come back, so a wrong row may cost nobody else theirs."""
    fx, books = house.fx, house.books
    gone, other = [(await fx.receive(1_000, receiver_name="SOMEBODY ELSE")).inbound_id for _ in range(2)]
    at = datetime(2026, 12, 1, tzinfo=UTC)
    for state in ("returning", "returned"):
        await books.run("UPDATE app.inbound SET state = :s, booked_at = :at WHERE id = :i", s=state, at=at, i=gone)
    await books.run("UPDATE app.inbound SET sealed_under = :o WHERE id = :i", o=other, i=gone)
    assert (await house.run_on(date(2037, 1, 1))).erased == 0
    await books.vault.ensure_user_key(other)
    await books.run("UPDATE app.inbound SET sealed_under = id")
    due = DueErasures(books.app, house.forgetting)
    assert [await due.page(date(2037, 1, 1), RULES, house.now, most=2) for _ in range(2)] == [3, 0]
    with pytest.raises(DBAPIError, match="five years at least"):
        await due.page(date(2037, 1, 1), RULES.model_copy(update={"law_years": 0, "agreement_years": 1}), house.now)


async def test_what_is_held_waits_and_the_report_says_for_what(house: House) -> None:
    binding_id = await house.declined()
    closures = Closures(house.books, await enrol_deciders(house.database, house.database.ops_engine))
    dispute = await closures.disputed()
    day = TODAY + timedelta(days=40)
    report = await house.run_on(day)
    waiting = WaitingLine(held_by=f"dispute:{dispute}", user_id=house.books.user_id, why=R.DECLINED_BINDING, items=4)
    assert (report.erased, report.held, report.waiting_lines) == (0, 4, (waiting,))
    assert len(await house.kept_of(binding_id)) == 4
    await closures.resolve(dispute)
    closure = await closures.asked()
    [line] = (await house.run_on(day + timedelta(days=1))).waiting_lines
    assert line.held_by == f"closure:{closure}"
    await closures.refuse(closure)
    hold = "SELECT retention.place_hold(:h, :u, 'proceedings', NULL, (SELECT min(id) FROM app.decision), now())"
    hold_id = house.books.new_id("rth")
    await house.books.run(hold, h=hold_id, u=house.books.user_id)
    [line] = (await house.run_on(day + timedelta(days=2))).waiting_lines
    assert line.held_by == f"hold:{hold_id}"
    lifted = "SELECT retention.lift_holds(:u, (SELECT max(id) FROM app.decision), now())"
    await house.books.run(lifted, u=house.books.user_id)
    report = await house.run_on(day + timedelta(days=3))
    assert (report.erased, report.held) == (4, 0)


async def test_what_a_crash_left_goes_on_as_it_was_claimed_under_the_same_entry(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.declined()
    day = TODAY + timedelta(days=31)
    apply, placed = house.forgetting.apply, []

    async def killed(entry: Erasure) -> None:
        placed.append(await house.erasures.add(entry))
        raise ConnectionError("killed")

    monkeypatch.setattr(house.forgetting, "apply", killed)
    for _ in range(2):
        with pytest.raises(ConnectionError):
            await house.run_on(day)
    # Whoever is disputed meanwhile: what is claimed is past holding. A second card that is due by now waits its turn.
    await Closures(house.books).disputed()
    await house.declined()
    monkeypatch.setattr(house.forgetting, "apply", apply)
    report = await house.run_on(day + timedelta(days=1))
    assert len({entry.entry_id for entry in placed}) == 1
    assert (report.erased, report.held, report.unfinished) == (4, 4, 0)
    assert len(await house.erasures.after(0)) == 1


async def test_a_page_takes_some_items_and_the_next_the_others(house: House) -> None:
    for _ in range(3):
        await house.declined()
    due = DueErasures(house.books.app, house.forgetting)
    day = TODAY + timedelta(days=31)
    at = datetime.combine(day, time(3, 40), SHANGHAI)
    with pytest.raises(PurgeTooEarlyError):
        await due.page(day + timedelta(days=1), RULES, at)
    assert [await due.page(day, RULES, at, most=5) for _ in range(4)] == [5, 5, 2, 0]


async def test_restored_data_that_know_nothing_of_it_erase_it_again(house: House) -> None:
    binding_id = await house.declined()
    await house.run_on(TODAY + timedelta(days=31))
    await house.books.run("DELETE FROM app.applied_erasure")
    await house.books.run("DELETE FROM retention.due_erasure")
    assert await house.forgetting.apply_missing() == 1
    assert await house.kept_of(binding_id) == []
    assert (await house.run_on(TODAY + timedelta(days=32))).erased == 0


async def test_what_cannot_be_erased_is_in_no_list_and_keeps_nobody_elses_waiting(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing would start any more beside a list with an entry that cannot be carried out."""
    books = house.books
    broken, day = await house.unbound(), TODAY + timedelta(days=181)
    flip = (
        "UPDATE vault.item SET ciphertext = set_byte(ciphertext, 20, 255 - get_byte(ciphertext, 20)) WHERE token = :t"
    )
    card = await books.value("SELECT element_tokens->>'card_number' FROM app.binding WHERE id = :b", b=broken)
    await books.run("ALTER TABLE vault.item DISABLE TRIGGER USER")
    await books.run(flip, t=card)
    for run in range(2):
        await house.declined()
        report = await house.run_on(day + timedelta(days=run))
        assert (report.erased, report.unfinished) == (4, 1)
    assert {record.reason for record in caplog.records if "cannot be erased" in record.message} == {"SealBrokenError"}
    assert (len(await house.erasures.after(0)), await house.forgetting.missing.count()) == (2, 0)
    assert await books.value("SELECT card_last4 IS NOT NULL FROM app.binding WHERE id = :b", b=broken)
    cases = "SELECT array_agg(subject_id) FROM app.case_record WHERE kind = 'erasure_failed'"
    assert await books.value(cases) == [books.user_id]
    # The same day does not try again; another does, once it can be opened.
    await books.run(flip, t=card)
    assert (await house.run_on(day + timedelta(days=1))).unfinished == 1
    report = await house.run_on(day + timedelta(days=2))
    assert (report.unfinished, [line.why for line in report.erased_lines]) == (0, [R.UNBOUND_CARD])
    assert await books.value("SELECT card_last4 IS NULL FROM app.binding WHERE id = :b", b=broken)


async def test_what_a_late_run_erased_is_in_one_report_and_what_two_do_at_once_is_counted_once(house: House) -> None:
    await house.declined()
    days = [TODAY + timedelta(days=day) for day in (31, 32, 33)]
    house.now = datetime.combine(days[-1], time(3, 40), SHANGHAI)
    purge = RetentionPurge(house.books.app, house.forgetting, lambda: house.now)
    assert [(await purge.purge_due(day, RULES)).erased for day in days] == [4, 0, 0]
    for _ in range(6):
        await house.declined()
    house.now += timedelta(days=1)
    await asyncio.gather(*(purge.purge_due(business_date(house.now), RULES) for _ in range(3)))
    report = await purge.report(business_date(house.now), RULES, house.now + timedelta(minutes=1))
    assert (report.erased, report.unfinished) == (24, 0)
    assert len({entry.entry_id for entry in await house.erasures.after(0)}) == 2
    # What a run has erased that was lost before it reported, the next one reports; and nobody does again.
    await house.declined()
    house.now += timedelta(days=1)
    assert (await purge.page(business_date(house.now), RULES, house.now)).items == 4
    for erased in (4, 0):
        house.now += timedelta(days=1)
        assert (await purge.purge_due(business_date(house.now), RULES)).erased == erased


async def test_a_repeated_request_is_answered_without_the_digits(house: House) -> None:
    binding_id, books = await house.declined(), house.books
    kept = (
        "INSERT INTO app.idempotency (merchant_id, key, action, fingerprint, resource_id, request_id, started_at,"
        " lease_until, answer) SELECT b.merchant_id, 'key-00001', 'accept_binding', '0', b.id, 'req_1', :at, :at,"
        " jsonb_build_object('ok', true, 'resource', app.binding_view(b)) FROM app.binding b WHERE b.id = :b"
    )
    await books.run(kept, at=NOW, b=binding_id)
    await house.run_on(TODAY + timedelta(days=31))
    answer = "SELECT answer->'resource'->'card_last4' = 'null' AND (answer->>'ok')::boolean FROM app.idempotency"
    assert await books.value(answer)
