"""The send claim meets what stands in its way: which obstacle stops which step, and that one of the two comes first."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta
from typing import Any

import pytest

from domain.decisions import DecisionKind
from domain.errors import DomainError, EffectRefusedError, ErrorCode, RefusedError
from domain.identifiers import BankStep, request_number
from domain.instructions import AcceptBinding, ClaimCodeAttempt, ClaimCodeResend, ClaimEffect
from domain.journal import collection
from domain.settlement import Settlement
from storage.decisions import decide_directly
from tests.storage.books import BANK, NOW, Books
from tests.storage.deciders import Deciders
from tests.storage.test_lock_order import another_user, deadlocks

K = DecisionKind
C = ErrorCode
LATER = NOW + timedelta(days=2)
HOLD = {"issuer": "公安局", "number": "1", "demands": "hold", "expires_at": LATER.isoformat()}
FREEZE = {"review_at": LATER.isoformat()}

# Obstacle: kind of decision, whom it is about, and what it says.
OBSTACLES: dict[str, tuple[DecisionKind, str, dict[str, Any]]] = {
    "user suspended": (K.USER_SUSPEND, "user", {}),
    "user's binding suspended": (K.USER_SUSPEND, "user", {"function": "bind"}),
    "user's collecting suspended": (K.USER_SUSPEND, "user", {"function": "collect"}),
    "user's refunds suspended": (K.USER_SUSPEND, "user", {"function": "refund"}),
    "user's funds frozen": (K.FUNDS_FREEZE, "user", FREEZE),
    "user held": (K.AUTHORITY_ORDER_REGISTER, "user", HOLD),
    "user's refunds held": (K.AUTHORITY_ORDER_REGISTER, "user", HOLD | {"function": "refund"}),
    "merchant suspended": (K.MERCHANT_SUSPEND, "merchant", {}),
    "merchant's collecting suspended": (K.MERCHANT_SUSPEND, "merchant", {"function": "collect"}),
    "merchant's funds frozen": (K.FUNDS_FREEZE, "merchant", FREEZE),
    "merchant held": (K.AUTHORITY_ORDER_REGISTER, "merchant", HOLD),
    "partner off": (K.PARTNER_DISABLE, "partner", {}),
}
STEPS = ("SG", "US", "PC", "DB", "RF", "LR")
HELD, FROZEN, SUSPENDED, OFF = "authority_hold", "funds_frozen", "function_suspended", "partner_not_available"
# What each obstacle stops, and with which code; everything else goes on.
STOPS: dict[str, dict[str, str]] = {
    "user suspended": dict.fromkeys(("SG", "PC", "DB"), "user_not_active"),
    "user's binding suspended": {"SG": SUSPENDED},
    "user's collecting suspended": dict.fromkeys(("PC", "DB"), SUSPENDED),
    "user's refunds suspended": {"RF": SUSPENDED},
    "user's funds frozen": {},
    "user held": dict.fromkeys(("SG", "PC", "DB", "RF", "LR"), HELD),
    "user's refunds held": dict.fromkeys(("RF", "LR"), HELD),
    "merchant suspended": {},
    "merchant's collecting suspended": {},
    "merchant's funds frozen": {"RF": FROZEN},
    "merchant held": dict.fromkeys(("SG", "PC", "DB", "RF", "LR"), HELD),
    "partner off": dict.fromkeys(STEPS, OFF),
}


async def decide(books: Books, kind: DecisionKind, whom: str, detail: dict[str, Any] | None = None) -> str:
    subject = {"user": books.user_id, "merchant": books.merchant_id, "partner": BANK}.get(whom, whom)
    return await decide_directly(books.owner, kind, subject, NOW, detail=detail)


async def claim(books: Books, kind: str, subject_id: str, step: str, **changes: Any) -> Any:
    number = request_number(BankStep(step), subject_id)
    values = {"now": NOW, "kind": kind, "id": subject_id, "step": step, "request_number": number}
    return await books.instructions.claim_effect(ClaimEffect.model_validate(values | changes))


async def paid(books: Books, **changes: Any) -> dict[str, Any]:
    """A payment that its bank has booked."""
    if not await books.value("SELECT count(*) FROM app.user_waiver"):
        await books.enable_waiver(20_000)
    payment = await books.instructions.accept_payment(books.payment(10_000, **changes))
    await claim(books, "payment", payment["id"], "DB")
    account = (
        f"user:{books.user_id}:CNY"
        if changes.get("payee_kind") == "user"
        else f"merchant_pending:{books.merchant_id}:CNY"
    )
    await books.instructions.settle(
        Settlement(
            key=f"{payment['id']}:succeeded", kind="payment", id=payment["id"], expect=("sending",), state="succeeded",
            at=NOW, action="debit", outcome="done",
            transfers=collection(payment["id"], BANK, account, 10_000, 60, "CNY", NOW),
        )
    )  # fmt: skip
    return payment


async def ready_for(books: Books, step: str) -> tuple[str, str]:
    """Something for which this step is the next one: kind and id."""
    if step in ("SG", "US"):
        binding_id, state = books.new_id("bnd"), "accepted" if step == "SG" else "unbinding"
        await books.run(
            "INSERT INTO app.binding SELECT (jsonb_populate_record(b, jsonb_build_object('id', CAST(:new AS text),"
            " 'card_index', CAST(:new AS text), 'state', CAST(:state AS text)))).*"
            " FROM app.binding b WHERE b.id = :old",
            new=binding_id, state=state, old=books.binding_id,
        )  # fmt: skip
        return "binding", binding_id
    if step == "RF":
        payment = await paid(books)
        return "refund", (await books.instructions.accept_refund(books.refund(payment["id"], 1_000)))["id"]
    amount = 30_000 if step == "PC" else 10_000
    payment = await books.instructions.accept_payment(books.payment(amount))
    if step == "LR":
        await books.run("ALTER TABLE app.payment DISABLE TRIGGER legal_step")
        await books.run("UPDATE app.payment SET state = 'late_refunding' WHERE id = :id", id=payment["id"])
    return "payment", payment["id"]


async def code_of_claim(books: Books, step: str, kind: str, subject_id: str) -> str | None:
    """None if it went through; what was refused left no effect."""
    try:
        await claim(books, kind, subject_id, step)
    except EffectRefusedError as refused:
        code, was_sent = refused.error, refused.sent_before
    else:
        return None
    assert not was_sent
    assert await sent(books, subject_id, step) == 0
    return code


@pytest.mark.parametrize("obstacle", OBSTACLES)
async def test_each_obstacle_stops_the_steps_that_it_should_and_no_other(books: Books, obstacle: str) -> None:
    await books.enable_waiver(20_000)
    ready = {step: await ready_for(books, step) for step in STEPS}
    await decide(books, *OBSTACLES[obstacle])
    found = {step: await code_of_claim(books, step, *ready[step]) for step in STEPS}
    assert {step: code for step, code in found.items() if code is not None} == STOPS[obstacle]


async def test_what_was_sent_before_is_never_called_failed_by_an_obstacle(books: Books) -> None:
    await books.enable_waiver(20_000)
    payment = await books.instructions.accept_payment(books.payment())
    await claim(books, "payment", payment["id"], "DB")
    await decide(books, K.USER_SUSPEND, "user", {"function": "collect"})
    assert (await claim(books, "payment", payment["id"], "DB")).already
    with pytest.raises(EffectRefusedError, match="function_suspended") as refused:
        await claim(books, "payment", payment["id"], "DB", resend=True, remembered_since=NOW - timedelta(days=1))
    assert refused.value.sent_before
    await decide(books, K.USER_RESUME, "user")
    again = await claim(books, "payment", payment["id"], "DB", resend=True, remembered_since=NOW - timedelta(days=1))
    assert again.already


async def test_an_authoritys_order_ends_by_itself_and_a_freeze_does_not(books: Books) -> None:
    payment = await paid(books)
    refund = await books.instructions.accept_refund(books.refund(payment["id"], 1_000))
    await decide(books, K.AUTHORITY_ORDER_REGISTER, "merchant", HOLD)
    with pytest.raises(EffectRefusedError, match="authority_hold"):
        await claim(books, "refund", refund["id"], "RF", now=LATER - timedelta(seconds=1))
    await decide(books, K.FUNDS_FREEZE, "merchant", FREEZE)
    with pytest.raises(EffectRefusedError, match="funds_frozen"):
        await claim(books, "refund", refund["id"], "RF", now=LATER + timedelta(days=365))
    await decide(books, K.FUNDS_RELEASE, "merchant")
    assert not (await claim(books, "refund", refund["id"], "RF", now=LATER)).already


async def test_a_freeze_stops_only_money_that_would_leave_the_one_who_is_frozen(books: Books) -> None:
    to_user = await paid(books, payee_kind="user")
    to_merchant = await paid(books)
    await decide(books, K.FUNDS_FREEZE, "user", FREEZE)
    with pytest.raises(RefusedError) as refused:
        await books.instructions.accept_refund(books.refund(to_user["id"], 1_000))
    assert refused.value.code is C.FUNDS_FROZEN
    assert await books.instructions.accept_refund(books.refund(to_merchant["id"], 1_000))


# Acceptance


@pytest.mark.parametrize(
    ("obstacle", "payment", "refund", "binding"),
    [
        ("user suspended", C.USER_NOT_ACTIVE, None, C.USER_NOT_ACTIVE),
        ("user's binding suspended", None, None, C.FUNCTION_SUSPENDED),
        ("user's collecting suspended", C.FUNCTION_SUSPENDED, None, None),
        ("user's refunds suspended", None, C.FUNCTION_SUSPENDED, None),
        ("user held", C.AUTHORITY_HOLD, C.AUTHORITY_HOLD, C.AUTHORITY_HOLD),
        ("merchant suspended", C.MERCHANT_SUSPENDED, C.MERCHANT_SUSPENDED, C.MERCHANT_SUSPENDED),
        ("merchant's collecting suspended", C.FUNCTION_SUSPENDED, None, None),
        ("merchant's funds frozen", None, C.FUNDS_FROZEN, None),
    ],
)
async def test_acceptance_refuses_with_the_same_codes(
    books: Books, obstacle: str, payment: ErrorCode | None, refund: ErrorCode | None, binding: ErrorCode | None
) -> None:
    before = await paid(books)
    await decide(books, *OBSTACLES[obstacle])
    gate = books.instructions
    assert await refused_with(gate.accept_payment(books.payment())) is payment
    assert await refused_with(gate.accept_refund(books.refund(before["id"], 100))) is refund
    assert await refused_with(gate.accept_binding(await application(books))) is binding


async def refused_with(call: Any) -> ErrorCode | None:
    try:
        await call
    except DomainError as error:
        return error.code
    return None


async def application(books: Books) -> AcceptBinding:
    return AcceptBinding.model_validate(
        {
            "request": books.context(), "now": NOW, "id": books.new_id("bnd"), "user_id": books.user_id,
            "bank_code": BANK, "card_index": "card-2", "card_last4": "0026", "card_type": "debit",
            "person_index": "person-1", "age_class": "adult", "sealed": (), "element_tokens": {}, "blocked_regions": (),
        }
    )  # fmt: skip


# Codes


@pytest.mark.parametrize(
    ("kind", "whom", "detail", "code"),
    [
        (K.INSTRUCTION_WITHDRAW, None, {}, C.WITHDRAWN),
        (K.USER_SUSPEND, "user", {}, C.USER_NOT_ACTIVE),
        (K.USER_SUSPEND, "user", {"function": "collect"}, C.FUNCTION_SUSPENDED),
        (K.AUTHORITY_ORDER_REGISTER, "merchant", HOLD, C.AUTHORITY_HOLD),
        (K.MERCHANT_SUSPEND, "merchant", {}, None),
        (K.FUNDS_FREEZE, "merchant", FREEZE, None),
        (K.USER_SUSPEND, "user", {"function": "bind"}, None),
    ],
)
async def test_a_code_is_taken_only_where_nothing_stands_in_the_way(
    books: Books, kind: DecisionKind, whom: str | None, detail: dict[str, Any], code: ErrorCode | None
) -> None:
    payment = await books.instructions.accept_payment(books.payment())
    await books.run(
        "UPDATE app.payment SET code_request_number = 'PC1', code_sent_at = :at, code_expires_at = :until,"
        " wait_reason = 'payer_code'", at=NOW - timedelta(minutes=2), until=NOW + timedelta(minutes=3),
    )  # fmt: skip
    await decide(books, kind, whom or payment["id"], detail)
    values = {"now": NOW, "kind": "payment", "id": payment["id"], "merchant_id": books.merchant_id}
    resend = ClaimCodeResend.model_validate(values | {"cooldown_seconds": 60, "max_sends": 5})
    attempt = values | {"attempt_id": books.new_id("att"), "max_attempts": 5, "step": "VC"}
    assert await refused_with(books.instructions.claim_code_resend(resend)) is code
    assert await refused_with(books.instructions.claim_code_attempt(ClaimCodeAttempt.model_validate(attempt))) is code


# Races


async def in_any_order(*calls: Any) -> list[Any]:
    """All at once, from many connections, each beginning at a moment of its own."""

    async def begin(call: Any) -> Any:
        await asyncio.sleep(random.uniform(0, 0.02))
        return await call

    shuffled = list(enumerate(calls))
    random.shuffle(shuffled)
    found = await asyncio.gather(*(begin(call) for _, call in shuffled), return_exceptions=True)
    answers = dict(zip((number for number, _ in shuffled), found, strict=True))
    return [answers[number] for number in range(len(calls))]


async def sent(books: Books, subject_id: str, step: str) -> int:
    return int(
        await books.value(
            "SELECT count(*) FROM app.effect WHERE subject_id = :id AND step = :step", id=subject_id, step=step
        )
    )


async def test_a_withdrawal_and_the_claims_of_its_debit_come_one_before_the_other(
    books: Books, deciders: Deciders
) -> None:
    await books.enable_waiver(20_000)
    before, outcomes = await deadlocks(books), set()
    for _ in range(25):
        payment = await books.instructions.accept_payment(books.payment(100, fee_minor=0, limits=()))
        asked = await deciders.ask("instruction.withdraw", payment["id"])
        claims = [claim(books, "payment", payment["id"], "DB") for _ in range(3)]
        approved, *claimed = await in_any_order(deciders.approve(asked["id"]), *claims)
        withdrawn = isinstance(approved, dict)
        outcomes.add(withdrawn)
        if withdrawn:
            assert [str(answer) for answer in claimed] == ["withdrawn"] * 3
            assert await sent(books, payment["id"], "DB") == 0
        else:
            assert approved.code is C.ALREADY_SENT
            assert await sent(books, payment["id"], "DB") == 1
            assert [answer.already for answer in claimed].count(False) == 1
    assert outcomes == {True, False}
    assert await deadlocks(books) == before


async def test_a_withdrawal_and_the_claims_of_its_refund_come_one_before_the_other(
    books: Books, deciders: Deciders
) -> None:
    payment, outcomes = await paid(books), set()
    for _ in range(25):
        refund = await books.instructions.accept_refund(books.refund(payment["id"], 100))
        asked = await deciders.ask("instruction.withdraw", refund["id"])
        approved, claimed = await in_any_order(
            deciders.approve(asked["id"]), claim(books, "refund", refund["id"], "RF")
        )
        withdrawn = isinstance(approved, dict)
        outcomes.add(withdrawn)
        assert await sent(books, refund["id"], "RF") == (0 if withdrawn else 1)
        assert isinstance(claimed, EffectRefusedError) is withdrawn
    assert outcomes == {True, False}


@pytest.mark.parametrize("obstacle", ["user suspended", "user's collecting suspended", "merchant held", "partner off"])
async def test_nothing_is_sent_or_accepted_after_an_obstacle_was_committed(books: Books, obstacle: str) -> None:
    """Each claim that succeeded has its effect in the books when the decision answers; none comes afterwards."""
    kind, whom, detail = OBSTACLES[obstacle]
    users = [(books.user_id, books.binding_id)]
    await books.enable_waiver(20_000)
    before = await deadlocks(books)
    for turn in range(6):
        payments = [
            await books.instructions.accept_payment(books.payment(100, user_id=u, binding_id=b, fee_minor=0, limits=()))
            for u, b in users * 12
        ]
        counted: list[tuple[int, int]] = []

        async def decide_and_count() -> None:
            subject = {"user": books.user_id, "merchant": books.merchant_id, "partner": BANK}[whom]
            more = detail | ({"number": str(turn)} if "number" in detail else {})  # noqa: B023
            await decide_directly(books.owner, kind, subject, NOW, detail=more)
            counted.append(await totals(books))  # noqa: B023

        await in_any_order(
            decide_and_count(),
            *(claim(books, "payment", payment["id"], "DB") for payment in payments),
            *(books.instructions.accept_payment(books.payment(100, fee_minor=0, limits=())) for _ in range(6)),
        )
        assert counted == [await totals(books)]
        await lift(books, whom, kind, str(turn))
    assert await deadlocks(books) == before


async def totals(books: Books) -> tuple[int, int]:
    sent_ = await books.value("SELECT count(*) FROM app.effect WHERE step = 'DB'")
    return int(sent_), int(await books.value("SELECT count(*) FROM app.payment"))


async def lift(books: Books, whom: str, kind: DecisionKind, number: str) -> None:
    if kind is K.AUTHORITY_ORDER_REGISTER:
        release = HOLD | {"number": number, "demands": "release"}
        await decide(books, kind, whom, release)
        return
    await decide(books, {K.USER_SUSPEND: K.USER_RESUME, K.PARTNER_DISABLE: K.PARTNER_ENABLE}[kind], whom)


async def test_decisions_claims_acceptances_and_refunds_do_not_block_each_other(
    books: Books, deciders: Deciders
) -> None:
    users = [(books.user_id, books.binding_id), *[await another_user(books) for _ in range(3)]]
    payment = await paid(books)
    before = await deadlocks(books)
    for turn in range(8):
        refund = await books.instructions.accept_refund(books.refund(payment["id"], 10))
        hold = HOLD | {"number": str(turn), "function": "bind"}
        answers = await in_any_order(
            *(books.instructions.accept_payment(books.payment(100, user_id=u, binding_id=b, fee_minor=0, limits=()))
              for u, b in users),
            claim(books, "refund", refund["id"], "RF"),
            books.instructions.accept_refund(books.refund(payment["id"], 10)),
            deciders.decide("user.suspend", users[turn % 4][0], detail={"function": "bind"}),
            deciders.decide("authority_order.register", books.merchant_id, detail=hold),
            deciders.decide("instruction.withdraw", refund["id"]),
        )  # fmt: skip
        assert all(isinstance(answer, dict | DomainError | EffectRefusedError) or answer for answer in answers)
        assert not [
            answer for answer in answers if isinstance(answer, Exception) and type(answer).__module__.startswith("sql")
        ]
    assert await deadlocks(books) == before
