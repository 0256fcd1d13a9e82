"""A bank that answers what a test wrote down, and counts what it was asked to do."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

from domain.banking import (
    BankAnswer,
    BankCapabilities,
    BankConnector,
    BankNotice,
    BankOutcome,
    DebitRequest,
    DeclineReason,
    ErasureNotice,
    ErasureOutcome,
    ErasureReply,
    PaymentCodeRequest,
    PaymentCodeVerification,
    PayoutRequest,
    RefundRequest,
    SignApplication,
    SignConfirmation,
    StatementLine,
    StatementUnavailableError,
    UnsignRequest,
)

SUCCEEDED = BankAnswer(
    outcome=BankOutcome.SUCCEEDED, bank_reference="BANKREF1", booked_at=datetime(2026, 11, 23, tzinfo=UTC)
)
UNKNOWN = BankAnswer(outcome=BankOutcome.UNKNOWN)
PROCESSING = BankAnswer(outcome=BankOutcome.PROCESSING)
NOT_FOUND = BankAnswer(outcome=BankOutcome.NOT_FOUND)
ERASED = ErasureReply(outcome=ErasureOutcome.ERASED)


def declined(reason: DeclineReason) -> BankAnswer:
    """A bank's no."""
    return BankAnswer(outcome=BankOutcome.DECLINED, reason=reason, raw_code="E51")


class ScriptedBank:
    """`script(operation, answers…)`: each call takes the next answer, the last one for ever."""

    capabilities = BankCapabilities(
        bank_code="HBRB", remembers_request_numbers_seconds=7 * 86400, request_validity_seconds=60, timeout_seconds=3,
        requests_per_second=100,
    )  # fmt: skip

    def __init__(self) -> None:
        # What it replies to notices of erasure, in turn; the last one for ever.
        self.erasure_replies: deque[ErasureReply | Exception] = deque([ERASED])
        self._answers: dict[str, deque[BankAnswer | Exception]] = defaultdict(lambda: deque([SUCCEEDED]))
        self.calls: list[tuple[str, Any]] = []
        # Another bank that answers in this one's place.
        self.stand_in: BankConnector | None = None
        self._was_asked: dict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self.statements: dict[date, list[StatementLine]] = {}
        self.days_without_statement: set[date] = set()
        self.code_lifetime = timedelta(minutes=5)
        self.now = lambda: datetime.now(UTC)

    def script(self, operation: str, *answers: BankAnswer | Exception) -> None:
        self._answers[operation] = deque(answers)

    def asked(self, operation: str) -> list[Any]:
        return [request for name, request in self.calls if name == operation]

    async def was_asked(self, operation: str) -> None:
        """Waits for the first call of an operation."""
        await self._was_asked[operation].wait()

    def connector_for_sent(self, bank_code: str) -> BankConnector:
        return self.stand_in or self

    def _answer(self, operation: str, request: Any) -> BankAnswer:
        self.calls.append((operation, request))
        self._was_asked[operation].set()
        answers = self._answers[operation]
        answer = answers.popleft() if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _with_code(self, answer: BankAnswer) -> BankAnswer:
        if answer.outcome is not BankOutcome.SUCCEEDED or answer.code_expires_at is not None:
            return answer
        return answer.model_copy(update={"code_expires_at": self.now() + self.code_lifetime})

    async def apply_to_sign(self, request: SignApplication) -> BankAnswer:
        return self._with_code(self._answer("apply_to_sign", request))

    async def confirm_sign(self, request: SignConfirmation) -> BankAnswer:
        return self._answer("confirm_sign", request)

    async def unsign(self, request: UnsignRequest) -> BankAnswer:
        return self._answer("unsign", request)

    async def send_payment_code(self, request: PaymentCodeRequest) -> BankAnswer:
        return self._with_code(self._answer("send_payment_code", request))

    async def verify_payment_code(self, request: PaymentCodeVerification) -> BankAnswer:
        return self._answer("verify_payment_code", request)

    async def debit(self, request: DebitRequest) -> BankAnswer:
        return self._answer("debit", request)

    async def refund(self, request: RefundRequest) -> BankAnswer:
        return self._answer("refund", request)

    async def pay_out(self, request: PayoutRequest) -> BankAnswer:
        return self._answer("pay_out", request)

    async def query(self, request_number: str) -> BankAnswer:
        return self._with_code(self._answer("query", request_number))

    async def send_erasure_notice(self, notice: ErasureNotice) -> ErasureReply:
        return self._reply("send_erasure_notice", notice)

    async def ask_erasure_notice(self, request_number: str) -> ErasureReply:
        return self._reply("ask_erasure_notice", request_number)

    def _reply(self, operation: str, request: Any) -> ErasureReply:
        self.calls.append((operation, request))
        replies = self.erasure_replies
        reply = replies.popleft() if len(replies) > 1 else replies[0]
        if isinstance(reply, Exception):
            raise reply
        return reply

    async def statement(self, business_date: date) -> AsyncIterator[StatementLine]:
        if business_date in self.days_without_statement:
            raise StatementUnavailableError("STATEMENT_REFUSED")
        for line in self.statements.get(business_date, ()):
            yield line

    def read_callback(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes, now: datetime
    ) -> BankNotice:
        raise NotImplementedError

    async def close(self) -> None:
        return None
