"""Settlement to the merchant: the account that it is paid to, and what was settled, line by line (A2.5, A10.2b)."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from api.calls import Call, Done, Operation, page_of, run_command, run_read
from api.documentation import documented
from api.payees import checked_account, masked_account
from api.schemas import NewAccount, read_as
from api.services import Services
from api.settlement_resources import (
    PageOfSettlementLines,
    PageOfSettlements,
    Settlement,
    SettlementAccount,
    SettlementAccounts,
    SettlementReport,
)
from domain.errors import ErrorCode, NotFoundError, RefusedError
from domain.identifiers import IdPrefix, is_identifier
from domain.masking import HIDDEN
from domain.payees import PayeeAccount
from domain.personal_data import PersonalField
from domain.settlements import LineKind, ProposeSettlementAccount, harmless_cell
from vault.indexing import IndexKind

router = APIRouter(prefix="/v1", tags=["settlements"])
C = ErrorCode
LINES_AT_ONCE = 500
COLUMNS = ("kind", "id", "order_number", "amount_minor", "fee_minor", "net_minor", "currency", "at")


async def _shown(services: Services, account: Mapping[str, Any]) -> Mapping[str, Any]:
    """An account with its holder's name, which no stored answer has, masked."""
    merchant_id = await services.settlements.owner(account["id"])
    return await _as_shown(services, merchant_id, account, await services.settlements.name_token(account["id"]))


async def _as_shown(services: Services, merchant_id: str, account: Mapping[str, Any], token: str) -> dict[str, Any]:
    masked = await services.vault.masked(merchant_id, [token])
    kept = ("id", "state", "holder_type", "region", "created_at", "removed_at")
    return {name: account[name] for name in kept} | {
        "object": "settlement_account",
        "bank_id": {"kind": account["bank_id_kind"], "value": account["bank_id"]},
        "name": masked.get(token, HIDDEN),
        "account": masked_account(account),
    }


PROPOSE = Operation("propose_settlement_account", "settlements:write", 201, IdPrefix.PAYEE, complete=_shown)
READ_ACCOUNT = Operation("read_settlement_account", "settlements:read")
READ = Operation("read_settlement", "settlements:read")
REPORT = Operation("read_settlement_report", "settlements:read")


@router.post(
    "/settlement_account",
    **documented(
        "Propose the bank account that you are paid to",
        PROPOSE.scope,
        {201: SettlementAccount},
        [C.MERCHANT_SUSPENDED, C.PAYEE_REGION_NOT_SERVED, C.PAYEE_DATA_INVALID, C.PAYEE_EXISTS],
        body=NewAccount,
        command=True,
        signed=True,
    ),
)
async def propose_settlement_account(request: Request) -> Response:
    """In force once two people of the institution have approved it; until then you are paid to the account before. A
    newer proposal takes the place of one that is not decided yet."""
    return await run_command(request, PROPOSE, _propose)


async def _propose(call: Call, payload: dict[str, Any]) -> Done:
    body = read_as(NewAccount, payload)
    policy = call.services.policy
    route = policy.payout_routes.route(policy.settlements.route)
    if body.region != route.region:
        raise RefusedError(C.PAYEE_REGION_NOT_SERVED, field="region")
    command = await _sealed_command(call, checked_account(body, route))
    return Done(await call.accept(call.services.settlements.propose_account, command))


async def _sealed_command(call: Call, account: PayeeAccount) -> ProposeSettlementAccount:
    vault, owner = call.services.vault, call.merchant_id
    await vault.ensure_user_key(owner)
    values = {PersonalField.NAME: account.name, PersonalField.ACCOUNT_NUMBER: account.account_number}
    items = await vault.seal(owner, values)
    return ProposeSettlementAccount(
        request=call.context,
        now=call.now,
        id=call.resource_id,
        holder_type=account.holder_type,
        region=account.region,
        bank_id_kind=account.bank_id_kind,
        bank_id=account.bank_id,
        account_index=vault.blind_index(IndexKind.PAYEE_ACCOUNT, f"{account.region}{account.account_number}"),
        account_last4=account.account_number[-4:],
        name_index=vault.blind_index(IndexKind.PAYEE_NAME, account.name),
        sealed=tuple(item.model_dump(mode="json") for item in items),
        element_tokens={item.field.value: item.token for item in items},
    )


@router.get(
    "/settlement_account",
    **documented("Read the account that you are paid to", READ_ACCOUNT.scope, {200: SettlementAccounts}),
)
async def read_settlement_account(request: Request) -> Response:
    """The one in force and the one that waits for approval."""

    async def read(call: Call) -> Mapping[str, Any]:
        found = await call.services.settlements.accounts(call.merchant_id)
        shown = {view["state"]: await _as_shown(call.services, call.merchant_id, view, token) for view, token in found}
        states = ("active", "proposed")
        return {"object": "settlement_accounts"} | {state: shown.get(state) for state in states}

    return await run_read(request, READ_ACCOUNT, read)


@router.get("/settlements", **documented("List settlements", READ.scope, {200: PageOfSettlements}, paged=True))
async def list_settlements(request: Request) -> Response:
    """Newest first."""

    async def read(call: Call) -> Mapping[str, Any]:
        before, limit = call.page(lambda value: is_identifier(value, IdPrefix.SETTLEMENT))
        found = await call.services.settlements.settlements(call.merchant_id, before, limit)
        return page_of(found, limit, lambda item: item["id"])

    return await run_read(request, READ, read)


