"""A bank with books of its own: it books a request number once and tells the truth about it, when it answers at all."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Literal

from domain.banking import BankAnswer, BankOutcome, DebitRequest, DeclineReason, PayoutRequest, RefundRequest
from tests.workflows.scripted_bank import NOT_FOUND, PROCESSING, UNKNOWN, ScriptedBank, declined

# What befalls one call. `lost`: it never arrives; `unheard`: it arrives and its answer is lost; `killed…`: our process
# dies before or after; `declined`, `processing…`: what the bank decides when it first sees the number.
Weather = Literal[
    "fair", "declined", "processing", "processing_then_declined", "lost", "unheard", "unheard_declined",
    "killed_before", "killed_after",
]  # fmt: skip


class KilledError(Exception):
    """Our process died here."""


class BookingBank(ScriptedBank):
    """Takes the next weather for each call that reaches out to it; when there is none left, the weather is fair."""

    def __init__(self, weather: Iterable[Weather] = ()) -> None:
        super().__init__()
        self.weather = deque(weather)
        self.booked: Counter[str] = Counter()
        self.balance_minor = 0
        self._answers_given: dict[str, BankAnswer] = {}
        self._endings: dict[str, tuple[int, BankAnswer]] = {}

    async def debit(self, request: DebitRequest) -> BankAnswer:
        return self._take(request.request_number, request.amount_minor)

    async def refund(self, request: RefundRequest) -> BankAnswer:
        return self._take(request.request_number, -request.amount_minor)

    async def pay_out(self, request: PayoutRequest) -> BankAnswer:
        return self._take(request.request_number, -request.amount_minor)

    async def query(self, request_number: str) -> BankAnswer:
        weather = self._next()
        if weather == "killed_before":
            raise KilledError
        if weather in ("lost", "unheard", "unheard_declined"):
            return UNKNOWN
        self._bring_to_an_end(request_number)
        if weather == "killed_after":
            raise KilledError
        return self._answers_given.get(request_number, NOT_FOUND)

    def is_booked(self, request_number: str) -> bool:
        return self.booked[request_number] > 0

    def _take(self, number: str, amount_minor: int) -> BankAnswer:
        self.calls.append((number, amount_minor))
        weather = self._next()
        if weather == "killed_before":
            raise KilledError
        if weather == "lost":
            return UNKNOWN
        if number not in self._answers_given:
            self._decide(number, amount_minor, weather)
        if weather == "killed_after":
            raise KilledError
        return UNKNOWN if weather.startswith("unheard") else self._answers_given[number]

    def _decide(self, number: str, amount_minor: int, weather: Weather) -> None:
        if weather in ("declined", "unheard_declined"):
            self._answers_given[number] = declined(DeclineReason.INSUFFICIENT_FUNDS)
        elif weather == "processing":
            self._answers_given[number] = PROCESSING
            self._endings[number] = (amount_minor, self._yes(number))
        elif weather == "processing_then_declined":
            self._answers_given[number] = PROCESSING
            self._endings[number] = (0, declined(DeclineReason.REJECTED_BY_RISK))
        else:
            self._book(number, amount_minor, self._yes(number))

    def _bring_to_an_end(self, number: str) -> None:
        """What was processing is decided once the weather has calmed."""
        if number in self._endings and not self.weather:
            self._book(number, *self._endings.pop(number))

    def _book(self, number: str, amount_minor: int, answer: BankAnswer) -> None:
        if answer.outcome is BankOutcome.SUCCEEDED:
            self.booked[number] += 1
            self.balance_minor += amount_minor
        self._answers_given[number] = answer

    def _next(self) -> Weather:
        return self.weather.popleft() if self.weather else "fair"

    @staticmethod
    def _yes(number: str) -> BankAnswer:
        return BankAnswer(
            outcome=BankOutcome.SUCCEEDED, bank_reference=f"REF{number}", booked_at=datetime(2026, 11, 23, tzinfo=UTC)
        )
