"""Payouts: show what would leave, pay out, say it once more where it looks like a mistake (A2.5a-e, A3.5a).

There is no way to cancel one: an accepted instruction is irrevocable (A3.3a).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api.calls import Call, Done, Operation, page_of, run_command, run_preview, run_read
from api.documentation import documented, query_parameter
from api.limits import payout_limits, payout_limits_of
from api.payees import masked_account, masked_names, payee_of
from api.payout_resources import PageOfPayouts, Payout, PayoutLimits, PayoutPreview
from api.resources import instant
from api.schemas import NewEvidence, NewPayout, PayoutConfirmation, PayoutToMake, read_as
from api.users import user_of
from domain.conditions import payout_values
from domain.confirmation import ConfirmedPayout
from domain.errors import ConflictError, ErrorCode, NotFoundError, RefusedError
from domain.identifiers import IdPrefix, is_identifier
from domain.limits import windows_to_take
from domain.payouts import AcceptPayout, ConfirmPayout
from domain.reviews import Evidence, GiveEvidence
from domain.routes import Route
from storage.payouts import StoredPayee
from workflows.starting import payout_order

router = APIRouter(prefix="/v1", tags=["payouts"])
C = ErrorCode

PREVIEW = Operation("preview_payout", "payouts:write")
PAY_OUT = Operation("accept_payout", "payouts:write", 201, IdPrefix.PAYOUT)
CONFIRM = Operation("confirm_payout", "payouts:write")
GIVE_EVIDENCE = Operation("give_evidence", "payouts:write")
READ = Operation("read_payout", "payouts:read")

_ORDER_REFUSALS = [
    C.USER_NOT_FOUND,
    C.PAYEE_NOT_FOUND,
    C.CURRENCY_NOT_SUPPORTED,
    C.SPEED_NOT_OFFERED,
    C.FEE_EXCEEDS_AMOUNT,
    C.LIMIT_PER_TRANSACTION,
]


@dataclass(frozen=True)
class Terms:
    """What a payout comes to."""

    payee: StoredPayee
    payee_name: str
    route: Route
    fee_minor: int
    fee_rule: str
    confirmation_hash: str


async def terms_of(call: Call, order: PayoutToMake) -> Terms:
    """Raises NotFoundError for a payee that is not this user's, RefusedError for what cannot be paid there."""
    policy = call.services.policy
    payee = await call.services.payouts.payee(call.merchant_id, order.payee_id)
    if payee is None or payee.view["user_id"] != order.user_id or payee.view["state"] != "active":
        await user_of(call, order.user_id)
        raise NotFoundError(C.PAYEE_NOT_FOUND)
    route = policy.payout_routes.route_for(payee.view["region"], order.currency)
    if route is None:
        raise RefusedError(C.CURRENCY_NOT_SUPPORTED, field="currency")
    rule = route.terms(order.speed).fee
    fee_minor, fee_rule = rule.fee_minor(order.amount_minor), policy.payout_routes.fee_reference(rule)
    [name] = await masked_names(call.services, [payee])
    content = ConfirmedPayout(
        merchant_id=call.merchant_id,
        user_id=order.user_id,
        payee_id=order.payee_id,
        payee_name=name,
        payee_account=masked_account(payee.view),
        payee_bank=f"{payee.view['bank_id_kind']}:{payee.view['bank_id']}",
        order_number=order.order_number,
        amount_minor=order.amount_minor,
        currency=order.currency,
        fee_minor=fee_minor,
        fee_rule=fee_rule,
        speed=order.speed,
    )
    return Terms(payee, name, route, fee_minor, fee_rule, content.confirmation_hash())


