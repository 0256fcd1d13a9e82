"""Bank cards of a user: apply to bind, enter the code, list, unbind (A2.1)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api.calls import Call, Done, Operation, page_of, run_command, run_read
from api.codes import CODE_REFUSALS, RESEND_REFUSALS, Judge, confirm_code, resend_code
from api.documentation import documented
from api.resources import Binding, PageOfBindings
from api.schemas import ELEMENTS, Code, NewBinding, read_as
from api.strict_json import field_name
from api.users import user_of
from domain.banking import BankAnswer, BankConnector, FourElements, SignConfirmation
from domain.business_time import business_date
from domain.errors import ErrorCode, FieldError, NotFoundError, RefusedError, ValidationRefusedError
from domain.identifiers import IdPrefix, is_identifier
from domain.identity import Capacity, ElementFault, birth_date, capacity_on, check_elements
from domain.instructions import AcceptBinding, AcceptUnbinding, CodeAttempt
from domain.personal_data import PersonalField
from vault.indexing import IndexKind
from workflows.messages import BindingOrder
from workflows.starting import binding_order

router = APIRouter(prefix="/v1/users/{user_id}/bindings", tags=["bindings"])
C = ErrorCode

APPLY = Operation("accept_binding", "bindings:write", 202, IdPrefix.BINDING)
CONFIRM = Operation("confirm_binding", "bindings:write", 200, IdPrefix.ATTEMPT, body_counts=False)
RESEND = Operation("resend_binding_code", "bindings:write", 202, body_counts=False)
UNBIND = Operation("accept_unbinding", "bindings:write", 202)
READ = Operation("read_binding", "bindings:read")

_NOT_THERE = [C.USER_NOT_FOUND, C.BINDING_NOT_FOUND]


@router.post(
    "",
    **documented(
        "Apply to bind a card",
        APPLY.scope,
        {202: Binding},
        [
            C.USER_NOT_FOUND,
            C.USER_NOT_ACTIVE,
            C.ACCOUNT_CLOSING,
            C.QUICK_PAY_CLOSING,
            C.FUNCTION_SUSPENDED,
            C.AUTHORITY_HOLD,
            C.MERCHANT_SUSPENDED,
            C.REGION_NOT_SERVED,
            C.AGREEMENT_REQUIRED,
            C.QUICKPAY_DATA_INCOMPLETE,
            C.QUICKPAY_DATA_INVALID,
            C.UNDER_AGE,
            C.CAPACITY_STATEMENT_REQUIRED,
            C.PERSON_DIFFERS,
            C.CARD_PREFIX_UNKNOWN,
            C.PARTNER_NOT_AVAILABLE,
            C.BINDING_EXISTS,
            C.BINDING_IN_PROGRESS,
        ],
        body=NewBinding,
        command=True,
    ),
)
async def apply_to_bind(request: Request, user_id: str) -> Response:
    return await run_command(request, APPLY, lambda call, payload: _apply(call, user_id, payload))


async def _apply(call: Call, user_id: str, payload: dict[str, Any]) -> Done:
    services = call.services
    elements = _checked(payload, call)
    issuer = services.banks.issuer(elements.card_number)
    if issuer is None:
        raise RefusedError(C.CARD_PREFIX_UNKNOWN, field="card_number")
    await user_of(call, user_id)
    services.banks.connector(issuer.bank_code)
    command = await _sealed_command(call, user_id, elements, issuer.bank_code, issuer.card_type)
    binding = await call.accept(services.instructions.accept_binding, command)
    await services.processes.bind_card(_order(call, binding))
    return Done(binding)


async def _sealed_command(
    call: Call, user_id: str, elements: FourElements, bank_code: str, card_type: Any
) -> AcceptBinding:
    vault = call.services.vault
    await vault.ensure_user_key(user_id)
    values = {PersonalField(name): getattr(elements, name) for name in ELEMENTS}
    items = await vault.seal(user_id, values)
    capacity = capacity_on(birth_date(elements.id_number), business_date(call.now))
    return AcceptBinding(
        request=call.context,
        now=call.now,
        id=call.resource_id,
        user_id=user_id,
        bank_code=bank_code,
        card_index=vault.blind_index(IndexKind.USER_CARD, elements.card_number, user_id=user_id),
        card_last4=elements.card_number[-4:],
        card_type=card_type,
        person_index=vault.blind_index(IndexKind.PERSON, elements.id_number),
        age_class="minor_16_17" if capacity is Capacity.NEEDS_STATEMENT else "adult",
        sealed=tuple(item.model_dump(mode="json") for item in items),
        element_tokens={item.field.value: item.token for item in items},
        blocked_regions=call.services.policy.blocked_regions,
    )


def _checked(payload: dict[str, Any], call: Call) -> FourElements:
    """Exactly the four elements, corrected where that changes nothing. Raises with each wrong field by name."""
    unknown = [FieldError(field_name(name), "unknown_field") for name in payload if name not in ELEMENTS]
    if unknown:
        raise ValidationRefusedError(C.REQUEST_INVALID, fields=unknown[:20])
    missing = [FieldError(name, "missing") for name in ELEMENTS if payload.get(name) in (None, "")]
    if missing:
        raise ValidationRefusedError(C.QUICKPAY_DATA_INCOMPLETE, fields=missing)
    wrong = [FieldError(name, "not_a_string") for name in ELEMENTS if not isinstance(payload[name], str)]
    if wrong:
        raise ValidationRefusedError(C.QUICKPAY_DATA_INVALID, fields=wrong)
    # Whether a statement of capacity is on record is decided with the rest, in the database.
    checked = check_elements(FourElements(**payload), business_date(call.now), capacity_stated=True)
    if any(fault.code == ElementFault.UNDER_AGE for fault in checked.faults):
        raise RefusedError(C.UNDER_AGE, fields=checked.faults)
    if any(fault.code == ElementFault.MISSING for fault in checked.faults):
        raise ValidationRefusedError(C.QUICKPAY_DATA_INCOMPLETE, fields=checked.faults)
    if checked.faults:
        raise ValidationRefusedError(C.QUICKPAY_DATA_INVALID, fields=checked.faults)
    return checked.elements


@router.get("", **documented("List a user's cards", READ.scope, {200: PageOfBindings}, [C.USER_NOT_FOUND], paged=True))
async def list_bindings(request: Request, user_id: str) -> Response:
    async def read(call: Call) -> Mapping[str, Any]:
        before, limit = call.page(lambda value: is_identifier(value, IdPrefix.BINDING))
        await user_of(call, user_id)
        found = await call.services.reading.bindings(call.merchant_id, user_id, before, limit)
        return page_of(found, limit, lambda item: item["id"])

    return await run_read(request, READ, read)


@router.get("/{binding_id}", **documented("Read a card's binding", READ.scope, {200: Binding}, _NOT_THERE))
async def read_binding(request: Request, user_id: str, binding_id: str) -> Response:
    return await run_read(request, READ, lambda call: _binding_of(call, user_id, binding_id))


@router.post(
    "/{binding_id}/code",
    **documented(
        "Enter the code that the issuer texted",
        CONFIRM.scope,
        {200: Binding, 202: Binding},
        [*_NOT_THERE, *CODE_REFUSALS],
        body=Code,
        command=True,
    ),
)
async def confirm_binding(request: Request, user_id: str, binding_id: str) -> Response:
    async def confirm(call: Call, payload: dict[str, Any]) -> Done:
        code = read_as(Code, payload).code
        binding = await _binding_of(call, user_id, binding_id)

        async def ask(connector: BankConnector, attempt: CodeAttempt) -> BankAnswer:
            return await connector.confirm_sign(
                SignConfirmation(
                    request_number=attempt.request_number,
                    application_request_number=attempt.code_request_number,
                    code=code,
                )
            )

        async def read() -> Mapping[str, Any]:
            return await _binding_of(call, user_id, binding_id)

        return await confirm_code(call, Judge("binding", binding, ask, read))

    return await run_command(request, CONFIRM, confirm)


@router.post(
    "/{binding_id}/code/resend",
    **documented(
        "Ask the issuer for another code",
        RESEND.scope,
        {202: Binding},
        [*_NOT_THERE, *RESEND_REFUSALS],
        command=True,
    ),
)
async def resend_binding_code(request: Request, user_id: str, binding_id: str) -> Response:
    async def resend(call: Call, _payload: dict[str, Any]) -> Done:
        await _binding_of(call, user_id, binding_id)
        await resend_code(call, "binding", binding_id)
        return Done(await _binding_of(call, user_id, binding_id))

    return await run_command(request, RESEND, resend)


@router.delete(
    "/{binding_id}",
    **documented(
        "Unbind a card",
        UNBIND.scope,
        {202: Binding},
        [C.BINDING_NOT_FOUND, C.BINDING_NOT_OPEN, C.BINDING_HAS_PENDING_PAYMENTS],
        command=True,
    ),
)
async def unbind(request: Request, user_id: str, binding_id: str) -> Response:
    return await run_command(request, UNBIND, lambda call, _: _unbind(call, user_id, binding_id))


async def _unbind(call: Call, user_id: str, binding_id: str) -> Done:
    _check_shape(user_id, binding_id)
    services = call.services
    command = AcceptUnbinding(request=call.context, now=call.now, id=binding_id, user_id=user_id)
    binding = await call.accept(services.instructions.accept_unbinding, command)
    if binding["state"] == "unbinding":
        await services.processes.unbind_card(_order(call, binding))
    return Done(binding)


async def _binding_of(call: Call, user_id: str, binding_id: str) -> Mapping[str, Any]:
    _check_shape(user_id, binding_id)
    binding = await call.services.reading.binding(call.merchant_id, user_id, binding_id)
    if binding is None:
        await user_of(call, user_id)
        raise NotFoundError(C.BINDING_NOT_FOUND)
    return binding


def _check_shape(user_id: str, binding_id: str) -> None:
    if not is_identifier(user_id, IdPrefix.USER) or not is_identifier(binding_id, IdPrefix.BINDING):
        raise NotFoundError(C.BINDING_NOT_FOUND)


def _order(call: Call, binding: Mapping[str, Any]) -> BindingOrder:
    patience = timedelta(seconds=call.services.policy.codes.binding_deadline_seconds)
    return binding_order(binding, call.merchant_id, call.now + patience)
