"""Settlement of merchants: what was settled, running a day once more, paying anew what failed (A2.5, A10.2b)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any, Literal

from fastapi import APIRouter
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from api.calls import Done, page_of
from api.documentation import query_parameter
from api.schemas import Body, read_as
from domain.business_time import business_date
from domain.decisions import Reason
from domain.errors import ErrorCode, NotFoundError, RefusedError
from domain.identifiers import IdPrefix, is_identifier
from domain.settlements import SettlementState
from ops.calls import Call, Operation, run_command, run_read
from ops.documentation import documented
from ops.instructions import payee_of
from ops.pages import cursor_of
from ops.queries import limit_of, text_of
from ops.schemas import Listed, OpsResource
from storage.settlements import OpsSettlements

router = APIRouter(prefix="/ops/v1/settlements", tags=["settlements"])
C = ErrorCode

LIST = Operation("list_settlements", "settlements:read")
READ = Operation("read_settlement", "settlements:read")
ACCOUNT = Operation("read_settlement_account", "settlements:read")
PAY = Operation("pay_settlement", "settlements:write")
RUN = Operation("run_settlements", "settlements:write", 202)
OLDEST = timedelta(days=31)
_STATES = [state.value for state in SettlementState]


class DayToSettle(Body):
    """Settle merchants once more, as on this business date."""

    business_date: str = Field(pattern=r"^\d{4}-\d\d-\d\d$", examples=["2026-11-23"])


class PaymentAnew(Body):
    """Why it can be paid anew: what was found out about the payout that failed."""

    reason: Reason = Field(examples=["商户已更换结算账户"])


class SettlementOfMerchant(OpsResource):
    id: str
    object: Literal["settlement"]
    state: SettlementState
    net_minor: int


class AccountOfMerchant(OpsResource):
    """Name and number masked, the bank in full."""

    id: str
    object: Literal["payee"]
    merchant_id: str
    state: str
    bank_id: str
    account_last4: str
    elements: dict[str, str]
    in_force: dict[str, Any] | None = Field(description="The account that it would take the place of.")


class StartedRun(OpsResource):
    object: Literal["settlement_run"]
    business_date: str
    started: bool


@router.get(
    "",
    **documented(
        "Settlements of all merchants",
        LIST,
        Listed,
        paged=True,
        parameters=[
            query_parameter("state", "Only these.", enum=_STATES),
            query_parameter("merchant_id", "Only those of one merchant."),
        ],
    ),
)
async def list_settlements(request: Request) -> Response:
    """The newest first; `reported` and `failed` are those that are not paid."""

    async def read(call: Call) -> Mapping[str, Any]:
        limit = limit_of(call)
        found = await _book(call).page(
            cursor_of(call, r"stl_[0-9A-Z]{26}"),
            limit,
            state=text_of(call, "state", "|".join(_STATES)),
            merchant_id=text_of(call, "merchant_id", r"mch_[0-9A-Z]{26}"),
        )
        return page_of(found, limit, lambda item: item["id"])

    return await run_read(request, LIST, read)


@router.get("/{settlement_id}", **documented("One settlement", READ, SettlementOfMerchant, [C.SETTLEMENT_NOT_FOUND]))
async def read_settlement(request: Request, settlement_id: str) -> Response:
    """With what it was short of, and which settlement bore that."""

    async def read(call: Call) -> Mapping[str, Any]:
        found = await _book(call).one(_checked(settlement_id))
        if found is None:
            raise NotFoundError(C.SETTLEMENT_NOT_FOUND)
        return found

    return await run_read(request, READ, read)


@router.get(
    "/accounts/{account_id}", **documented("An account to decide on", ACCOUNT, AccountOfMerchant, [C.PAYEE_NOT_FOUND])
)
async def read_account(request: Request, account_id: str) -> Response:
    """What `settlement.account` is about: nobody approves an account that nobody has seen."""

    async def read(call: Call) -> Mapping[str, Any]:
        found = await _book(call).to_decide(account_id) if is_identifier(account_id, IdPrefix.PAYEE) else []
        if not found:
            raise NotFoundError(C.PAYEE_NOT_FOUND)
        call.merchant_id = found[0]["merchant_id"]
        shown = [await payee_of(call, each["id"]) | each for each in found]
        return shown[0] | {"in_force": shown[1] if len(shown) > 1 else None}

    return await run_read(request, ACCOUNT, read)


@router.post(
    "/{settlement_id}/pay",
    **documented(
        "Pay a settlement anew",
        PAY,
        SettlementOfMerchant,
        [C.SETTLEMENT_NOT_FOUND, C.SETTLEMENT_NOT_PAYABLE],
        body=PaymentAnew,
    ),
)
async def pay_settlement(request: Request, settlement_id: str) -> Response:
    """One whose payout failed or came back, once a person knows why; to the account that is in force then."""

    async def pay(call: Call, payload: dict[str, Any]) -> Done:
        reason = read_as(PaymentAnew, payload).reason
        again = _book(call).pay_again(call.act, call.operator_id, _checked(settlement_id), reason)
        found = await call.recorded(again)
        # If Temporal is away, the next run pays it.
        await call.services.processes.settle_merchants(business_date(call.now))
        return Done(found)

    return await run_command(request, PAY, pay)


@router.post("/run", **documented("Settle a day", RUN, StartedRun, [C.SETTLEMENT_DATE_INVALID], body=DayToSettle))
async def run_settlements(request: Request) -> Response:
    """What has been settled stays as it is; what waits to be paid is tried again."""

    async def run(call: Call, payload: dict[str, Any]) -> Done:
        on = _day(read_as(DayToSettle, payload).business_date, business_date(call.now))
        call.detail["business_date"] = on.isoformat()
        started = await call.services.processes.settle_merchants(on)
        return Done({"object": "settlement_run", "business_date": on.isoformat(), "started": started})

    return await run_command(request, RUN, run)


def _day(text: str, today: date) -> date:
    """Today, or one of the last days. Raises RefusedError."""
    try:
        on = date.fromisoformat(text)
    except ValueError:
        on = date.min
    if not today - OLDEST <= on <= today:
        raise RefusedError(C.SETTLEMENT_DATE_INVALID, field="business_date")
    return on


def _checked(settlement_id: str) -> str:
    if not is_identifier(settlement_id, IdPrefix.SETTLEMENT):
        raise NotFoundError(C.SETTLEMENT_NOT_FOUND)
    return settlement_id


def _book(call: Call) -> OpsSettlements:
    return OpsSettlements(call.services.engine)