@router.post(
    "/payouts/preview",
    **documented(
        "What the user is to confirm",
        PREVIEW.scope,
        {200: PayoutPreview},
        [C.REQUEST_INVALID, C.BODY_NOT_JSON, C.FORBIDDEN_CARD_DATA, *_ORDER_REFUSALS],
        body=PayoutToMake,
    ),
)
async def preview_payout(request: Request) -> Response:
    """Changes nothing and needs no Idempotency-Key. Show the user everything, with all `conditions`, before the
    confirmation: what leaves the balance is `total_minor`, or the payout is refused with CONFIRMATION_CHANGED. The
    arrival is a prediction; the hash does not bind it."""
    return await run_preview(request, PREVIEW, _preview)


async def _preview(call: Call, payload: dict[str, Any]) -> Mapping[str, Any]:
    order = read_as(PayoutToMake, payload)
    terms = await terms_of(call, order)
    services, route = call.services, terms.route
    limits = payout_limits_of(call, order.user_id, terms.payee, route)
    windows_to_take(limits, order.amount_minor, call.now)
    arrival = await services.calendars.predict(route, route.banks[0], order.speed, call.now)
    facts = await services.payouts.facts_for(order.user_id, order.payee_id, call.now)
    grounds = list(facts.confirmation_grounds) if facts else []
    return {
        "object": "payout_preview",
        **order.model_dump(),
        "payee_name": terms.payee_name,
        "payee_account": masked_account(terms.payee.view),
        "fee_minor": terms.fee_minor,
        "fee_rule": terms.fee_rule,
        "total_minor": order.amount_minor + terms.fee_minor,
        "predicted_arrival": {"at": instant(arrival.arrives_at), "provisional": arrival.provisional},
        "confirmation": {"needed": bool(grounds), "grounds": grounds},
        "limits": await payout_limits(call, order.user_id, order.currency, terms.payee, route),
        "conditions": _conditions(call, order, terms),
        "confirmation_hash": terms.confirmation_hash,
    }


def _conditions(call: Call, order: PayoutToMake, terms: Terms) -> dict[str, object]:
    """What an individual has to be shown before confirming, in Chinese and English (A3.12, L13)."""
    route, speed = terms.route, terms.route.terms(order.speed)
    values = payout_values(
        order_number=order.order_number,
        amount_minor=order.amount_minor,
        currency=order.currency,
        payee_name=terms.payee_name,
        payee_account=masked_account(terms.payee.view),
        fee_minor=terms.fee_minor,
        rule=speed.fee,
        arrives_within_seconds=speed.arrives_within_seconds,
        recipient=route.data_export.recipient if route.data_export else "",
    )
    return call.services.policy.conditions.shown_for_payout(
        cross_border=route.cross_border, speed=order.speed, values=values
    )


@router.post(
    "/payouts",
    **documented(
        "Pay out of a user's balance",
        PAY_OUT.scope,
        {201: Payout},
        [
            *_ORDER_REFUSALS,
            C.MERCHANT_SUSPENDED,
            C.USER_NOT_ACTIVE,
            C.FUNCTION_SUSPENDED,
            C.FUNDS_FROZEN,
            C.AUTHORITY_HOLD,
            C.REGION_NOT_SERVED,
            C.AGREEMENT_REQUIRED,
            C.PAYEE_NAME_DIFFERS,
            C.DATA_EXPORT_NOT_ALLOWED,
            C.CONFIRMATION_CHANGED,
            C.PAYOUT_ORDER_EXISTS,
            C.INSUFFICIENT_FUNDS,
            C.LIMIT_PER_DAY,
            C.LIMIT_PER_MONTH,
            C.PARTNER_NOT_AVAILABLE,
            C.PAYOUT_BANK_WITHOUT_FUNDS,
        ],
        body=NewPayout,
        command=True,
        signed=True,
    ),
)
async def pay_out(request: Request) -> Response:
    """Accepted or refused at once, and never an advance: amount and fee are held from then on. What becomes of it shows
    in the resource. It cannot be cancelled."""
    return await run_command(request, PAY_OUT, _pay_out)


