"""Payments: show what would be paid, pay, enter the code (A2.1d, A3.4, A3.5a, A3.11)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api.calls import Call, Done, Operation, page_of, run_command, run_preview, run_read
from api.codes import CODE_REFUSALS, RESEND_REFUSALS, Judge, confirm_code, resend_code
from api.documentation import documented, query_parameter
from api.limits import limits_of, user_limits
from api.resources import PageOfPayments, Payment, PaymentPreview
from api.schemas import Code, NewPayment, OrderToPay, read_as
from api.users import check_beforehand, user_of
from domain.banking import BankAnswer, BankConnector, PaymentCodeVerification
from domain.conditions import order_values
from domain.confirmation import ConfirmedContent
from domain.errors import ConflictError, ErrorCode, NotFoundError, RefusedError
from domain.identifiers import IdPrefix, is_identifier
from domain.instructions import AcceptPayment, CodeAttempt
from domain.limits import windows_to_take
from domain.policy import Policy
from domain.waiver import waiver_cap_minor
from storage.reading import CardOfBinding
from workflows.starting import payment_order

router = APIRouter(prefix="/v1/payments", tags=["payments"])
C = ErrorCode

PREVIEW = Operation("preview_payment", "payments:write")
PAY = Operation("accept_payment", "payments:write", 201, IdPrefix.PAYMENT)
CONFIRM = Operation("confirm_payment", "payments:write", 200, IdPrefix.ATTEMPT, body_counts=False)
RESEND = Operation("resend_payment_code", "payments:write", 202, body_counts=False)
READ = Operation("read_payment", "payments:read")

_ORDER_REFUSALS = [
    C.USER_NOT_FOUND,
    C.BINDING_NOT_FOUND,
    C.CURRENCY_NOT_SUPPORTED,
    C.FEE_EXCEEDS_AMOUNT,
    C.LIMIT_PER_TRANSACTION,
    C.PARTNER_NOT_AVAILABLE,
]
# Because of who pays.
_USER_REFUSALS = [
    C.USER_NOT_ACTIVE,
    C.ACCOUNT_CLOSING,
    C.QUICK_PAY_CLOSING,
    C.FUNCTION_SUSPENDED,
    C.AUTHORITY_HOLD,
]


@dataclass(frozen=True)
class Terms:
    """What an order comes to: from memory, so that accepting a payment asks the database once."""

    card: CardOfBinding
    payee_name: str
    fee_minor: int
    fee_rule: str
    waiver_cap_minor: int
    confirmation_hash: str


async def terms_of(call: Call, order: OrderToPay) -> Terms:
    """Raises NotFoundError for a card that is not this user's, RefusedError for what cannot be collected."""
    services = call.services
    card = await services.reading.card_of_binding(call.merchant_id, order.user_id, order.binding_id)
    if card is None:
        await user_of(call, order.user_id)
        raise NotFoundError(C.BINDING_NOT_FOUND)
    if order.currency not in services.banks.currencies(card.bank_code):
        raise RefusedError(C.CURRENCY_NOT_SUPPORTED, field="currency")
    fees = services.policy.fees
    rule = fees.for_payee(order.payee_kind)
    payee_name = call.merchant_name if order.payee_kind == "merchant" else f"{call.merchant_name}·用户余额"
    fee_minor, fee_rule = rule.fee_minor(order.amount_minor), fees.reference(rule)
    content = ConfirmedContent(
        merchant_id=call.merchant_id,
        user_id=order.user_id,
        binding_id=order.binding_id,
        order_number=order.order_number,
        amount_minor=order.amount_minor,
        currency=order.currency,
        payee_kind=order.payee_kind,
        payee_name=payee_name,
        fee_minor=fee_minor,
        fee_rule=fee_rule,
    )
    issuer = services.banks.limits(card.bank_code)
    cap = waiver_cap_minor(issuer.per_transaction_minor, services.policy.waiver_law_limit_minor)
    return Terms(card, payee_name, fee_minor, fee_rule, cap, content.confirmation_hash())


