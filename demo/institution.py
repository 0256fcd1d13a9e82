"""What the institution's people do during the play; who they are, and how they log in, is not the stage's business."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol


class Institution(Protocol):
    """Each of these is done by persons over the operators' API, and is in its records."""

    async def approve(self, application_id: str) -> None:
        """Approves a merchant's application."""

    async def withdraw(self, instruction_id: str) -> None:
        """Two withdraw what was accepted, before it is sent."""

    async def approve_review(self, payout_id: str) -> None:
        """One finds the payout in order; above an amount another has to say so too."""

    async def reject_review(self, payout_id: str) -> None:
        """One finds that it is not to be paid."""

    async def close_bank(self, bank_code: str, until: datetime) -> None:
        """Sends a bank, or a desk, nothing for a while."""

    async def keep_open(self, offices: Sequence[str]) -> None:
        """Has FX offices work today and tomorrow, at every hour, so that no play depends on when it is played."""

    async def assign_remittance(self, reference: str, user_id: str) -> str:
        """Two find out whose a remittance in suspense is; answers why nobody knew."""

    async def resolve_dispute(self, dispute_id: str) -> None:
        """One person finds on evidence that both sides have agreed."""

    async def approve_account(self, proposal_id: str) -> None:
        """Two approve the account that a merchant is paid to."""
