"""The vault as a step at a bank needs it: open what the send claim fetched, seal what the bank gave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from domain.disclosure import FOUR_ELEMENTS, PAYEE, PartnerOperation, PartnerRole
from domain.personal_data import DisclosureGround, PersonalField, Purpose
from vault.sealing import SealedItem
from vault.vault import Vault


class BankStepVault:
    """Wraps a vault for the activities. The read is recorded by the send claim that fetched the rows."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    async def open_elements(self, user_id: str, rows: Sequence[Mapping[str, Any]]) -> dict[PersonalField, str]:
        """The four elements, for the issuer's verification and nothing else (P1.1.1-1)."""
        return await self._vault.open_items(
            user_id, [SealedItem.model_validate(row) for row in rows], Purpose.QUICK_PAY
        )

    async def open_agreement(self, user_id: str, rows: Sequence[Mapping[str, Any]]) -> str:
        """The agreement number by which a bound card is debited."""
        items = [SealedItem.model_validate(row) for row in rows]
        opened = await self._vault.open_items(user_id, items, Purpose.EXECUTE_INSTRUCTION)
        return opened[PersonalField.AGREEMENT_NUMBER]

    async def seal_agreement(self, user_id: str, agreement_number: str) -> dict[str, Any]:
        """A sealed row for `ResolveCodeAttempt.agreement`."""
        [item] = await self._vault.seal(user_id, {PersonalField.AGREEMENT_NUMBER: agreement_number})
        return item.model_dump(mode="json")

    def disclose_elements(self, user_id: str, bank_code: str, request_number: str) -> tuple[dict[str, Any], ...]:
        """Rows for the disclosure log: the issuer gets exactly the four elements, because the service needs them."""
        disclosure = self._vault.disclose(
            user_id=user_id,
            recipient=bank_code,
            role=PartnerRole.DOMESTIC_BANK,
            operation=PartnerOperation.SIGN_APPLICATION,
            fields=FOUR_ELEMENTS,
            purpose=Purpose.QUICK_PAY,
            ground=DisclosureGround.NECESSARY_FOR_SERVICE,
            request_number=request_number,
        )
        return (disclosure.model_dump(mode="json"),)

    async def open_payee(self, owner_id: str, rows: Sequence[Mapping[str, Any]]) -> dict[PersonalField, str]:
        """The payee's name and account number, for the bank that pays (P2.1.3-1a); `owner_id`: whose key seals them."""
        return await self._vault.open_items(owner_id, [SealedItem.model_validate(row) for row in rows], Purpose.PAYOUT)

    def disclose_payee(
        self, owner_id: str, bank_code: str, request_number: str, *, cross_border: bool
    ) -> tuple[dict[str, Any], ...]:
        """Rows for the disclosure log: name and account go to our bank, and from there beyond the border perhaps."""
        disclosure = self._vault.disclose(
            user_id=owner_id,
            recipient=bank_code,
            role=PartnerRole.DOMESTIC_BANK,
            operation=PartnerOperation.PAYOUT,
            fields=PAYEE,
            purpose=Purpose.PAYOUT,
            ground=DisclosureGround.NECESSARY_FOR_SERVICE,
            request_number=request_number,
            cross_border=cross_border,
        )
        return (disclosure.model_dump(mode="json"),)