@router.post(
    "/preview",
    **documented(
        "What the user is to confirm",
        PREVIEW.scope,
        {200: PaymentPreview},
        [C.REQUEST_INVALID, C.BODY_NOT_JSON, C.FORBIDDEN_CARD_DATA, *_ORDER_REFUSALS, *_USER_REFUSALS],
        body=OrderToPay,
    ),
)
async def preview_payment(request: Request) -> Response:
    """Changes nothing and needs no Idempotency-Key. `verification`: `code`, `waived`, or `notice` if the first-use
    notice has to be shown and recorded before the payment. Show an individual all `conditions` before the confirmation;
    what is charged is the fee that stands here, or the payment is refused with CONFIRMATION_CHANGED."""
    return await run_preview(request, PREVIEW, _preview)


async def _preview(call: Call, payload: dict[str, Any]) -> Mapping[str, Any]:
    order = read_as(OrderToPay, payload)
    terms = await terms_of(call, order)
    windows_to_take(limits_of(call, order.user_id, terms.card), order.amount_minor, call.now)
    await check_beforehand(call, "collect", order.user_id)
    verification = await call.services.reading.verification(
        call.merchant_id, order.user_id, order.amount_minor, terms.waiver_cap_minor
    )
    return {
        "object": "payment_preview",
        **order.model_dump(),
        "payee_name": terms.payee_name,
        "fee_minor": terms.fee_minor,
        "fee_rule": terms.fee_rule,
        "verification": verification,
        "limits": await user_limits(call, order.user_id, terms.card),
        "conditions": _conditions(call.services.policy, order, terms, verification),
        "confirmation_hash": terms.confirmation_hash,
    }


def _conditions(policy: Policy, order: OrderToPay, terms: Terms, verification: str) -> dict[str, object]:
    """What an individual has to be shown before confirming, in Chinese and English (A3.12, L13)."""
    values = order_values(
        order_number=order.order_number,
        amount_minor=order.amount_minor,
        currency=order.currency,
        payee_name=terms.payee_name,
        fee_minor=terms.fee_minor,
        rule=policy.fees.for_payee(order.payee_kind),
        expiry_seconds=(policy.order_expiry_minimum_seconds, policy.order_expiry_maximum_seconds),
    )
    return policy.conditions.shown(order.payee_kind, is_waived=verification != "code", values=values)


@router.post(
    "",
    **documented(
        "Pay",
        PAY.scope,
        {201: Payment},
        [
            *_ORDER_REFUSALS,
            *_USER_REFUSALS,
            C.MERCHANT_SUSPENDED,
            C.REGION_NOT_SERVED,
            C.AGREEMENT_REQUIRED,
            C.BINDING_NOT_OPEN,
            C.WAIVER_NOTICE_REQUIRED,
            C.CONFIRMATION_CHANGED,
            C.ORDER_EXPIRY_INVALID,
            C.ORDER_ALREADY_PAID,
            C.ORDER_IN_PROGRESS,
            C.LIMIT_PER_DAY,
            C.LIMIT_PER_MONTH,
        ],
        body=NewPayment,
        command=True,
    ),
)
async def pay(request: Request) -> Response:
    """Accepted or refused at once; what becomes of it shows in the resource."""
    return await run_command(request, PAY, _pay)


async def _pay(call: Call, payload: dict[str, Any]) -> Done:
    order = read_as(NewPayment, payload)
    terms = await terms_of(call, order)
    if terms.confirmation_hash != order.confirmation_hash:
        raise ConflictError(C.CONFIRMATION_CHANGED, field="confirmation_hash")
    _check_expiry(call, order)
    windows = windows_to_take(limits_of(call, order.user_id, terms.card), order.amount_minor, call.now)
    policy = call.services.policy
    command = AcceptPayment(
        request=call.context,
        now=call.now,
        id=call.resource_id,
        user_id=order.user_id,
        binding_id=order.binding_id,
        order_number=order.order_number,
        order_expires_at=order.order_expires_at,
        amount_minor=order.amount_minor,
        currency=order.currency,
        payee_kind=order.payee_kind,
        payee_name=terms.payee_name,
        fee_minor=terms.fee_minor,
        fee_rule=terms.fee_rule,
        confirmation_hash=terms.confirmation_hash,
        agreement_version=policy.agreement.version,
        blocked_regions=policy.blocked_regions,
        waiver_cap_minor=terms.waiver_cap_minor,
        limits=tuple(windows),
        origin=order.origin,
        mandate_reference=order.mandate_reference,
    )
    payment = await call.accept(call.services.instructions.accept_payment, command)
    # Should this not get through, the sweeper starts it under the same id.
    await call.services.processes.collect_payment(payment_order(payment, call.merchant_id))
    return Done(payment)


