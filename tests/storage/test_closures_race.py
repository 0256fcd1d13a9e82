"""Nothing slips in while an account closes, whoever comes first, and nobody waits for ever (P4.5b-d)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from domain.closing import RecipientReply
from domain.decisions import DecisionKind
from domain.errors import DomainError
from domain.personal_data import PersonalField
from storage.closures import ClosureBook
from tests.conftest import Database
from tests.storage.books import BANK, NOW
from tests.storage.closing import Closures, binding
from tests.storage.fx_books import OVERSEAS, FxBooks, open_fx_books
from tests.storage.settling import collected
from tests.storage.test_lock_order import another_user, deadlocks

ROUNDS = 12
GONE = ("unsigning", "forgetting")


@pytest.fixture
async def fx(database: Database) -> AsyncIterator[FxBooks]:
    async with open_fx_books(database) as opened:
        yield opened


async def newcomer(fx: FxBooks, *, bound: bool) -> str:
    """A user whom nothing keeps, with a card if the race is for it."""
    books = fx.books
    user, card = await another_user(books)
    await books.vault.ensure_user_key(user)
    await books.run("SELECT ledger.open_accounts(ARRAY[:a, :b])", a=f"user:{user}:CNY", b=f"user:{user}:USD")
    if not bound:
        await books.run("UPDATE app.binding SET state = 'unbinding' WHERE id = :b", b=card)
        await books.run("UPDATE app.binding SET state = 'unbound' WHERE id = :b", b=card)
    return user


async def run_races(
    fx: FxBooks, coming: Callable[[str], Awaitable[Callable[[], Awaitable[Any]]]], *, bound: bool = False
) -> tuple[int, int]:
    """Each round a user leaves and something comes at the same time, in both orders; answers who was first how often.

    `coming` gets ready what the one who is answered then does.
    """
    books, closures = fx.books, Closures(fx.books)
    came, left = 0, 0
    before = await deadlocks(books)
    for turn in range(ROUNDS):
        user = await newcomer(fx, bound=bound)
        comes = await coming(user)
        closure = await closures.asked(user_id=user)
        await closures.hand_over(closure)
        steps = [closures.look(closure), comes(), closures.look(closure)]
        if turn % 2:
            steps = [comes_first := steps[1], *[step for step in steps if step is not comes_first]]
        answers = await asyncio.gather(*steps, return_exceptions=True)
        odd = [each for each in answers if isinstance(each, BaseException) and not isinstance(each, DomainError)]
        assert odd == []
        refused = any(isinstance(each, DomainError) for each in answers) or any(
            isinstance(each, dict) and each.get("ok") is False for each in answers
        )
        state = await closures.state(closure)
        assert refused or state not in GONE or (await closures.look(closure)).state == "closing", (turn, state)
        came, left = came + (not refused), left + refused
    assert await deadlocks(books) == before
    return came, left


async def test_a_card_that_is_applied_for_is_waited_for_or_refused(fx: FxBooks) -> None:
    async def coming(user: str) -> Callable[[], Awaitable[Any]]:
        return lambda: binding(fx.books, user)

    await run_races(fx, coming)


async def test_a_payment_is_waited_for_or_refused(fx: FxBooks) -> None:
    async def coming(user: str) -> Callable[[], Awaitable[Any]]:
        card = await fx.books.value("SELECT id FROM app.binding WHERE user_id = :u", u=user)
        return lambda: fx.books.instructions.accept_payment(
            fx.books.payment(100, user_id=user, binding_id=card, fee_minor=0, limits=())
        )

    await run_races(fx, coming, bound=True)


async def test_a_refund_is_waited_for_or_refused(fx: FxBooks) -> None:
    books = fx.books

    async def coming(user: str) -> Callable[[], Awaitable[Any]]:
        card = await books.value("SELECT id FROM app.binding WHERE user_id = :u", u=user)
        await books.run("INSERT INTO app.user_waiver VALUES (:u, :w, :w, NULL)", u=user, w=waiver)
        [agreement] = await books.vault.seal(user, {PersonalField.AGREEMENT_NUMBER: "AG-2"})
        await books.run("SELECT vault.store_items(CAST(:r AS jsonb))", r=f"[{agreement.model_dump_json()}]")
        token = agreement.token
        await books.run("UPDATE app.binding SET state = 'open', agreement_token = :t WHERE id = :b", b=card, t=token)
        payment = await collected(books, 10_000, user_id=user, binding_id=card, limits=())
        await books.run("UPDATE app.binding SET state = 'unbound' WHERE id = :b", b=card)
        return lambda: books.instructions.accept_refund(books.refund(payment["id"], 1_000))

    waiver = await books.enable_waiver(20_000)
    await books.run("ALTER TABLE app.binding DISABLE TRIGGER legal_step")
    await run_races(fx, coming)


async def test_a_dispute_and_a_freeze_are_seen_or_come_after_the_end(fx: FxBooks) -> None:
    """A dispute about an account that has ended is possible: it is the merchant's with somebody who was its user."""
    closures = Closures(fx.books)

    async def froze(user: str) -> Any:
        return await closures.decide(DecisionKind.USER_SUSPEND, user, function="payout")

    async def coming(user: str) -> Callable[[], Awaitable[Any]]:
        return lambda: asyncio.gather(closures.dispute(user, user_id=user), froze(user), return_exceptions=True)

    books, before = fx.books, await deadlocks(fx.books)
    for _ in range(ROUNDS):
        user = await newcomer(fx, bound=False)
        comes = await coming(user)
        closure = await closures.asked(user_id=user)
        found, [dispute, _] = await asyncio.gather(closures.look(closure), comes())
        assert (found.state == "closing") == ([each.kind for each in found.obstacles] == ["dispute"])
        assert dispute["ok"]
    assert await deadlocks(books) == before