async def _pay_out(call: Call, payload: dict[str, Any]) -> Done:
    order = read_as(NewPayout, payload)
    terms = await terms_of(call, order)
    if terms.confirmation_hash != order.confirmation_hash:
        raise ConflictError(C.CONFIRMATION_CHANGED, field="confirmation_hash")
    limits = payout_limits_of(call, order.user_id, terms.payee, terms.route)
    windows = windows_to_take(limits, order.amount_minor, call.now)
    policy, route = call.services.policy, terms.route
    arrival = await call.services.calendars.predict(route, route.banks[0], order.speed, call.now)
    command = AcceptPayout(
        request=call.context,
        now=call.now,
        id=call.resource_id,
        user_id=order.user_id,
        payee_id=order.payee_id,
        order_number=order.order_number,
        amount_minor=order.amount_minor,
        currency=order.currency,
        fee_minor=terms.fee_minor,
        fee_rule=terms.fee_rule,
        speed=order.speed,
        route=route.code,
        banks=route.banks,
        own_name_only=route.own_name_only,
        confirmation_hash=terms.confirmation_hash,
        confirmation_seconds=route.confirmation_minutes * 60,
        agreement_version=policy.agreement.version,
        blocked_regions=policy.blocked_regions,
        limits=tuple(windows),
        data_export_version=policy.data_export.version,
        origin=order.origin,
        mandate_reference=order.mandate_reference,
        predicted_arrival_at=arrival.arrives_at,
        arrival_provisional=arrival.provisional,
    )
    payout = await call.accept(call.services.instructions.accept_payout, command)
    # Should this not get through, the sweeper starts it under the same id.
    await call.services.processes.send_payout(payout_order(payout, call.merchant_id))
    return Done(payout)


@router.post(
    "/payouts/{payout_id}/confirm",
    **documented(
        "The user's second yes",
        CONFIRM.scope,
        {200: Payout},
        [
            C.PAYOUT_NOT_FOUND,
            C.CONFIRMATION_CHANGED,
            C.CONFIRMATION_NOT_AWAITED,
            C.CONFIRMATION_EXPIRED,
            C.WITHDRAWN,
            C.USER_NOT_ACTIVE,
            C.FUNCTION_SUSPENDED,
            C.FUNDS_FROZEN,
            C.AUTHORITY_HOLD,
        ],
        body=PayoutConfirmation,
        command=True,
        signed=True,
    ),
)
async def confirm_payout(request: Request, payout_id: str) -> Response:
    """Of a payout in `awaiting_confirmation`, whose `confirmation` says why and until when; afterwards it is closed."""
    return await run_command(request, CONFIRM, lambda call, payload: _confirm(call, payout_id, payload))


async def _confirm(call: Call, payout_id: str, payload: dict[str, Any]) -> Done:
    body = read_as(PayoutConfirmation, payload)
    _check_shape(payout_id)
    command = ConfirmPayout(request=call.context, now=call.now, id=payout_id, confirmation_hash=body.confirmation_hash)
    payout = await call.accept(call.services.instructions.confirm_payout, command)
    await call.services.processes.tell_payout(payout_id)
    return Done(payout)


@router.post(
    "/payouts/{payout_id}/evidence",
    **documented(
        "Name the evidence that was asked for",
        GIVE_EVIDENCE.scope,
        {200: Payout},
        [C.PAYOUT_NOT_FOUND, C.EVIDENCE_NOT_ASKED],
        body=NewEvidence,
        command=True,
    ),
)
async def give_evidence(request: Request, payout_id: str) -> Response:
    """While `waiting_for.reason` is `evidence`: what you keep, by references of yours and without personal data."""
    return await run_command(request, GIVE_EVIDENCE, lambda call, payload: _give_evidence(call, payout_id, payload))


async def _give_evidence(call: Call, payout_id: str, payload: dict[str, Any]) -> Done:
    body = read_as(NewEvidence, payload)
    _check_shape(payout_id)
    given = tuple(Evidence(kind=item.kind, reference=item.reference) for item in body.evidence)
    command = GiveEvidence(request=call.context, now=call.now, payout_id=payout_id, evidence=given)
    payout = await call.accept(call.services.reviews.give_evidence, command)
    await call.services.processes.tell_payout(payout_id)
    return Done(payout)


