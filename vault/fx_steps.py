"""The vault as the steps of foreign currency need it: who converts, who receives, who sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from domain.disclosure import PartnerOperation, PartnerRole, allowed_fields
from domain.fx_banking import InboundRemittance
from domain.personal_data import DisclosureGround, PersonalField, Purpose
from vault.indexing import IndexKind
from vault.sealing import SealedItem
from vault.vault import Vault

_LAST = 4


class SealedNumber(NamedTuple):
    """A receiving account's number: as it is stored, and by what it is found."""

    item: dict[str, Any]
    token: str
    blind_index: str
    last4: str


class SealedRemittance(NamedTuple):
    """The names and the number of a remittance, and their tokens: remitter, receiver, account."""

    items: tuple[dict[str, Any], ...]
    tokens: dict[str, str]


class FxVault:
    """Wraps a vault for the activities. The read is recorded by the send claim that fetched the rows."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    async def open_person(self, user_id: str, rows: Sequence[Mapping[str, Any]]) -> dict[PersonalField, str]:
        """What the send claim fetched of the person, for the desk or the receiving bank; nothing of an enterprise."""
        if not rows:
            return {}
        items = [SealedItem.model_validate(row) for row in rows]
        return await self._vault.open_items(user_id, items, Purpose.FX_SETTLEMENT)

    def disclose_converter(self, user_id: str, bank_code: str, request_number: str) -> tuple[dict[str, Any], ...]:
        """Rows for the disclosure log: the desk registers whose quota it is (A4.3)."""
        return self._disclose(
            user_id, bank_code, PartnerRole.DOMESTIC_BANK, PartnerOperation.FX_CONVERSION, request_number, abroad=False
        )

    def disclose_holder(
        self, user_id: str, bank_code: str, request_number: str, *, abroad: bool
    ) -> tuple[dict[str, Any], ...]:
        """The same for a receiving account: its holder's name and nothing else, beyond the border perhaps (P6b)."""
        role = PartnerRole.OVERSEAS_BANK if abroad else PartnerRole.DOMESTIC_BANK
        return self._disclose(
            user_id, bank_code, role, PartnerOperation.RECEIVING_ACCOUNT, request_number, abroad=abroad
        )

    async def seal_number(self, user_id: str, number: str) -> SealedNumber:
        """What is kept of a receiving account's number."""
        [item] = await self._vault.seal(user_id, {PersonalField.ACCOUNT_NUMBER: number})
        return SealedNumber(item.model_dump(mode="json"), item.token, self.number_index(number), number[-_LAST:])

    def number_index(self, number: str) -> str:
        """By what a receiving account is found."""
        return self._vault.blind_index(IndexKind.RECEIVING_ACCOUNT, number)

    def name_index(self, name: str) -> str:
        """By what a receiver's name is compared with the holder's."""
        return self._vault.blind_index(IndexKind.RECEIVER_NAME, name)

    async def seal_remittance(self, owner: str, remittance: InboundRemittance) -> SealedRemittance:
        """The names and the number under the key of the user, or under one of the remittance's own."""
        await self._vault.ensure_user_key(owner)
        [remitter, account] = await self._vault.seal(
            owner,
            {
                PersonalField.NAME: remittance.remitter_name,
                PersonalField.ACCOUNT_NUMBER: remittance.account_number,
            },
        )
        [receiver] = await self._vault.seal(owner, {PersonalField.NAME: remittance.receiver_name})
        sealed = {"remitter": remitter, "receiver": receiver, "account": account}
        return SealedRemittance(
            tuple(item.model_dump(mode="json") for item in sealed.values()),
            {name: item.token for name, item in sealed.items()},
        )

    def _disclose(
        self, user_id: str, recipient: str, role: PartnerRole, operation: PartnerOperation, request_number: str, *,
        abroad: bool,
    ) -> tuple[dict[str, Any], ...]:  # fmt: skip
        disclosure = self._vault.disclose(
            user_id=user_id,
            recipient=recipient,
            role=role,
            operation=operation,
            fields=allowed_fields(role, operation),
            purpose=Purpose.FX_SETTLEMENT,
            ground=DisclosureGround.NECESSARY_FOR_SERVICE,
            request_number=request_number,
            cross_border=abroad,
        )
        return (disclosure.model_dump(mode="json"),)
