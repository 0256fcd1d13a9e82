"""Who a user is for the rules of foreign exchange: by type and document, and never by anybody's word (A0.6, L9)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from api.calls import Call
from domain.errors import ErrorCode, RefusedError
from domain.fx_banking import Residency
from domain.personal_data import PersonalField, Purpose
from domain.residency import residency_of
from vault.errors import TokenNotFoundError, UserErasedError

C = ErrorCode
# What keeps a user from anything new with foreign currency.
OBSTACLES = [
    C.MERCHANT_SUSPENDED,
    C.USER_NOT_ACTIVE,
    C.REGION_NOT_SERVED,
    C.AGREEMENT_REQUIRED,
    C.IDENTITY_NOT_VERIFIED,
    C.FUNCTION_SUSPENDED,
    C.FUNDS_FROZEN,
    C.AUTHORITY_HOLD,
]


async def check_identity(call: Call, user: Mapping[str, Any]) -> None:
    """Raises RefusedError for an individual whom no bank has confirmed; reads nobody's document."""
    if user["type"] == "individual" and await call.services.fx_reading.identity_tokens(user["id"]) is None:
        raise RefusedError(C.IDENTITY_NOT_VERIFIED)


async def residency_class(call: Call, user: Mapping[str, Any]) -> Residency:
    """Of an individual by the document that a bank has confirmed, which is read for it, on record.

    Raises RefusedError where none has, or where the document is erased.
    """
    if user["type"] == "enterprise":
        return "enterprise"
    tokens = await call.services.fx_reading.identity_tokens(user["id"])
    if tokens is None:
        raise RefusedError(C.IDENTITY_NOT_VERIFIED)
    try:
        found = await call.services.vault.reveal(
            user["id"],
            [tokens[PersonalField.ID_NUMBER.value]],
            Purpose.FX_SETTLEMENT,
            f"api:{call.context.request_id}",
        )
    except (TokenNotFoundError, UserErasedError):
        raise RefusedError(C.IDENTITY_NOT_VERIFIED) from None
    return residency_of(found[PersonalField.ID_NUMBER])
