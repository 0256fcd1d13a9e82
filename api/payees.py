"""Payees: bank accounts that a user names, checked by the rules of where they are, sealed at once (A2.5a, A7.3, P6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response
from stdnum import bic
from stdnum.iso7064 import mod_11_10

from api.calls import Call, Done, Operation, page_of, run_command, run_read
from api.documentation import documented
from api.payout_resources import DataExportText, PageOfPayees, Payee
from api.schemas import NewAccount, NewPayee, read_as
from api.services import Services
from api.users import user_of
from domain.business_time import business_date
from domain.errors import ErrorCode, FieldError, NotFoundError, RefusedError, ValidationRefusedError
from domain.identifiers import IdPrefix, is_identifier
from domain.identity import ElementFault
from domain.masking import HIDDEN
from domain.payees import NameMatch, PayeeAccount, check_payee, compare_names
from domain.payouts import AcceptPayee, RemovePayee
from domain.personal_data import PersonalField, Purpose
from domain.policy import Policy
from domain.routes import Route
from storage.payouts import StoredPayee
from vault.errors import TokenNotFoundError, UserErasedError
from vault.indexing import IndexKind

router = APIRouter(prefix="/v1", tags=["payees"])
C = ErrorCode

_SHOWN_OF_A_CONTRACT = {"recipient", "contract", "ground", "encryption", "access"}
_IS_RIGHT = {"cnaps": mod_11_10.is_valid, "bic": bic.is_valid}


async def _shown(services: Services, payee: Mapping[str, Any]) -> Mapping[str, Any]:
    """A payee with what no stored answer holds: its masked name, and what its destination offers now."""
    token = await services.reading.payee_name_token(payee["id"])
    masked = await services.vault.masked(payee["user_id"], [token])
    return _as_shown(services, payee, masked.get(token, HIDDEN))


async def shown_payees(services: Services, payees: Sequence[StoredPayee]) -> list[dict[str, Any]]:
    """Payees of one user as they go out."""
    names = await masked_names(services, payees)
    return [_as_shown(services, payee.view, name) for payee, name in zip(payees, names, strict=True)]


def _as_shown(services: Services, view: Mapping[str, Any], name: str) -> dict[str, Any]:
    routes = services.policy.payout_routes.routes_to(view["region"])
    shown = {key: value for key, value in view.items() if key not in ("bank_id_kind", "account_last4")}
    return shown | {
        "bank_id": {"kind": view["bank_id_kind"], "value": view["bank_id"]},
        "name": name,
        "account": masked_account(view),
        "currencies": sorted({currency for route in routes for currency in route.currencies}),
        "speeds": list(dict.fromkeys(speed for route in routes for speed in route.speeds)),
    }


async def masked_names(services: Services, payees: Sequence[StoredPayee]) -> list[str]:
    """The names of payees of one user, masked; hidden altogether once they are erased."""
    if not payees:
        return []
    tokens = [payee.element_tokens.get(PersonalField.NAME.value, "") for payee in payees]
    masked = await services.vault.masked(payees[0].view["user_id"], [token for token in tokens if token])
    return [masked.get(token, HIDDEN) for token in tokens]


ACCEPT = Operation("accept_payee", "payees:write", 201, IdPrefix.PAYEE, complete=_shown)
REMOVE = Operation("remove_payee", "payees:write", complete=_shown)
READ = Operation("read_payee", "payees:read")
READ_EXPORT = Operation("read_data_export", "payees:read")


@router.post(
    "/users/{user_id}/payees",
    **documented(
        "Name a bank account to pay out to",
        ACCEPT.scope,
        {201: Payee},
        [
            C.USER_NOT_FOUND,
            C.USER_NOT_ACTIVE,
            C.MERCHANT_SUSPENDED,
            C.FUNCTION_SUSPENDED,
            C.AUTHORITY_HOLD,
            C.REGION_NOT_SERVED,
            C.AGREEMENT_REQUIRED,
            C.PAYEE_REGION_NOT_SERVED,
            C.PAYEE_DATA_INVALID,
            C.PAYEE_NAME_DIFFERS,
            C.DATA_EXPORT_NOT_ALLOWED,
            C.PAYEE_EXISTS,
            C.PAYEES_EXHAUSTED,
        ],
        body=NewPayee,
        command=True,
        signed=True,
    ),
)
async def accept_payee(request: Request, user_id: str) -> Response:
    """Name and number are sealed under the user's own key and never shown again; a payee is never changed: another
    account is another payee."""
    return await run_command(request, ACCEPT, lambda call, payload: _accept(call, user_id, payload))


async def _accept(call: Call, user_id: str, payload: dict[str, Any]) -> Done:
    body = read_as(NewPayee, payload)
    route = _route_to(call.services, body.region)
    account = checked_account(body, route)
    await user_of(call, user_id)
    await _check_export(call, user_id, route)
    match = await _name_match(call, user_id, account.name)
    if route.own_name_only and (body.relation != "own" or match is not NameMatch.MATCH):
        raise RefusedError(C.PAYEE_NAME_DIFFERS, field="name")
    command = await _sealed_command(call, user_id, body, account, match)
    return Done(await call.accept(call.services.instructions.accept_payee, command))


def _route_to(services: Services, region: str) -> Route:
    """By whose rules an account is checked; those of one region differ in currency and price only."""
    routes = services.policy.payout_routes.routes_to(region)
    if not routes:
        raise RefusedError(C.PAYEE_REGION_NOT_SERVED, field="region")
    return routes[0]


def checked_account(body: NewAccount, route: Route) -> PayeeAccount:
    """Corrected where that changes nothing. Raises RefusedError that names each wrong field, never a value."""
    checked = check_payee(
        PayeeAccount(
            holder_type=body.holder_type,
            region=route.region,
            bank_id_kind=body.bank_id.kind,
            bank_id=body.bank_id.value,
            name=body.name,
            account_number=body.account_number,
        ),
        route,
    )
    faults, account = list(checked.faults), checked.account
    is_right = _IS_RIGHT.get(account.bank_id_kind)
    if not any(fault.field == "bank_id.value" for fault in faults) and is_right and not is_right(account.bank_id):
        faults.append(FieldError("bank_id.value", ElementFault.CHECK_DIGIT_WRONG))
    if faults:
        raise ValidationRefusedError(C.PAYEE_DATA_INVALID, fields=faults)
    return account


async def _check_export(call: Call, user_id: str, route: Route) -> None:
    """A payee's data leave the mainland under a contract, and with the user's separate consent to it (P6a-b)."""
    version = call.services.policy.data_export.version
    if route.cross_border and not (
        route.data_export and await call.services.reading.has_consented(user_id, "data_export", version)
    ):
        raise RefusedError(C.DATA_EXPORT_NOT_ALLOWED, field="region")


async def _name_match(call: Call, user_id: str, name: str) -> NameMatch:
    """Against the name that an issuer has verified with a card that is bound now."""
    token = await call.services.reading.verified_name_token(user_id)
    if token is None:
        return NameMatch.UNKNOWN
    try:
        found = await call.services.vault.reveal(
            user_id, [token], Purpose.FRAUD_PREVENTION, f"api:{call.context.request_id}"
        )
    except (TokenNotFoundError, UserErasedError):
        return NameMatch.UNKNOWN
    return compare_names(name, found[PersonalField.NAME])


async def _sealed_command(
    call: Call, user_id: str, body: NewPayee, account: PayeeAccount, match: NameMatch
) -> AcceptPayee:
    vault = call.services.vault
    await vault.ensure_user_key(user_id)
    items = await vault.seal(
        user_id, {PersonalField.NAME: account.name, PersonalField.ACCOUNT_NUMBER: account.account_number}
    )
    return AcceptPayee(
        request=call.context,
        now=call.now,
        id=call.resource_id,
        user_id=user_id,
        relation=body.relation,
        holder_type=account.holder_type,
        region=account.region,
        bank_id_kind=account.bank_id_kind,
        bank_id=account.bank_id,
        # Accounts are numbered by each place on its own.
        account_index=vault.blind_index(IndexKind.PAYEE_ACCOUNT, f"{account.region}{account.account_number}"),
        account_last4=account.account_number[-4:],
        name_index=vault.blind_index(IndexKind.PAYEE_NAME, account.name),
        name_match=match,
        sealed=tuple(item.model_dump(mode="json") for item in items),
        element_tokens={item.field.value: item.token for item in items},
        blocked_regions=call.services.policy.blocked_regions,
        data_export_version=call.services.policy.data_export.version,
    )


@router.get(
    "/users/{user_id}/payees",
    **documented("List a user's payees", READ.scope, {200: PageOfPayees}, [C.USER_NOT_FOUND], paged=True),
)
async def list_payees(request: Request, user_id: str) -> Response:
    """Those that can be paid; one that was removed is still there to be read by its id."""

    async def read(call: Call) -> Mapping[str, Any]:
        before, limit = call.page(lambda value: is_identifier(value, IdPrefix.PAYEE))
        await user_of(call, user_id)
        found = await call.services.payouts.payees(call.merchant_id, user_id, before, limit)
        return page_of(await shown_payees(call.services, found), limit, lambda item: item["id"])

    return await run_read(request, READ, read)


@router.get("/payees/{payee_id}", **documented("Read a payee", READ.scope, {200: Payee}, [C.PAYEE_NOT_FOUND]))
async def read_payee(request: Request, payee_id: str) -> Response:
    async def read(call: Call) -> Mapping[str, Any]:
        [shown] = await shown_payees(call.services, [await payee_of(call, payee_id)])
        return shown

    return await run_read(request, READ, read)


@router.delete(
    "/payees/{payee_id}",
    **documented("Remove a payee", REMOVE.scope, {200: Payee}, [C.PAYEE_NOT_FOUND], command=True),
)
async def remove_payee(request: Request, payee_id: str) -> Response:
    """Nothing new is paid to it; what was accepted is paid all the same (A3.3a)."""

    async def remove(call: Call, _payload: dict[str, Any]) -> Done:
        _check_shape(payee_id)
        command = RemovePayee(request=call.context, now=call.now, id=payee_id)
        return Done(await call.accept(call.services.instructions.remove_payee, command))

    return await run_command(request, REMOVE, remove)


@router.get(
    "/data_export", **documented("What is agreed to before data go abroad", READ_EXPORT.scope, {200: DataExportText})
)
async def read_data_export(request: Request) -> Response:
    """Show the text and the recipient to the user before naming a payee in HK, MO or TW, or asking for a receiving
    account at a bank abroad, and record a consent of kind `data_export` to its version and hash (P6a-b)."""

    async def read(call: Call) -> Mapping[str, Any]:
        policy = call.services.policy
        published = policy.data_export.model_dump()
        return {
            "object": "data_export",
            **published,
            "text": call.services.data_export_text,
            "recipients": _recipients(policy, call.now),
        }

    return await run_read(request, READ_EXPORT, read)


def _recipients(policy: Policy, now: datetime) -> list[dict[str, Any]]:
    """Who pays payees in a region abroad, and which banks abroad open receiving accounts, under a contract in force."""
    paying = [
        {
            "region": route.region,
            "bank_code": None,
            **route.data_export.model_dump(),
            "encryption": None,
            "access": None,
        }
        for route in policy.payout_routes.routes
        if route.data_export is not None
    ]
    receiving = [
        {"region": None, "bank_code": each.bank, **each.model_dump(include=_SHOWN_OF_A_CONTRACT)}
        for each in policy.fx.export_contracts
        if each.valid_until > business_date(now)
    ]
    return paying + receiving


async def payee_of(call: Call, payee_id: str) -> StoredPayee:
    """The merchant's own payee. Raises NotFoundError for anybody else's too."""
    _check_shape(payee_id)
    found = await call.services.payouts.payee(call.merchant_id, payee_id)
    if found is None:
        raise NotFoundError(C.PAYEE_NOT_FOUND)
    return found


def masked_account(view: Mapping[str, Any]) -> str:
    """As a screen shows it: `****7890`; hidden altogether once it is erased."""
    return f"{HIDDEN}{view['account_last4'] or ''}"


def _check_shape(payee_id: str) -> None:
    if not is_identifier(payee_id, IdPrefix.PAYEE):
        raise NotFoundError(C.PAYEE_NOT_FOUND)
