"""The record of what leaves the institution: made before it leaves, or it does not leave (A4.3, P2.1.3)."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from uuid import UUID, uuid4

from pydantic import BaseModel, ConfigDict

from domain.disclosure import PartnerOperation, PartnerRole, allowed_fields
from domain.personal_data import DisclosureGround, PersonalField, Purpose, fields_for
from vault.errors import DisclosureRefusedError


class Disclosure(BaseModel):
    """One row of `vault.disclosure`, JSON-able, for `vault.record_disclosures`; it holds no values."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    disclosure_id: UUID
    user_id: str
    recipient: str
    role: PartnerRole
    operation: PartnerOperation
    fields: tuple[PersonalField, ...]
    purpose: Purpose
    ground: DisclosureGround
    request_number: str
    cross_border: bool
    at: datetime


def build_disclosure(
    *,
    user_id: str,
    recipient: str,
    role: PartnerRole,
    operation: PartnerOperation,
    fields: Collection[PersonalField],
    purpose: Purpose,
    ground: DisclosureGround,
    request_number: str,
    cross_border: bool,
    at: datetime,
) -> Disclosure:
    """The record of exactly these fields. Raises DisclosureRefusedError if one of them may not go.

    They must be the very fields that the role gets for the operation (P2.1.3), none more and none fewer, and be
    held for the purpose (P1.2.1). A call without personal data is no disclosure.
    """
    names = {field.value for field in fields}
    listed = {field.value for field in allowed_fields(role, operation)}
    refused = (names ^ listed) | (names - {field.value for field in fields_for(purpose)})
    if refused or not names:
        raise DisclosureRefusedError(refused)
    return Disclosure(
        disclosure_id=uuid4(),
        user_id=user_id,
        recipient=recipient,
        role=role,
        operation=operation,
        fields=tuple(sorted(set(fields))),
        purpose=purpose,
        ground=ground,
        request_number=request_number,
        cross_border=cross_border,
        at=at,
    )
