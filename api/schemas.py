"""Bodies that merchants send, and resources they get; every field of the first is checked, unknown ones are refused."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from api.strict_json import field_name
from domain.banking import FourElements
from domain.errors import ErrorCode, FieldError, ValidationRefusedError
from domain.identity import holds_id_number
from domain.instructions import Channel, ConsentKind, Origin, ReportKind
from domain.money import AmountMinor, Currency
from domain.signing import SigningAlgorithm

_INSTANT = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,6})?([Zz]|[+-]\d\d:\d\d)")


def _read_instant(value: object) -> datetime:
    if not isinstance(value, str) or _INSTANT.fullmatch(value) is None:
        raise ValueError("not an RFC 3339 instant")
    return datetime.fromisoformat(value.upper())


Instant = Annotated[
    datetime,
    BeforeValidator(_read_instant),
    WithJsonSchema({"type": "string", "format": "date-time", "description": "RFC 3339 with a zone."}),
]


def _read_reference(value: str) -> str:
    """References reach operators, records and Temporal in plain, so a valid ID number is no reference."""
    if holds_id_number(value):
        raise PydanticCustomError("personal_data", "holds personal data")
    return value


NoPersonalData = AfterValidator(_read_reference)
UserId = Annotated[str, Field(pattern=r"^usr_[0-9A-HJKMNP-TV-Z]{26}$")]
BindingId = Annotated[str, Field(pattern=r"^bnd_[0-9A-HJKMNP-TV-Z]{26}$")]
Reference = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9._:-]{1,64}$", description="An opaque reference of yours; never personal data."),
    NoPersonalData,
]
Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 in lower-case hex.")]


class Body(BaseModel):
    """Base of what comes in."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


class NewUser(Body):
    """A user of yours (A0.3, A1.1a). `type` and `merchant_user_ref` cannot be changed later."""

    merchant_user_ref: Reference = Field(examples=["customer-8812"])
    type: Literal["individual", "enterprise"] = Field(examples=["individual"])
    region: str = Field(pattern=r"^[A-Z]{2}$", description="ISO 3166-1 alpha-2.", examples=["CN"])


class NewConsent(Body):
    """An affirmative act of the user, a notice shown, or an objection, with its evidence."""

    kind: ConsentKind = Field(examples=["agreement"])
    version: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")] = Field(
        description="Of the agreement, the statement's text, or the waiver (GET /v1/waiver).", examples=["2026-01-01"]
    )
    content_hash: Hash | None = Field(default=None, description="Needed for `agreement`.")
    channel: Channel = Field(examples=["app"])
    acted_at: Instant = Field(examples=["2026-11-22T08:00:00Z"])
    evidence_ref: Annotated[str, Field(pattern=r"^[A-Za-z0-9._:/-]{1,128}$"), NoPersonalData] | None = Field(
        default=None, examples=["click-log:991"]
    )


class NewReport(Body):
    """What a user noticed: a payment that is not theirs, an instruction changed or leaked, a lost device."""

    kind: ReportKind = Field(examples=["not_me"])
    payment_id: Annotated[str, Field(pattern=r"^pay_[0-9A-HJKMNP-TV-Z]{26}$")] | None = Field(
        default=None, description="Which one, if it is about one."
    )
    discovered_at: Instant | None = Field(default=None, description="When the user noticed, if that is known.")
    channel: Channel = Field(examples=["app"])
    evidence_ref: Annotated[str, Field(pattern=r"^[A-Za-z0-9._:/-]{1,128}$"), NoPersonalData] | None = Field(
        default=None, examples=["chat:4711"]
    )


class NewBinding(Body):
    """The four elements and nothing else (A2.1a). For the document only: they are checked one by one."""

    name: str = Field(examples=["张三"])
    id_number: str = Field(examples=["11010119900307803X"])
    card_number: str = Field(examples=["9901010000000000018"])
    mobile: str = Field(examples=["13800138000"])


class Code(Body):
    """A one-time code. It is used once, from memory, and kept nowhere."""

    code: str = Field(pattern=r"^[0-9]{4,8}$", examples=["482913"], repr=False)


class OrderToPay(Body):
    """What the user is about to pay."""

    user_id: UserId = Field(examples=["usr_01KB5N3E4H6Q8Z2T7V9W0X1Y2R"])
    binding_id: BindingId = Field(examples=["bnd_01KB5N3E4H6Q8Z2T7V9W0X1Y2S"])
    order_number: Annotated[str, Field(pattern=r"^[A-Za-z0-9._:/#-]{1,64}$"), NoPersonalData] = Field(
        description="Yours; one order is paid once. No personal data.", examples=["order-20261122-0001"]
    )
    amount_minor: AmountMinor = Field(description="In minor units: 100 is 1.00 CNY.", examples=[12800])
    currency: Currency = Field(examples=["CNY"])
    payee_kind: Literal["merchant", "user"] = Field(
        description="You, or the user's own balance.", examples=["merchant"]
    )