async def test_a_remittance_is_credited_and_waited_for_or_nobodys(fx: FxBooks) -> None:
    """A5.1: once the agreement has ended, its number is no account of ours any more."""
    books, closures = fx.books, Closures(fx.books)
    seen = set()
    for turn in range(ROUNDS):
        user, number = await newcomer(fx, bound=False), f"8900000{turn:05d}"
        await fx.open_account(user, number=number)
        closure = await closures.asked(user_id=user)
        steps = [closures.look(closure), fx.receive(5_000, account_number=number)]
        if turn % 2:
            steps.reverse()
        await asyncio.gather(*steps, return_exceptions=True)
        state = await closures.state(closure)
        where = await books.value("SELECT coalesce(max(state), 'again') FROM app.inbound WHERE account_index = :i",
                                  i=fx.vault.number_index(number))  # fmt: skip
        assert (state, where) in {("closing", "credited"), ("forgetting", "suspense"), ("forgetting", "again")}
        seen.add(state)
    assert seen


async def test_looks_decisions_and_records_at_once_block_nobody_for_good(fx: FxBooks) -> None:
    """One closure, everybody at once; whatever is refused, nobody is the victim of a deadlock."""
    books, closures, before = fx.books, Closures(fx.books), await deadlocks(fx.books)
    for turn in range(ROUNDS):
        user = await newcomer(fx, bound=True)
        closure = await closures.asked(user_id=user)
        dispute = await closures.disputed(user, user_id=user)
        await asyncio.gather(
            closures.look(closure), closures.resolve(dispute), closures.hand_over(closure),
            closures.decide(DecisionKind.CLOSURE_REFUSE, closure) if turn % 3 else closures.look(closure),
            binding(books, user), closures.reply(closure), closures.look(closure), closures.ask(user_id=user),
            return_exceptions=True,
        )  # fmt: skip
        assert await closures.state(closure) in ("refused", "closing", "unsigning")
        await asyncio.gather(*(closures.look(closure) for _ in range(4)))
    assert await deadlocks(books) == before


