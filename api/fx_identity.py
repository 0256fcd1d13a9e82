"""Who a user is for the rules of foreign exchange: by type and document, and never by anybody's word (A0.6, L9)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from api.calls import Call
from domain.errors import ErrorCode, RefusedError
from domain.fx_banking import Residency
from domain.payees import NameMatch, compare_names
from domain.personal_data import PersonalField, Purpose
from domain.residency import residency_of
from vault.errors import TokenNotFoundError, UserErasedError

C = ErrorCode
# What keeps a user from anything new with foreign currency.
OBSTACLES = [
    C.MERCHANT_SUSPENDED,
    C.USER_NOT_ACTIVE,
    C.ACCOUNT_CLOSING,
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
    return residency_of(await _confirmed(call, user["id"], PersonalField.ID_NUMBER))


async def check_holder(call: Call, user: Mapping[str, Any], name: str) -> None:
    """An individual's account is in the name that a bank has confirmed, or in a spelling of it (A0.6, A2.3a).

    Nobody has confirmed an enterprise's name. Raises RefusedError, and never quotes a name.
    """
    if user["type"] == "enterprise":
        return
    confirmed = await _confirmed(call, user["id"], PersonalField.NAME)
    same = compare_names(name, confirmed) is NameMatch.MATCH or _words(name) == _words(confirmed)
    if not same and not call.services.is_spelling_of(name, confirmed):
        raise RefusedError(C.PAYEE_NAME_DIFFERS, field="holder_name")


def _words(name: str) -> list[str]:
    """Of a name in Latin letters, whose order does not count."""
    return sorted(name.casefold().replace("-", " ").split())


async def _confirmed(call: Call, user_id: str, field: PersonalField) -> str:
    """What a bank has confirmed of an individual, read for foreign exchange, on record.

    Raises RefusedError where none has, or where it is erased.
    """
    tokens = await call.services.fx_reading.identity_tokens(user_id)
    if tokens is None:
        raise RefusedError(C.IDENTITY_NOT_VERIFIED)
    actor = f"api:{call.context.request_id}"
    try:
        found = await call.services.vault.reveal(user_id, [tokens[field.value]], Purpose.FX_SETTLEMENT, actor)
    except (TokenNotFoundError, UserErasedError):
        raise RefusedError(C.IDENTITY_NOT_VERIFIED) from None
    return found[field]
