"""Bodies that merchants send; every field is checked, unknown ones are refused."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal, Self, TypeVar

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
from domain.payees import HolderType, Relation
from domain.reviews import EvidenceKind
from domain.routes import BankIdKind, Speed
from domain.signing import SigningAlgorithm

_INSTANT = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,6})?([Zz]|[+-]\d\d:\d\d)")


def _read_instant(value: object) -> datetime:
    if not isinstance(value, str) or _INSTANT.fullmatch(value) is None:
        raise ValueError("not an RFC 3339 instant")
    try:
        # In UTC from here on: PostgreSQL takes no offset of 16 hours or more, which a sender may name all the same.
        return datetime.fromisoformat(value.upper()).astimezone(UTC)
    except OverflowError:
        raise ValueError("outside of the calendar") from None


Instant = Annotated[
    datetime,
    BeforeValidator(_read_instant),
    WithJsonSchema({"type": "string", "format": "date-time", "description": "RFC 3339 with a zone."}),
]


def _read_day(value: object) -> date:
    if not isinstance(value, str) or re.fullmatch(r"\d{4}-\d\d-\d\d", value) is None:
        raise ValueError("not a day")
    return date.fromisoformat(value)


Day = Annotated[
    date, BeforeValidator(_read_day), WithJsonSchema({"type": "string", "format": "date", "description": "YYYY-MM-DD."})
]


def _read_reference(value: str) -> str:
    """References reach operators, records and Temporal in plain, so a valid ID number is no reference."""
    if holds_id_number(value):
        raise PydanticCustomError("personal_data", "holds personal data")
    return value


NoPersonalData = AfterValidator(_read_reference)
UserId = Annotated[str, Field(pattern=r"^usr_[0-9A-HJKMNP-TV-Z]{26}$")]
BindingId = Annotated[str, Field(pattern=r"^bnd_[0-9A-HJKMNP-TV-Z]{26}$")]
PayeeId = Annotated[str, Field(pattern=r"^pye_[0-9A-HJKMNP-TV-Z]{26}$")]
EvidenceRef = Annotated[str, Field(pattern=r"^[A-Za-z0-9._:/-]{1,128}$"), NoPersonalData]
OrderNumber = Annotated[str, Field(pattern=r"^[A-Za-z0-9._:/#-]{1,64}$"), NoPersonalData]
Reference = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9._:-]{1,64}$", description="An opaque reference of yours; never personal data."),
    NoPersonalData,
]
Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 in lower-case hex.")]


class Part(BaseModel):
    """Base of what stands in a body."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


class Body(Part):
    """Base of what comes in."""


class NewUser(Body):
    """A user of yours (A0.3, A1.1a). `type` and `merchant_user_ref` cannot be changed later."""

    merchant_user_ref: Reference = Field(examples=["customer-8812"])
    type: Literal["individual", "enterprise"] = Field(examples=["individual"])
    region: str = Field(pattern=r"^[A-Z]{2}$", description="ISO 3166-1 alpha-2.", examples=["CN"])