def _check_expiry(call: Call, order: NewPayment) -> None:
    policy = call.services.policy
    earliest = call.now + timedelta(seconds=policy.order_expiry_minimum_seconds)
    latest = call.now + timedelta(seconds=policy.order_expiry_maximum_seconds)
    if not earliest <= order.order_expires_at <= latest:
        raise RefusedError(C.ORDER_EXPIRY_INVALID, field="order_expires_at")


@router.get(
    "",
    **documented(
        "List payments",
        READ.scope,
        {200: PageOfPayments},
        paged=True,
        parameters=[query_parameter("order_number", "Only payments of this order.")],
    ),
)
async def list_payments(request: Request) -> Response:
    async def read(call: Call) -> Mapping[str, Any]:
        before, limit = call.page(lambda value: is_identifier(value, IdPrefix.PAYMENT))
        order_number = call.query.get("order_number")
        if order_number is not None and (len(order_number) > 64 or not order_number.isprintable()):
            order_number = ""  # no order has such a number
        found = await call.services.reading.payments(call.merchant_id, order_number, before, limit)
        return page_of(found, limit, lambda item: item["id"])

    return await run_read(request, READ, read)


@router.get("/{payment_id}", **documented("Read a payment", READ.scope, {200: Payment}, [C.PAYMENT_NOT_FOUND]))
async def read_payment(request: Request, payment_id: str) -> Response:
    return await run_read(request, READ, lambda call: payment_of(call, payment_id))


@router.post(
    "/{payment_id}/code",
    **documented(
        "Enter the code that the issuer texted",
        CONFIRM.scope,
        {200: Payment, 202: Payment},
        [C.PAYMENT_NOT_FOUND, *CODE_REFUSALS],
        body=Code,
        command=True,
    ),
)
async def confirm_payment(request: Request, payment_id: str) -> Response:
    """202 means that the bank has not said yet whether the code is right; read the payment again."""

    async def confirm(call: Call, payload: dict[str, Any]) -> Done:
        code = read_as(Code, payload).code
        payment = await payment_of(call, payment_id)

        async def ask(connector: BankConnector, attempt: CodeAttempt) -> BankAnswer:
            return await connector.verify_payment_code(
                PaymentCodeVerification(
                    request_number=attempt.request_number,
                    code_request_number=attempt.code_request_number,
                    code=code,
                )
            )

        async def read() -> Mapping[str, Any]:
            return await payment_of(call, payment_id)

        return await confirm_code(call, Judge("payment", payment, ask, read))

    return await run_command(request, CONFIRM, confirm)


@router.post(
    "/{payment_id}/code/resend",
    **documented(
        "Ask the issuer for another code",
        RESEND.scope,
        {202: Payment},
        [C.PAYMENT_NOT_FOUND, *RESEND_REFUSALS],
        command=True,
    ),
)
async def resend_payment_code(request: Request, payment_id: str) -> Response:
    async def resend(call: Call, _payload: dict[str, Any]) -> Done:
        await payment_of(call, payment_id)
        await resend_code(call, "payment", payment_id)
        return Done(await payment_of(call, payment_id))

    return await run_command(request, RESEND, resend)


async def payment_of(call: Call, payment_id: str) -> Mapping[str, Any]:
    """The merchant's own payment. Raises NotFoundError for anybody else's too."""
    found = None
    if is_identifier(payment_id, IdPrefix.PAYMENT):
        found = await call.services.reading.payment(call.merchant_id, payment_id)
    if found is None:
        raise NotFoundError(C.PAYMENT_NOT_FOUND)
    return found