async def test_whoever_got_more_than_a_notice_takes_is_told_of_all_of_it_in_several(fx: FxBooks) -> None:
    """P4.2b: a thousand a notice, the latest first, each followed under a number of its own; one recipient still."""
    books, closures = fx.books, Closures(fx.books)
    paid = [
        row | {"at": (NOW + timedelta(minutes=n)).isoformat()}
        for n in range(2001)
        for row in books.bank_vault.disclose_payee(books.user_id, BANK, f"PO{n:010}", cross_border=False)
    ]
    rows = [*paid, *fx.vault.disclose_holder(books.user_id, OVERSEAS, "RA1", abroad=True)]
    await books.run("SELECT vault.record_disclosures(CAST(:r AS jsonb))", r=json.dumps(rows))
    closure, book = await closures.asked(), ClosureBook(books.app)
    await closures.ended(closure)
    told = await book.recipients(closure)
    assert [(each.recipient, len(each.disclosed_under)) for each in told] == [
        (BANK, 1000), (BANK, 1000), (BANK, 1), (OVERSEAS, 1),
    ]  # fmt: skip
    assert [each.disclosed_under[0] for each in told[:3]] == ["PO0000002000", "PO0000001000", "PO0000000000"]
    numbers = [each.request_number for each in told]
    assert numbers == [f"EN{closure.partition('_')[2]}{n:02}" for n in (1, 2, 3, 4)]

    async def replied(number: str, reply: str, reason: str | None = None) -> tuple[Any, ...]:
        await book.claim_notice(number, NOW)
        await book.record_reply(RecipientReply(request_number=number, now=NOW, reply=reply, reason=reason))  # type: ignore[arg-type]
        facts = await book.facts(closure, NOW)
        assert facts is not None
        [of_bank] = [notice for notice in facts["notices"] if notice["recipient"] == BANK]
        return of_bank["told_at"] is not None, of_bank["reply"], of_bank["reply_reason"], await book.unanswered(closure)

    assert await replied(numbers[0], "erased") == (False, "none", None, 3)
    assert await replied(numbers[1], "kept", "law") == (False, "none", None, 3)
    assert await replied(numbers[2], "received") == (True, "received", None, 3)
    assert [each.request_number for each in await book.recipients(closure)] == numbers[2:]
    assert await replied(numbers[2], "erased") == (True, "kept", "law", 2)
    assert await replied(numbers[3], "erased") == (True, "kept", "law", 1)
    effects = "SELECT count(*) FROM app.effect WHERE step = 'EN' AND outcome = 'succeeded' AND subject_id = :c"
    assert await books.value(effects, c=closure) == 4


async def test_what_a_closing_tells_whom_is_fixed_with_its_end(fx: FxBooks) -> None:
    """P4.2b: the merchant, and each bank that got data of the kind; not one that only quick pay never told."""
    books, closures = fx.books, Closures(fx.books)
    rows = [
        *books.bank_vault.disclose_elements(books.user_id, BANK, "SG1"),
        *fx.vault.disclose_holder(books.user_id, OVERSEAS, "RA1", abroad=True),
    ]
    await books.run("SELECT vault.record_disclosures(CAST(:r AS jsonb))", r=json.dumps(rows))
    await books.run("UPDATE app.receiving_account SET state = 'closed'")
    recipients = "SELECT array(SELECT recipient FROM app.erasure_notice WHERE closure_id = :c ORDER BY kind, recipient)"
    quick = await closures.asked("quick_pay")
    await closures.ended(quick)
    assert await books.value(recipients, c=quick) == [BANK, books.merchant_id]
    # A card that is bound anew afterwards is none of what the bank is told to delete, however late it hears of it.
    later = books.bank_vault.disclose_elements(books.user_id, BANK, "SG2")
    await books.run("SELECT vault.record_disclosures(CAST(:r AS jsonb))", r=json.dumps(later))
    [told] = await ClosureBook(books.app).recipients(quick)
    assert (told.recipient, told.disclosed_under) == (BANK, ("SG1",))
    await closures.completed(quick)
    account = await closures.asked()
    await closures.ended(account)
    assert await books.value(recipients, c=account) == [BANK, OVERSEAS, books.merchant_id]
    numbers = await books.value("SELECT array(SELECT request_number FROM app.erasure_notice WHERE kind = 'bank')")
    assert len(set(numbers)) == 3
    assert all(number.startswith("EN") for number in numbers)