@router.get(
    "/settlements/{settlement_id}",
    **documented("Read a settlement", READ.scope, {200: Settlement}, [C.SETTLEMENT_NOT_FOUND]),
)
async def read_settlement(request: Request, settlement_id: str) -> Response:
    return await run_read(request, READ, lambda call: settlement_of(call, settlement_id))


@router.get(
    "/settlements/{settlement_id}/lines",
    **documented(
        "List a settlement's lines", READ.scope, {200: PageOfSettlementLines}, [C.SETTLEMENT_NOT_FOUND], paged=True
    ),
)
async def list_lines(request: Request, settlement_id: str) -> Response:
    """In order of time. They add up to `net_minor` and what was brought forward."""

    async def read(call: Call) -> Mapping[str, Any]:
        after, limit = call.page(_is_line)
        await settlement_of(call, settlement_id)
        return page_of(await call.services.settlements.lines(settlement_id, after, limit), limit, _key)

    return await run_read(request, READ, read)


@router.get(
    "/settlements/{settlement_id}/report.json",
    **documented("Read a settlement as a whole", REPORT.scope, {200: SettlementReport}, [C.SETTLEMENT_NOT_FOUND]),
)
async def report_as_json(request: Request, settlement_id: str) -> Response:
    """The settlement with all of its lines in one document, however many there are."""

    async def read(call: Call) -> Response:
        settlement = await settlement_of(call, settlement_id)
        return StreamingResponse(_json(call.services, settlement), media_type="application/json")

    return await run_read(request, REPORT, read)


@router.get(
    "/settlements/{settlement_id}/report.csv",
    **documented(
        "Download a settlement as CSV",
        REPORT.scope,
        {200: SettlementReport},
        [C.SETTLEMENT_NOT_FOUND],
        media_type="text/csv",
    ),
)
async def report_as_csv(request: Request, settlement_id: str) -> Response:
    """`text/csv` (RFC 4180, UTF-8), one line a payment or refund, with signed amounts in minor units, and a last one,
    `total`, that each column adds up to. An order number that a program would take for a formula begins with `'`."""

    async def read(call: Call) -> Response:
        settlement = await settlement_of(call, settlement_id)
        name = f'attachment; filename="{settlement_id}.csv"'
        rows = _csv(call.services, settlement)
        return StreamingResponse(rows, media_type="text/csv; charset=utf-8", headers={"Content-Disposition": name})

    return await run_read(request, REPORT, read)


async def settlement_of(call: Call, settlement_id: str) -> Mapping[str, Any]:
    """The merchant's own settlement. Raises NotFoundError for anybody else's too."""
    if not is_identifier(settlement_id, IdPrefix.SETTLEMENT):
        raise NotFoundError(C.SETTLEMENT_NOT_FOUND)
    found = await call.services.settlements.settlement(call.merchant_id, settlement_id)
    if found is None:
        raise NotFoundError(C.SETTLEMENT_NOT_FOUND)
    return found


def _key(line: Mapping[str, Any]) -> str:
    return f"{line['kind']}:{line['subject_id']}"


def _is_line(value: str) -> bool:
    kind, _, subject = value.partition(":")
    prefix = IdPrefix.PAYMENT if kind == LineKind.PAYMENT else IdPrefix.REFUND
    return kind in set(LineKind) and is_identifier(subject, prefix)


async def _pages(services: Services, settlement_id: str) -> AsyncIterator[list[dict[str, Any]]]:
    """All lines, some at a time: they never change, so that pages fit together."""
    after: str | None = None
    while True:
        found = await services.settlements.lines(settlement_id, after, LINES_AT_ONCE)
        yield found[:LINES_AT_ONCE]
        if len(found) <= LINES_AT_ONCE:
            return
        after = _key(found[LINES_AT_ONCE - 1])


async def _json(services: Services, settlement: Mapping[str, Any]) -> AsyncIterator[str]:
    yield f'{{"object":"settlement_report","settlement":{json.dumps(settlement, ensure_ascii=False)},"lines":['
    is_first = True
    async for lines in _pages(services, settlement["id"]):
        for line in lines:
            yield ("" if is_first else ",") + json.dumps(line, ensure_ascii=False)
            is_first = False
    yield "]}"


async def _csv(services: Services, settlement: Mapping[str, Any]) -> AsyncIterator[str]:
    currency = settlement["currency"]
    yield _row(COLUMNS)
    async for lines in _pages(services, settlement["id"]):
        yield "".join(_row(_cells(line, currency)) for line in lines)
    if brought := settlement["brought_forward_minor"]:
        yield _row(("brought_forward", "", "", 0, 0, -brought, currency, settlement["created_at"]))
    amount = settlement["gross_minor"] - settlement["refunds_minor"]
    fee = settlement["fees_minor"] - settlement["fees_back_minor"]
    total = ("total", settlement["id"], "", amount, fee, settlement["net_minor"], currency, settlement["created_at"])
    yield _row(total)


def _cells(line: Mapping[str, Any], currency: str) -> tuple[Any, ...]:
    sign = -1 if line["kind"] == LineKind.REFUND else 1
    amounts = (sign * line["amount_minor"], sign * line["fee_minor"], line["net_minor"])
    return (line["kind"], line["subject_id"], harmless_cell(line["order_number"]), *amounts, currency, line["at"])


def _row(cells: tuple[Any, ...]) -> str:
    text = io.StringIO()
    csv.writer(text).writerow(cells)
    return text.getvalue()
