"""Receiving accounts: numbers at a bank under which remittances reach one user (A2.3a, A5.1a, P6a-b)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api.calls import Call, Done, Operation, page_of, run_command, run_read
from api.documentation import documented
from api.fx_identity import OBSTACLES, check_holder
from api.fx_resources import PageOfReceivingAccounts, ReceivingAccount
from api.fx_schemas import NewReceivingAccount
from api.fx_terms import currency_rules
from api.schemas import read_as
from api.services import Services
from api.users import user_of
from domain.errors import ErrorCode, FieldError, NotFoundError, RefusedError, ValidationRefusedError
from domain.fx import AcceptReceivingAccount
from domain.identifiers import IdPrefix, is_identifier
from domain.identity import normalise_field
from domain.payees import HolderType, holder_fault
from domain.personal_data import PersonalField, Purpose
from vault.errors import TokenNotFoundError, UserErasedError
from vault.indexing import IndexKind
from workflows.starting_fx import receiving_order

router = APIRouter(prefix="/v1", tags=["foreign currency"])
C = ErrorCode


async def _shown(services: Services, view: Mapping[str, Any]) -> Mapping[str, Any]:
    """An account with what no stored answer holds: the holder's masked name, and the number.

    The number is read for the user, who is paid under it; each read is on record.
    """
    user_id, tokens = await services.fx_reading.receiving_account_tokens(view["id"])
    name, number = tokens.get(PersonalField.NAME.value), tokens.get(PersonalField.ACCOUNT_NUMBER.value)
    masked = await services.vault.masked(user_id, [name] if name else [])
    shown = {key: value for key, value in view.items() if key != "account_last4"}
    return shown | {
        "holder": masked.get(name or ""),
        "account_number": await _number(services, user_id, number, view["id"]),
    }


async def _number(services: Services, user_id: str, token: str | None, account_id: str) -> str | None:
    if token is None:
        return None
    try:
        found = await services.vault.reveal(user_id, [token], Purpose.USER_REQUEST, f"api:{account_id}")
    except (TokenNotFoundError, UserErasedError):
        return None
    return found[PersonalField.ACCOUNT_NUMBER]


ACCEPT = Operation("accept_receiving_account", "fx:write", 201, IdPrefix.RECEIVING_ACCOUNT, complete=_shown)
READ = Operation("read_receiving_account", "fx:read")


@router.post(
    "/users/{user_id}/receiving_accounts",
    **documented(
        "Open a number under which foreign currency reaches a user",
        ACCEPT.scope,
        {201: ReceivingAccount},
        [
            C.USER_NOT_FOUND,
            C.CURRENCY_NOT_SUPPORTED,
            *OBSTACLES,
            C.PARTNER_NOT_AVAILABLE,
            C.DATA_EXPORT_NOT_ALLOWED,
            C.PAYEE_NAME_DIFFERS,
            C.RECEIVING_ACCOUNT_EXISTS,
        ],
        body=NewReceivingAccount,
        command=True,
    ),
)
async def open_receiving_account(request: Request, user_id: str) -> Response:
    """The name of an individual is the one that an issuer has confirmed with a card, or its pinyin: surname first or
    last, any case, with or without spaces and hyphens (else `PAYEE_NAME_DIFFERS`). That of an enterprise is taken as
    you give it. The name is sealed under the user's own key. At a bank abroad it goes there, which takes the user's
    consent of kind `data_export`. The bank answers later: `receiving_account.opened`."""
    return await run_command(request, ACCEPT, lambda call, payload: _open(call, user_id, payload))


async def _open(call: Call, user_id: str, payload: dict[str, Any]) -> Done:
    body = read_as(NewReceivingAccount, payload)
    bank_code = _bank_for(call, body)
    user = await user_of(call, user_id)
    name = _checked_name(body.holder_name, user["type"])
    cross_border = call.services.banks.is_overseas(bank_code)
    if cross_border:
        await _check_consent(call, user_id)
    await check_holder(call, user, name)
    command = await _sealed_command(call, user_id, bank_code, body.currency, name, cross_border=cross_border)
    account = await call.accept(call.services.fx.accept_receiving_account, command)
    # Should this not get through, the sweeper starts it under the same id.
    await call.services.processes.open_receiving_account(receiving_order(account, call.merchant_id))
    return Done(account)


def _bank_for(call: Call, body: NewReceivingAccount) -> str:
    """Raises RefusedError where no bank of ours, or not the one that was named, opens such numbers."""
    wanted = currency_rules(call, body.currency).banks
    banks = wanted if body.bank_code is None else tuple(code for code in wanted if code == body.bank_code)
    opens = call.services.banks.opens_receiving_accounts
    found = next((code for code in banks if opens(code, body.currency)), None)
    if found is None:
        raise RefusedError(C.PARTNER_NOT_AVAILABLE, field="bank_code")
    return found


def _checked_name(given: str, user_type: HolderType) -> str:
    """Corrected where that changes nothing. Raises ValidationRefusedError, and never quotes it."""
    name = normalise_field(PersonalField.NAME, given)
    if fault := holder_fault(name, user_type, latin_only=False):
        raise ValidationRefusedError(C.REQUEST_INVALID, fields=[FieldError("holder_name", fault.value)])
    return name


async def _check_consent(call: Call, user_id: str) -> None:
    """The contract with the recipient is looked up where the account is accepted (P6a-b)."""
    version = call.services.policy.data_export.version
    if not await call.services.reading.has_consented(user_id, "data_export", version):
        raise RefusedError(C.DATA_EXPORT_NOT_ALLOWED)


async def _sealed_command(
    call: Call, user_id: str, bank_code: str, currency: str, name: str, *, cross_border: bool
) -> AcceptReceivingAccount:
    vault, policy = call.services.vault, call.services.policy
    await vault.ensure_user_key(user_id)
    items = await vault.seal(user_id, {PersonalField.NAME: name})
    return AcceptReceivingAccount(
        request=call.context,
        now=call.now,
        id=call.resource_id,
        user_id=user_id,
        bank_code=bank_code,
        currency=currency,
        holder_index=vault.blind_index(IndexKind.RECEIVER_NAME, name),
        sealed=tuple(item.model_dump(mode="json") for item in items),
        element_tokens={item.field.value: item.token for item in items},
        blocked_regions=policy.blocked_regions,
        cross_border=cross_border,
        data_export_version=policy.data_export.version,
    )


@router.get(
    "/users/{user_id}/receiving_accounts",
    **documented(
        "List a user's receiving accounts", READ.scope, {200: PageOfReceivingAccounts}, [C.USER_NOT_FOUND], paged=True
    ),
)
async def list_receiving_accounts(request: Request, user_id: str) -> Response:
    async def read(call: Call) -> Mapping[str, Any]:
        before, limit = call.page(lambda value: is_identifier(value, IdPrefix.RECEIVING_ACCOUNT))
        await user_of(call, user_id)
        found = await call.services.fx_reading.many(
            "receiving_account", call.merchant_id, before, limit, user_id=user_id
        )
        page = page_of(found, limit, lambda item: item["id"])
        return page | {"items": [await _shown(call.services, view) for view in page["items"]]}

    return await run_read(request, READ, read)


@router.get(
    "/receiving_accounts/{receiving_account_id}",
    **documented("Read a receiving account", READ.scope, {200: ReceivingAccount}, [C.RECEIVING_ACCOUNT_NOT_FOUND]),
)
async def read_receiving_account(request: Request, receiving_account_id: str) -> Response:
    async def read(call: Call) -> Mapping[str, Any]:
        found = None
        if is_identifier(receiving_account_id, IdPrefix.RECEIVING_ACCOUNT):
            found = await call.services.fx_reading.one("receiving_account", call.merchant_id, receiving_account_id)
        if found is None:
            raise NotFoundError(C.RECEIVING_ACCOUNT_NOT_FOUND)
        return await _shown(call.services, found)

    return await run_read(request, READ, read)
