"""Foreign currency of all merchants: conversions, positions, desks, quota, rates, exports (A5.1, A5.2, P6)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api.calls import page_of
from api.documentation import query_parameter
from domain.business_time import business_date
from domain.errors import ErrorCode, NotFoundError
from domain.identifiers import IdPrefix, is_identifier
from domain.rates import format_rate
from domain.states import FxState, WaitReason
from ops.calls import Call, Operation, run_read
from ops.documentation import documented
from ops.fx_desks import desks_in_view
from ops.fx_schemas import Exports, FullFx, FxDesks, FxPositions, FxQuota
from ops.instructions import process_link
from ops.matters import listed
from ops.pages import cursor_of
from ops.queries import limit_of, text_of
from ops.schemas import Listed
from storage.calendars import Calendars
from storage.ops_fx import OpsFx

router = APIRouter(prefix="/ops/v1", tags=["fx"])
C = ErrorCode

LIST = Operation("list_fx", "fx:read")
READ = Operation("look_at_fx", "fx:read")
POSITIONS = Operation("read_fx_positions", "fx:read")
DESKS = Operation("read_fx_desks", "fx:read")
QUOTA = Operation("read_fx_quota", "fx_quota:read")
RATES = Operation("list_authority_rates", "fx:read")
EXPORTS = Operation("read_exports", "exports:read")

_STATES = [state.value for state in FxState]
_REASONS = [reason.value for reason in WaitReason]
_YEAR = r"20[2-9][0-9]|21[0-9]{2}"
_OF_YEAR = query_parameter("year", "A calendar year; this one, if left out.")


@router.get(
    "/fx",
    **documented(
        "Conversions and reversals of all merchants",
        LIST,
        Listed,
        paged=True,
        parameters=[
            query_parameter("state", "Only these.", enum=_STATES),
            query_parameter("waiting_for", "Only what waits for this.", enum=_REASONS),
            query_parameter("desk", "Only those of the desk of one bank."),
            query_parameter("user_id", "Only those of one user."),
            query_parameter("merchant_id", "Only those of one merchant."),
        ],
    ),
)
async def list_fx(request: Request) -> Response:
    """The newest first."""

    async def read(call: Call) -> Mapping[str, Any]:
        limit = limit_of(call)
        found = await _reading(call).page(
            cursor_of(call, r"fx_[0-9A-Z]{26}"),
            limit,
            state=text_of(call, "state", "|".join(_STATES)),
            awaited=text_of(call, "waiting_for", "|".join(_REASONS)),
            desk=text_of(call, "desk", r"[A-Z0-9]{3,12}"),
            user_id=text_of(call, "user_id", r"usr_[0-9A-Z]{26}"),
            merchant_id=text_of(call, "merchant_id", r"mch_[0-9A-Z]{26}"),
        )
        return page_of(found, limit, lambda item: item["id"])

    return await run_read(request, LIST, read)


@router.get("/fx/{fx_id}", **documented("One conversion, or reversal", READ, FullFx, [C.INSTRUCTION_NOT_FOUND]))
async def read_fx(request: Request, fx_id: str) -> Response:
    """With its quote, its request numbers, what of it was taken back and what is owed; who did what is at
    /ops/v1/instructions/{id}."""

    async def read(call: Call) -> Mapping[str, Any]:
        found = await _reading(call).one(fx_id) if is_identifier(fx_id, IdPrefix.FX) else None
        if found is None:
            raise NotFoundError(C.INSTRUCTION_NOT_FOUND)
        call.merchant_id = found["merchant_id"]
        shown = {name: [_with_rate(row) for row in found[name]] for name in ("quotes", "reversals")}
        return found | shown | {"process": process_link(call, found)}

    return await run_read(request, READ, read)


@router.get("/fx_positions", **documented("What was dealt and not delivered", POSITIONS, FxPositions))
async def read_positions(request: Request) -> Response:
    """By desk and currency; each comes back to nought when the bank delivers. Suspense is shown beside it."""

    async def read(call: Call) -> Mapping[str, Any]:
        found = await _reading(call).positions()
        return {"object": "fx_positions"} | found | {"balances": [_compared(row) for row in found["balances"]]}

    return await run_read(request, POSITIONS, read)


def _compared(row: Mapping[str, Any]) -> dict[str, Any]:
    # CNY is in suspense for other reasons, too.
    is_explained = row["kind"] == "fx_position" or row["currency"] != "CNY"
    return dict(row) | {"agrees": row["posted_minor"] == row["amount_minor"] if is_explained else None}


@router.get("/fx_desks", **documented("Which offices are open, and what waits for them", DESKS, FxDesks))
async def read_desks(request: Request) -> Response:
    """Each on its own days and hours, with the closures that were loaded."""

    async def read(call: Call) -> Mapping[str, Any]:
        loaded = await Calendars(call.services.engine).loaded()
        return desks_in_view(call.services.fx_rules, loaded, await _reading(call).desks(), call.now)

    return await run_read(request, DESKS, read)


@router.get(
    "/fx_quotas/{user_id}",
    **documented("What a person has settled in a year", QUOTA, FxQuota, [C.USER_NOT_FOUND], parameters=[_OF_YEAR]),
)
async def read_quota(request: Request, user_id: str) -> Response:
    """Of the person behind a user, or behind a conversion (`fx_…`), across merchants; each look is on record."""

    async def read(call: Call) -> Mapping[str, Any]:
        year = _year_of(call)
        is_shaped = any(is_identifier(user_id, prefix) for prefix in (IdPrefix.USER, IdPrefix.FX))
        person = await _reading(call).person(user_id) if is_shaped else None
        if person is None:
            raise NotFoundError(C.USER_NOT_FOUND)
        call.merchant_id = person["merchant_id"]
        call.detail = {"user_id": person["user_id"], "year": year}
        found = await _reading(call).quota(person["user_id"], year)
        return {"object": "fx_quota", "year": year} | person | found | {"left_usd_minor": _left(found)}

    return await run_read(request, QUOTA, read)


def _left(quota: Mapping[str, Any]) -> int | None:
    if quota["quota_usd_minor"] is None:
        return None
    left = quota["quota_usd_minor"] - quota["used_usd_minor"] - quota["reserved_usd_minor"]
    return 0 if quota["exceeded_at"] is not None else max(int(left), 0)


@router.get("/authority_rates", **documented("The authority's rates", RATES, Listed))
async def list_authority_rates(request: Request) -> Response:
    """USD for one unit of a currency, by month; `in_force` are those by which quota is counted today (L9)."""

    async def read(call: Call) -> Mapping[str, Any]:
        found = await _reading(call).authority_rates(business_date(call.now))
        return listed([row | {"usd": format_rate(row["usd_e8"])} for row in found])

    return await run_read(request, RATES, read)


@router.get("/exports", **documented("Personal data beyond the border", EXPORTS, Exports, parameters=[_OF_YEAR]))
async def read_exports(request: Request) -> Response:
    """How many persons and disclosures in a year, by recipient, with the contract in the register (P6b)."""

    async def read(call: Call) -> Mapping[str, Any]:
        year = _year_of(call)
        call.detail = {"year": year}
        items = await _reading(call).exports(year, business_date(call.now))
        return {"object": "exports", "year": year, "items": items}

    return await run_read(request, EXPORTS, read)


def _year_of(call: Call) -> int:
    given = text_of(call, "year", _YEAR)
    return int(given) if given else _this_year(call.now)


def _this_year(now: datetime) -> int:
    return business_date(now).year


def _with_rate(row: Mapping[str, Any]) -> dict[str, Any]:
    """Its rate as banks write it, too."""
    return dict(row) | {"rate": None if row["rate_e8"] is None else format_rate(row["rate_e8"])}


def _reading(call: Call) -> OpsFx:
    return OpsFx(call.services.engine)