@router.get(
    "/payouts",
    **documented(
        "List payouts",
        READ.scope,
        {200: PageOfPayouts},
        paged=True,
        parameters=[
            query_parameter("order_number", "Only payouts of this order."),
            query_parameter("user_id", "Only payouts of this user."),
        ],
    ),
)
async def list_payouts(request: Request) -> Response:
    async def read(call: Call) -> Mapping[str, Any]:
        before, limit = call.page(lambda value: is_identifier(value, IdPrefix.PAYOUT))
        order_number, user_id = (_plain(call.query.get(name)) for name in ("order_number", "user_id"))
        found = await call.services.payouts.payouts(
            call.merchant_id, before, limit, order_number=order_number, user_id=user_id
        )
        return page_of(found, limit, lambda item: item["id"])

    return await run_read(request, READ, read)


@router.get("/payouts/{payout_id}", **documented("Read a payout", READ.scope, {200: Payout}, [C.PAYOUT_NOT_FOUND]))
async def read_payout(request: Request, payout_id: str) -> Response:
    return await run_read(request, READ, lambda call: payout_of(call, payout_id))


@router.get(
    "/users/{user_id}/payout_limits",
    **documented(
        "Limits of payouts, and what is left of them",
        READ.scope,
        {200: PayoutLimits},
        [C.USER_NOT_FOUND, C.PAYEE_NOT_FOUND, C.CURRENCY_NOT_SUPPORTED],
        parameters=[
            query_parameter("payee_id", "A payee of the user: what its account may receive is shown as well."),
            query_parameter("currency", "CNY, if left out.", pattern="^[A-Z]{3}$"),
        ],
    ),
)
async def read_payout_limits(request: Request, user_id: str) -> Response:
    """For your own users only (A2.5e). Days and months are those of Asia/Shanghai."""

    async def read(call: Call) -> Mapping[str, Any]:
        currency, payee_id = call.query.get("currency", "CNY"), call.query.get("payee_id")
        await user_of(call, user_id)
        payee, route = await _payee_and_route(call, user_id, payee_id, currency)
        limits = await payout_limits(call, user_id, currency, payee, route)
        return {
            "object": "payout_limits",
            "user_id": user_id,
            "payee_id": payee_id,
            "currency": currency,
            "limits": limits,
        }

    return await run_read(request, READ, read)


async def _payee_and_route(
    call: Call, user_id: str, payee_id: str | None, currency: str
) -> tuple[StoredPayee | None, Route | None]:
    routes = call.services.policy.payout_routes
    payee = None if payee_id is None else await payee_of(call, payee_id)
    if payee is not None and payee.view["user_id"] != user_id:
        raise NotFoundError(C.PAYEE_NOT_FOUND)
    route = None if payee is None else routes.route_for(payee.view["region"], currency)
    is_paid = any(currency in each.currencies for each in routes.routes) if payee is None else route is not None
    if not is_paid:
        raise RefusedError(C.CURRENCY_NOT_SUPPORTED, field="currency")
    return payee, route


async def payout_of(call: Call, payout_id: str) -> Mapping[str, Any]:
    """The merchant's own payout. Raises NotFoundError for anybody else's too."""
    _check_shape(payout_id)
    found = await call.services.payouts.payout(call.merchant_id, payout_id)
    if found is None:
        raise NotFoundError(C.PAYOUT_NOT_FOUND)
    return found


def _plain(value: str | None) -> str | None:
    """A word to filter by; what nothing can be called finds nothing."""
    return "" if value is not None and (len(value) > 64 or not value.isprintable()) else value


def _check_shape(payout_id: str) -> None:
    if not is_identifier(payout_id, IdPrefix.PAYOUT):
        raise NotFoundError(C.PAYOUT_NOT_FOUND)
