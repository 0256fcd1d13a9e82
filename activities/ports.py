"""What activities are handed: the books, the vault and the banks, as far as they need them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from domain.banking import BankConnector
from domain.decisions import CheckedDecision
from domain.instructions import ClaimedEffect, ClaimEffect, OpenAttempt, ResolveCodeAttempt
from domain.payouts import PayoutStanding
from domain.personal_data import PersonalField
from domain.settlement import Settlement


class InstructionBook(Protocol):
    """The writer of instructions (`storage.instructions.Instructions`)."""

    async def claim_effect(self, command: ClaimEffect) -> ClaimedEffect: ...

    async def settle(self, settlement: Settlement) -> str | None: ...

    async def resolve_code_attempt(self, command: ResolveCodeAttempt) -> tuple[str, str]: ...

    async def open_attempts(self, subject_id: str) -> tuple[str, list[OpenAttempt]]: ...

    async def is_code_declined(self, subject_id: str) -> bool: ...

    async def check_decision(self, subject_id: str, decision_id: str, now: datetime) -> CheckedDecision: ...

    async def payout_standing(self, payout_id: str, now: datetime) -> PayoutStanding | None: ...


class PersonalVault(Protocol):
    """The vault as a bank step needs it (`vault.bank_steps.BankStepVault`)."""

    async def open_elements(self, user_id: str, rows: Sequence[Mapping[str, Any]]) -> dict[PersonalField, str]: ...

    async def open_agreement(self, user_id: str, rows: Sequence[Mapping[str, Any]]) -> str: ...

    async def seal_agreement(self, user_id: str, agreement_number: str) -> dict[str, Any]: ...

    def disclose_elements(self, user_id: str, bank_code: str, request_number: str) -> tuple[dict[str, Any], ...]: ...

    async def open_payee(self, owner_id: str, rows: Sequence[Mapping[str, Any]]) -> dict[PersonalField, str]: ...

    def disclose_payee(
        self, owner_id: str, bank_code: str, request_number: str, *, cross_border: bool
    ) -> tuple[dict[str, Any], ...]: ...


class BankDirectory(Protocol):
    """From a bank code to its connector; what was begun is finished also at a bank that was switched off since."""

    def connector_for_sent(self, bank_code: str) -> BankConnector: ...
