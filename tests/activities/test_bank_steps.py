"""What a bank step does and does not do: claim first, send once, say UNKNOWN when in doubt; over fakes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory
from temporalio.testing import ActivityEnvironment

from activities import names
from activities.bank_steps import BankSteps
from activities.interfaces import AttemptQuestion, EffectQuery, EffectRequest, EffectResult, PayoutQuestion
from activities.looking import Looking
from domain.banking import BankOutcome, DeclineReason
from domain.errors import EffectRefusedError
from domain.identifiers import BankStep, request_number
from domain.instructions import ClaimedEffect, ClaimEffect, OpenAttempt, ResolveCodeAttempt
from domain.payouts import PayoutStanding
from domain.personal_data import PersonalField
from tests.workflows.scripted_bank import NOT_FOUND, PROCESSING, SUCCEEDED, UNKNOWN, ScriptedBank, declined

NOW = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)
PAYMENT = "pay_01J8ZQ4X000000000000000000"
ELEMENTS = {field: f"the {field.value}" for field in list(PersonalField)[:4]}


class FakeBook:
    """Answers a claim as it is told and remembers what it was asked; the order of calls is in `journal`."""

    def __init__(self, journal: list[str]) -> None:
        self.journal = journal
        self.claims: list[ClaimEffect] = []
        self.resolved: list[ResolveCodeAttempt] = []
        self.refusal: EffectRefusedError | None = None
        self.claimed = ClaimedEffect(
            already=False, bank_code="HBRB", user_id="usr_1", claimed_at=NOW, state="sending", amount_minor=10_000,
            currency="CNY", payee="示例商户", authorisation="AUTH-1", payment_id=PAYMENT, region="HK",
            bank_id_kind="hk_clearing", bank_id="004",
        )  # fmt: skip
        self.attempts: list[OpenAttempt] = []

    async def claim_effect(self, command: ClaimEffect) -> ClaimedEffect:
        self.journal.append("claim")
        self.claims.append(command)
        if self.refusal is not None:
            raise self.refusal
        return self.claimed

    async def resolve_code_attempt(self, command: ResolveCodeAttempt) -> tuple[str, str]:
        self.resolved.append(command)
        self.attempts = [one for one in self.attempts if one.attempt_id != command.attempt_id]
        return command.verdict, "open"

    async def open_attempts(self, subject_id: str) -> tuple[str, list[OpenAttempt]]:
        return "awaiting_code", self.attempts

    async def is_code_declined(self, subject_id: str) -> bool:
        return any(command.verdict == "declined" for command in self.resolved)

    async def settle(self, settlement: Any) -> str | None:
        raise NotImplementedError

    async def payout_standing(self, payout_id: str, now: datetime) -> PayoutStanding | None:
        return PayoutStanding(state="scheduled", obstacle="funds_frozen") if payout_id == PAYMENT else None


class FakeVault:
    async def open_elements(self, user_id: str, rows: Sequence[Mapping[str, Any]]) -> dict[PersonalField, str]:
        return dict(ELEMENTS)

    async def open_agreement(self, user_id: str, rows: Sequence[Mapping[str, Any]]) -> str:
        return f"the agreement of {user_id}"

    async def seal_agreement(self, user_id: str, agreement_number: str) -> dict[str, Any]:
        return {"sealed": user_id}

    def disclose_elements(self, user_id: str, bank_code: str, request_number: str) -> tuple[dict[str, Any], ...]:
        return ({"user_id": user_id, "recipient": bank_code, "request_number": request_number},)

    async def open_payee(self, owner_id: str, rows: Sequence[Mapping[str, Any]]) -> dict[PersonalField, str]:
        return {PersonalField.NAME: f"the payee of {owner_id}", PersonalField.ACCOUNT_NUMBER: "ACCOUNT-SECRET"}

    def disclose_payee(
        self, owner_id: str, bank_code: str, request_number: str, *, cross_border: bool
    ) -> tuple[dict[str, Any], ...]:
        return ({"user_id": owner_id, "request_number": request_number, "cross_border": cross_border},)


class JournalBank(ScriptedBank):
    def __init__(self, journal: list[str]) -> None:
        super().__init__()
        self._journal = journal

    def _answer(self, operation: str, request: Any) -> Any:
        self._journal.append(operation)
        return super()._answer(operation, request)


@pytest.fixture
def journal() -> list[str]:
    return []


@pytest.fixture
def book(journal: list[str]) -> FakeBook:
    return FakeBook(journal)


@pytest.fixture
def bank(journal: list[str]) -> JournalBank:
    return JournalBank(journal)


@pytest.fixture
def steps(book: FakeBook, bank: JournalBank) -> BankSteps:
    return BankSteps(book, FakeVault(), bank)


def request(step: BankStep, **changes: Any) -> EffectRequest:
    values = {
        "kind": "payment", "subject_id": PAYMENT, "bank_code": "HBRB", "request_number": request_number(step, PAYMENT),
        "now": NOW, "user_id": "usr_1", "region": "HK",
    }  # fmt: skip
    return EffectRequest.model_validate(values | changes)


async def run(steps: BankSteps, name: str, argument: Any) -> Any:
    return await ActivityEnvironment().run(getattr(steps, name), argument)


SENDING = [
    (names.APPLY_TO_SIGN, BankStep.SIGN, "apply_to_sign"),
    (names.UNSIGN, BankStep.UNSIGN, "unsign"),
    (names.SEND_PAYMENT_CODE, BankStep.PAYMENT_CODE, "send_payment_code"),
    (names.DEBIT, BankStep.DEBIT, "debit"),
    (names.REFUND, BankStep.REFUND, "refund"),
    (names.REFUND_LATE_SUCCESS, BankStep.LATE_REFUND, "refund"),
    (names.PAY_OUT, BankStep.PAYOUT, "pay_out"),
]
Sending = tuple[str, BankStep, str]
every_step = pytest.mark.parametrize("sending", SENDING, ids=[name for name, *_ in SENDING])


@every_step
async def test_a_step_is_claimed_before_it_is_sent_and_sent_once_under_its_number(
    steps: BankSteps, book: FakeBook, bank: JournalBank, sending: Sending
) -> None:
    name, step, operation = sending
    result = await run(steps, name, request(step))
    assert book.journal == ["claim", operation]
    [claim], [sent] = book.claims, bank.asked(operation)
    assert (claim.step, claim.request_number, claim.now) == (step.value, request_number(step, PAYMENT), NOW)
    assert sent.request_number == claim.request_number
    assert result.outcome is BankOutcome.SUCCEEDED


@every_step
async def test_what_stands_in_the_way_keeps_the_step_here(steps: BankSteps, book: FakeBook, sending: Sending) -> None:
    name, step, _ = sending
    book.refusal = EffectRefusedError("user_not_active", "ready")
    assert await run(steps, name, request(step)) == EffectResult(
        outcome=BankOutcome.DECLINED,
        request_number=request_number(step, PAYMENT),
        blocked="user_not_active",
        blocked_state="ready",
    )
    assert book.journal == ["claim"]


@every_step
async def test_a_step_that_was_claimed_before_is_not_sent_again_unasked(
    steps: BankSteps, book: FakeBook, sending: Sending
) -> None:
    name, step, _ = sending
    book.claimed = book.claimed.model_copy(update={"already": True})
    assert (await run(steps, name, request(step))).outcome is BankOutcome.UNKNOWN
    assert book.journal == ["claim"]


@pytest.mark.parametrize(
    ("remembers_seconds", "age", "sent"),
    [
        (7 * 86_400, timedelta(minutes=1), True),
        (7 * 86_400, timedelta(days=7) - timedelta(minutes=61), True),
        (7 * 86_400, timedelta(days=7) - timedelta(minutes=59), False),
        (7 * 86_400, timedelta(days=30), False),
        (600, timedelta(seconds=299), True),
        (600, timedelta(seconds=300), False),
    ],
)
async def test_a_step_is_sent_again_only_well_inside_the_banks_memory(
    *, steps: BankSteps, book: FakeBook, bank: JournalBank, remembers_seconds: int, age: timedelta, sent: bool
) -> None:
    """The books refuse what was claimed before the instant that they are told."""
    bank.capabilities = bank.capabilities.model_copy(update={"remembers_request_numbers_seconds": remembers_seconds})
    book.claimed = book.claimed.model_copy(update={"already": True})
    await run(steps, names.DEBIT, request(BankStep.DEBIT, now=NOW + age, resend=True))
    [claim] = book.claims
    assert claim.remembered_since is not None
    assert (book.claimed.claimed_at > claim.remembered_since) == sent


async def test_a_second_sending_that_is_refused_leaves_the_first_unknown(
    steps: BankSteps, book: FakeBook, bank: JournalBank
) -> None:
    book.refusal = EffectRefusedError("user_not_active", "sending", sent_before=True)
    result = await run(steps, names.DEBIT, request(BankStep.DEBIT, resend=True))
    assert (result.outcome, result.blocked, result.reason) == (BankOutcome.UNKNOWN, None, "user_not_active")
    assert bank.asked("debit") == []


async def test_a_worker_that_was_stopped_after_its_claim_sends_nothing_any_more(
    steps: BankSteps, bank: JournalBank, monkeypatch: pytest.MonkeyPatch
) -> None:
    instants = iter([100.0, 104.5])
    monkeypatch.setattr("activities.bank_steps.time", SimpleNamespace(monotonic=lambda: next(instants)))
    assert (await steps.debit(request(BankStep.DEBIT))).outcome is BankOutcome.UNKNOWN
    assert bank.asked("debit") == []


async def test_the_time_for_which_no_worker_ran_counts_when_it_is_looked_whether_the_order_is_over(
    steps: BankSteps, book: FakeBook
) -> None:
    environment = ActivityEnvironment()
    environment.info = replace(
        ActivityEnvironment.default_info(),
        current_attempt_scheduled_time=NOW,
        started_time=NOW + timedelta(hours=2),
    )
    await environment.run(steps.debit, request(BankStep.DEBIT))
    assert book.claims[0].now == request(BankStep.DEBIT).now + timedelta(hours=2)


async def test_a_worker_that_waited_long_for_the_vault_sends_nothing_any_more(
    bank: JournalBank, book: FakeBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr("activities.bank_steps.time", SimpleNamespace(monotonic=lambda: now))

    class SlowVault(FakeVault):
        async def open_agreement(self, user_id: str, rows: Sequence[Mapping[str, Any]]) -> str:
            nonlocal now
            now += 4.5
            return await super().open_agreement(user_id, rows)

    steps = BankSteps(book, SlowVault(), bank)
    assert (await steps.debit(request(BankStep.DEBIT))).outcome is BankOutcome.UNKNOWN
    assert bank.asked("debit") == []


async def test_a_debit_carries_the_payers_authorisation_and_what_was_confirmed(
    steps: BankSteps, bank: JournalBank
) -> None:
    await run(steps, names.DEBIT, request(BankStep.DEBIT))
    [debit] = bank.asked("debit")
    assert debit.model_dump(exclude={"request_number"}) == {
        "agreement_number": "the agreement of usr_1", "amount_minor": 10_000, "currency": "CNY", "payee": "示例商户",
        "authorisation": "AUTH-1",
    }  # fmt: skip


async def test_a_payment_code_is_bound_to_the_debit_that_it_is_for(steps: BankSteps, bank: JournalBank) -> None:
    await run(steps, names.SEND_PAYMENT_CODE, request(BankStep.PAYMENT_CODE))
    [sent] = bank.asked("send_payment_code")
    assert sent.debit_request_number == request_number(BankStep.DEBIT, PAYMENT)
    assert (sent.amount_minor, sent.currency, sent.payee) == (10_000, "CNY", "示例商户")


async def test_personal_data_leaves_only_with_an_application_or_a_payout_and_its_disclosure(
    steps: BankSteps, book: FakeBook, bank: JournalBank
) -> None:
    for name, step, _ in SENDING:
        await run(steps, name, request(step))
    disclosed = [claim.step for claim in book.claims if claim.disclosures]
    assert disclosed == [BankStep.SIGN.value, BankStep.PAYOUT.value]
    [application] = bank.asked("apply_to_sign")
    assert set(application.elements.model_dump()) == {"name", "id_number", "card_number", "mobile"}


@pytest.mark.parametrize(("region", "crosses"), [("CN", False), ("HK", True), ("MO", True), ("TW", True)])
async def test_a_payout_tells_its_bank_the_payee_and_says_on_record_whether_that_crosses_the_border(
    *, steps: BankSteps, book: FakeBook, bank: JournalBank, region: str, crosses: bool
) -> None:
    book.claimed = book.claimed.model_copy(update={"user_id": "mch_1", "region": region})
    result = await run(steps, names.PAY_OUT, request(BankStep.PAYOUT, user_id="mch_1", region=region))
    [sent], [claim] = bank.asked("pay_out"), book.claims
    assert (sent.payee_name, sent.account_number) == ("the payee of mch_1", "ACCOUNT-SECRET")
    assert (sent.region, sent.bank_id_kind, sent.bank_id, sent.amount_minor) == (region, "hk_clearing", "004", 10_000)
    assert [row["cross_border"] for row in claim.disclosures or ()] == [crosses]
    assert "SECRET" not in result.model_dump_json() + repr(sent)


async def test_a_payout_that_came_back_is_believed_only_for_the_amount_that_was_sent(
    steps: BankSteps, bank: JournalBank
) -> None:
    returned = SUCCEEDED.model_copy(
        update={
            "outcome": BankOutcome.RETURNED,
            "amount_minor": 10_000,
            "return_reference": "BACK1",
            "returned_at": NOW,
        }
    )
    bank.script("query", returned)
    result = await run(steps, names.ASK_BANK, EffectQuery(bank_code="HBRB", request_number="PO1", amount_minor=10_000))
    assert (result.outcome, result.return_reference, result.returned_at) == (BankOutcome.RETURNED, "BACK1", NOW)
    with pytest.raises(ApplicationError, match="another amount"):
        await run(steps, names.ASK_BANK, EffectQuery(bank_code="HBRB", request_number="PO1", amount_minor=9_999))


async def test_whoever_looks_at_a_payout_learns_where_it_stands(book: FakeBook) -> None:
    looking = Looking(book)
    standing = await looking.look_at_payout(PayoutQuestion(payout_id=PAYMENT, now=NOW))
    assert (standing.state, standing.obstacle) == ("scheduled", "funds_frozen")
    assert (await looking.look_at_payout(PayoutQuestion(payout_id="po_none", now=NOW))).state == "not_found"


async def test_results_hold_no_personal_data_agreement_or_authorisation(steps: BankSteps, bank: JournalBank) -> None:
    bank.script("query", SUCCEEDED.model_copy(update={"agreement_number": "AG-SECRET", "authorisation": "AUTH-SECRET"}))
    result = await run(steps, names.ASK_BANK, EffectQuery(bank_code="HBRB", request_number="DB1"))
    assert "SECRET" not in result.model_dump_json()


async def test_a_bank_that_does_not_answer_a_question_is_an_expected_failure_that_is_retried(
    steps: BankSteps, bank: JournalBank
) -> None:
    bank.script("query", UNKNOWN)
    with pytest.raises(ApplicationError) as failure:
        await run(steps, names.ASK_BANK, EffectQuery(bank_code="HBRB", request_number="DB1"))
    assert failure.value.type == "BANK_NO_ANSWER"
    assert failure.value.category is ApplicationErrorCategory.BENIGN
    assert not failure.value.non_retryable


@pytest.mark.parametrize("answer", [SUCCEEDED, PROCESSING, NOT_FOUND, declined(DeclineReason.OTHER)])
async def test_any_other_answer_to_a_question_is_passed_on_with_the_banks_validity(
    steps: BankSteps, bank: JournalBank, answer: Any
) -> None:
    bank.script("query", answer)
    result = await run(steps, names.ASK_BANK, EffectQuery(bank_code="HBRB", request_number="DB1"))
    assert (result.outcome, result.reason) == (answer.outcome, answer.reason)
    assert result.request_validity_seconds == bank.capabilities.request_validity_seconds


def attempt() -> OpenAttempt:
    return OpenAttempt(
        attempt_id="att_1", request_number="VC1", bank_code="HBRB", user_id="usr_1", claimed_at=NOW
    )  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "after_seconds", "verdict", "declined_"),
    [
        (SUCCEEDED.model_copy(update={"authorisation": "AUTH-9"}), 1, "confirmed", False),
        (declined(DeclineReason.CODE_WRONG), 1, "wrong", False),
        (declined(DeclineReason.CARD_LOST_OR_FROZEN), 1, "declined", True),
        (UNKNOWN, 10**6, None, False),
        (PROCESSING, 10**6, None, False),
        (NOT_FOUND, 120, None, False),
        (NOT_FOUND, 121, "lost", False),
    ],
)
async def test_a_lost_verdict_is_learned_from_the_bank_and_silence_is_none(
    *,
    steps: BankSteps,
    book: FakeBook,
    bank: JournalBank,
    answer: Any,
    after_seconds: int,
    verdict: str | None,
    declined_: bool,
) -> None:
    book.attempts = [attempt()]
    bank.script("query", answer)
    question = AttemptQuestion(kind="payment", subject_id=PAYMENT, now=NOW + timedelta(seconds=after_seconds))
    found = await run(steps, names.ASK_ABOUT_CODE, question)
    assert [command.verdict for command in book.resolved] == ([verdict] if verdict else [])
    assert (found.open_attempts, found.declined) == (0 if verdict else 1, declined_)


async def test_the_agreement_that_a_lost_verdict_brought_is_sealed_before_it_is_kept(
    steps: BankSteps, book: FakeBook, bank: JournalBank
) -> None:
    book.attempts = [attempt()]
    bank.script("query", SUCCEEDED.model_copy(update={"agreement_number": "AG-SECRET"}))
    await run(steps, names.ASK_ABOUT_CODE, AttemptQuestion(kind="binding", subject_id="bnd_1", now=NOW))
    [resolved] = book.resolved
    assert resolved.agreement == {"sealed": "usr_1"}
    assert "SECRET" not in resolved.model_dump_json()