class NewPayment(OrderToPay):
    """The order as the user confirmed it."""

    order_expires_at: Instant = Field(
        description="Until when it may be sent to the bank.", examples=["2026-11-22T09:00:00Z"]
    )
    confirmation_hash: Hash = Field(description="From the preview that the user was shown.")
    origin: Origin = Field(
        default="user_relayed",
        description="Who asks: the user through you, or you under a standing arrangement with the user (A3.2b).",
        examples=["user_relayed"],
    )
    mandate_reference: Reference | None = Field(
        default=None, description="Of that arrangement: needed with `standing_mandate`, refused without it."
    )

    @model_validator(mode="after")
    def _mandate_goes_with_its_origin(self) -> NewPayment:
        if (self.origin == "standing_mandate") != (self.mandate_reference is not None):
            raise PydanticCustomError("mandate", "mandate_reference goes with standing_mandate")
        return self


class NewRefund(Body):
    """Give back all or part of a payment."""

    amount_minor: AmountMinor = Field(examples=[12800])
    reason_code: Literal["requested_by_payer", "duplicate", "goods_not_delivered", "order_changed", "other"] = Field(
        examples=["requested_by_payer"]
    )


class NewWaiverApplication(Body):
    """Ask for payment without a code up to a limit of yours (A3.11a, A3.11c)."""

    limit_minor: AmountMinor = Field(examples=[10000])
    currency: Currency = Field(examples=["CNY"])


class NewSigningKey(Body):
    """A public key to sign instructions with."""

    public_key: str = Field(
        min_length=1,
        max_length=1024,
        description="PEM, or for Ed25519 its 32 bytes in base64. Never the private key.",
        examples=["JrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs="],
    )
    algorithm: Literal["ed25519", "ecdsa-p256-sha256"] = Field(examples=[SigningAlgorithm.ED25519.value])
    label: Annotated[str, Field(pattern=r"^[A-Za-z0-9 ._:-]{1,60}$"), NoPersonalData] = Field(
        description="What it is for.", examples=["2026 signing server"]
    )
    not_before: Instant | None = Field(default=None, description="From when on it may sign; now, if left out.")


AnyBody = TypeVar("AnyBody", bound=Body)


def read_as(model: type[AnyBody], payload: Mapping[str, Any]) -> AnyBody:
    """The body as a value. Raises ValidationRefusedError that names each wrong field, never a value."""
    try:
        return model.model_validate(payload)
    except ValidationError as error:
        faults = [
            FieldError(field_name(*item["loc"] or _WHOLE.get(item["type"], ())), _FAULTS.get(item["type"], "invalid"))
            for item in error.errors(include_input=False, include_url=False, include_context=False)
        ]
        raise ValidationRefusedError(ErrorCode.REQUEST_INVALID, fields=faults[:20]) from None


_FAULTS = {
    "missing": "missing",
    "extra_forbidden": "unknown_field",
    "int_type": "not_an_integer",
    "int_from_float": "not_an_integer",
    "string_type": "not_a_string",
    "literal_error": "not_one_of_the_values",
    "greater_than": "out_of_range",
    "less_than_equal": "out_of_range",
    "string_pattern_mismatch": "wrong_format",
    "value_error": "wrong_format",
    "personal_data": "personal_data",
    "mandate": "goes_with_standing_mandate",
}
# Which field is to blame for a fault of several together.
_WHOLE = {"mandate": ("mandate_reference",)}
ELEMENTS = tuple(FourElements.model_fields)


class Resource(BaseModel):
    """Base of what goes out; new fields may be added at any time."""


class WaitingFor(Resource):
    """What a resource that is not final waits for."""

    reason: str = Field(examples=["payer_code"])
    since: str
    until: str | None
    deadline: str | None


class User(Resource):
    id: str
    object: Literal["user"]
    merchant_user_ref: str
    type: str
    region: str
    state: str
    created_at: str


class Consent(Resource):
    object: Literal["consent"]
    user_id: str
    kind: str
    version: str
    acted_at: str
    recorded_at: str
    case_id: str | None


class Report(Resource):
    id: str = Field(description="The case that it opened.")
    object: Literal["report"]
    user_id: str
    kind: str
    payment_id: str | None
    channel: str
    discovered_at: str | None
    received_at: str = Field(description="When it arrived here; liability turns on it (A3.9b).")
    parties: list[str] = Field(description="Who is to be told: issuers, merchant, institution.")
    suspended: list[str]