class NewConsent(Body):
    """An affirmative act of the user, a notice shown, or an objection, with its evidence."""

    kind: ConsentKind = Field(examples=["agreement"])
    version: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")] = Field(
        description="Of the agreement, the statement's text, the waiver (GET /v1/waiver), the text about data abroad"
        " (GET /v1/data_export) or your text about keeping data longer.",
        examples=["2026-01-01"],
    )
    content_hash: Hash | None = Field(default=None, description="Needed for `agreement` and `data_export`.")
    channel: Channel = Field(examples=["app"])
    acted_at: Instant = Field(examples=["2026-11-22T08:00:00Z"])
    evidence_ref: Annotated[str, Field(pattern=r"^[A-Za-z0-9._:/-]{1,128}$"), NoPersonalData] | None = Field(
        default=None, examples=["click-log:991"]
    )
    until_on: Day | None = Field(
        default=None,
        description="Of `longer_retention`, and needed there: through which day the user lets data be kept longer than "
        "they have to be; at most 30 years ahead.",
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
    order_number: OrderNumber = Field(
        description="Yours; one order is paid once. No personal data.", examples=["order-20261122-0001"]
    )
    amount_minor: AmountMinor = Field(description="In minor units: 100 is 1.00 CNY.", examples=[12800])
    currency: Currency = Field(examples=["CNY"])
    payee_kind: Literal["merchant", "user"] = Field(
        description="You, or the user's own balance.", examples=["merchant"]
    )


class _Confirmed(Part):
    """What turns an order into an instruction: the user's yes, and who relays it."""

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
    def _mandate_goes_with_its_origin(self) -> Self:
        if (self.origin == "standing_mandate") != (self.mandate_reference is not None):
            raise PydanticCustomError("mandate", "mandate_reference goes with standing_mandate")
        return self


class NewPayment(OrderToPay, _Confirmed):
    """The order as the user confirmed it."""

    order_expires_at: Instant = Field(
        description="Until when it may be sent to the bank.", examples=["2026-11-22T09:00:00Z"]
    )


class BankId(Part):
    """How a place names its banks: 12 digits of CNAPS, a BIC, 3 digits in Hong Kong, 7 in Taiwan."""

    kind: BankIdKind = Field(examples=["cnaps"])
    value: Annotated[str, Field(max_length=40)] = Field(examples=["102100099996"])


class NewAccount(Body):
    """A bank account to be paid to. For the document only: name and number are checked one by one."""

    holder_type: HolderType = Field(examples=["individual"])
    region: Annotated[str, Field(pattern=r"^[A-Z]{2}$")] = Field(
        description="Where the account is: CN, HK, MO or TW.", examples=["CN"]
    )
    bank_id: BankId = Field(examples=[{"kind": "cnaps", "value": "102100099996"}])
    name: str = Field(description="As the bank has it.", examples=["张三"], repr=False)
    account_number: str = Field(examples=["6222020200112233445"], repr=False)


class NewPayee(NewAccount):
    """A bank account that a user names (A2.5a)."""

    relation: Relation = Field(description="The user's own account, or somebody else's.", examples=["own"])


class PayoutToMake(Body):
    """What the user is about to pay out."""

    user_id: UserId = Field(examples=["usr_01KB5N3E4H6Q8Z2T7V9W0X1Y2R"])
    payee_id: PayeeId = Field(examples=["pye_01KB5N3E4H6Q8Z2T7V9W0X1Y2S"])
    order_number: OrderNumber = Field(
        description="Yours; one order is paid out once. No personal data.", examples=["payout-20261122-0001"]
    )
    amount_minor: AmountMinor = Field(
        description="What the payee gets, in minor units: 100 is 1.00 CNY. The fee comes on top.", examples=[50000]
    )
    currency: Currency = Field(examples=["CNY"])
    speed: Speed = Field(examples=["real_time"])


class NewPayout(PayoutToMake, _Confirmed):
    """The payout as the user confirmed it."""


class PayoutConfirmation(Body):
    """The user's second yes, to exactly what was shown."""

    confirmation_hash: Hash = Field(description="Of the payout.")


class EvidenceItem(Part):
    """One thing that you keep and name; never the thing itself."""

    kind: EvidenceKind = Field(examples=["order_details"], strict=False)
    reference: Annotated[str, Field(pattern=r"^[A-Za-z0-9._:/-]{1,128}$"), NoPersonalData] = Field(
        examples=["file:2026/11/22/0007"]
    )


class NewEvidence(Body):
    """What a reviewer asked you to show about a payout."""

    evidence: Annotated[list[EvidenceItem], Field(min_length=1, max_length=10)] = Field(
        examples=[[{"kind": "order_details", "reference": "file:2026/11/22/0007"}]]
    )


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
    "reason_of_kept": "goes_with_kept",
}
# Which field is to blame for a fault of several together.
_WHOLE = {"mandate": ("mandate_reference",), "reason_of_kept": ("reason",)}
ELEMENTS = tuple(FourElements.model_fields)