class Binding(Resource):
    id: str
    object: Literal["binding"]
    user_id: str
    bank_code: str
    card_last4: str
    card_type: str
    state: str
    reason: str | None
    state_since: str
    accepted_at: str
    code_expires_at: str | None
    waiting_for: WaitingFor | None


class LimitLeft(Resource):
    subject: Literal["user", "card"]
    window: Literal["transaction", "day", "month"]
    limit_minor: int
    remaining_minor: int
    window_start: str | None


class Limits(Resource):
    object: Literal["limits"]
    user_id: str
    currency: str
    limits: list[LimitLeft]


class Text(Resource):
    zh: str
    en: str


class Conditions(Resource):
    """Everything that an individual has to be shown before confirming (A3.12)."""

    product: str = Field(examples=["quick_pay_to_merchant"])
    version: str
    quantity: Text
    fee: Text
    term: Text
    method: Text
    cautions: Text
    risk: Text
    dispute: Text


class PaymentPreview(Resource):
    object: Literal["payment_preview"]
    user_id: str
    binding_id: str
    order_number: str
    amount_minor: int
    currency: str
    payee_kind: str
    payee_name: str
    fee_minor: int
    fee_rule: str
    verification: Literal["code", "waived", "notice"]
    limits: list[LimitLeft]
    conditions: Conditions
    confirmation_hash: str


class Payment(Resource):
    id: str
    object: Literal["payment"]
    user_id: str
    binding_id: str
    bank_code: str
    order_number: str
    amount_minor: int
    currency: str
    payee_kind: str
    payee_name: str
    fee_minor: int
    fee_rule: str
    confirmation_hash: str
    agreement_version: str
    origin: str
    mandate_reference: str | None
    verification: str
    state: str
    reason: str | None
    state_since: str
    accepted_at: str
    order_expires_at: str
    code_expires_at: str | None
    bank_reference: str | None
    booked_at: str | None
    corrected_at: str | None
    report_path: str = Field(description="Where to report that it was not the user's (A3.5b).")
    refunded_minor: int
    refunding_minor: int
    refundable_minor: int
    waiting_for: WaitingFor | None


class Refund(Resource):
    id: str
    object: Literal["refund"]
    payment_id: str
    bank_code: str
    amount_minor: int
    fee_back_minor: int
    currency: str
    reason_code: str
    state: str
    reason: str | None
    state_since: str
    accepted_at: str
    bank_reference: str | None
    booked_at: str | None
    report_path: str = Field(description="Where to report that it was not the user's (A3.5b).")
    waiting_for: WaitingFor | None


class AgreementInForce(Resource):
    object: Literal["agreement"]
    version: str
    content_hash: str
    in_force_from: str
    text: str


class AccountBalance(Resource):
    account: str
    currency: str
    posted_minor: int
    held_minor: int
    available_minor: int


class Balances(Resource):
    object: Literal["balances"]
    balances: list[AccountBalance]


class Movement(Resource):
    version: int
    kind: str
    change_minor: int
    posted_after_minor: int
    booked_at: str
    recorded_at: str
    instruction_id: str
    reference: str | None


class WaiverApplication(Resource):
    id: str
    object: Literal["waiver_application"]
    limit_minor: int
    currency: str
    state: str
    applied_at: str
    decided_at: str | None
    waiting_for: WaitingFor | None


class Waiver(Resource):
    object: Literal["waiver"]
    enabled: bool
    version: str | None
    limit_minor: int | None
    currency: str | None
    law_limit_minor: int
    application: WaiverApplication | None


class PageOfMovements(Resource):
    object: Literal["list"]
    items: list[Movement]
    next_cursor: str | None


class PageOfBindings(Resource):
    object: Literal["list"]
    items: list[Binding]
    next_cursor: str | None


class PageOfPayments(Resource):
    object: Literal["list"]
    items: list[Payment]
    next_cursor: str | None


class PageOfRefunds(Resource):
    object: Literal["list"]
    items: list[Refund]
    next_cursor: str | None


class SigningKeyResource(Resource):
    id: str
    object: Literal["signing_key"]
    algorithm: str
    label: str
    fingerprint: str = Field(description="SHA-256 of the key's SubjectPublicKeyInfo, hex.")
    registered_by: str
    created_at: str
    not_before: str
    revoked_at: str | None


class ListOfSigningKeys(Resource):
    object: Literal["list"]
    items: list[SigningKeyResource]
    next_cursor: str | None


class FaultyField(Resource):
    field: str
    code: str


class Problem(Resource):
    """RFC 9457. Decide by `code`, which never changes its meaning."""

    type: str
    title: str
    title_zh: str
    status: int
    code: str
    detail: str
    action: str
    action_zh: str
    errors: list[FaultyField]
    subject_id: str | None
    request_id: str
    attempts_left: int | None = Field(default=None, description="Of a code that was wrong.")
