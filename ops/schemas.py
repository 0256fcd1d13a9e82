"""Bodies that operators send, and resources they get; unknown fields are refused."""

from __future__ import annotations

import re
import unicodedata
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from api.schemas import Body, Instant
from domain.identity import holds_id_number
from ops.credentials import LONGEST_PASSWORD

Login = Annotated[str, Field(pattern=r"^[a-z][a-z0-9._-]{1,39}$", examples=["rui"])]
PersonName = Annotated[str, Field(min_length=1, max_length=60, pattern=r"^[^\s\x00-\x1f](.*[^\s])?$")]
RoleNames = Annotated[list[str], Field(min_length=1, max_length=8)]
# What is typed at a login is judged, not described: a wrong form is a wrong login.
Typed = Annotated[str, Field(max_length=LONGEST_PASSWORD)]


def _no_personal_data(value: str) -> str:
    if holds_id_number(value):
        raise PydanticCustomError("personal_data", "holds personal data")
    return value


OperatorName = Annotated[PersonName, AfterValidator(_no_personal_data)]


class LoginAttempt(Body):
    """Login, password and the code that the authenticator shows."""

    login: Typed = Field(examples=["rui"])
    password: Typed = Field(repr=False, examples=["correct horse battery"])
    totp: Typed = Field(repr=False, examples=["492039"])


class ChangedPassword(Body):
    """The password now, and the one to come."""

    password: Typed = Field(repr=False, examples=["correct horse battery"])
    new_password: Annotated[str, Field(max_length=LONGEST_PASSWORD * 2)] = Field(
        repr=False, examples=["staple battery correct horse"]
    )


class Enrolment(Body):
    """The token from an administrator, and a password of one's own."""

    token: Annotated[str, Field(max_length=120)] = Field(repr=False, examples=["lse_01KB5N3E4H6Q8Z2T7V9W0X1Y2R_…"])
    password: Annotated[str, Field(max_length=LONGEST_PASSWORD * 2)] = Field(
        repr=False, examples=["correct horse battery"]
    )


class NewOperator(Body):
    """Somebody to be invited."""

    login: Login
    name: OperatorName = Field(examples=["瑞"])
    roles: RoleNames = Field(examples=[["risk"]])


class ChangedRoles(Body):
    """All roles that the person is to have from now on."""

    roles: RoleNames = Field(examples=[["risk", "support"]])


class Training(Body):
    """Until when the privacy training counts (P3.1c)."""

    trained_until: Instant = Field(examples=["2027-11-22T00:00:00Z"])


class OpsResource(BaseModel):
    """Base of what goes out, for the document."""

    model_config = ConfigDict(extra="allow")


class Operator(OpsResource):
    id: str
    object: Literal["operator"]
    login: str
    name: str
    roles: list[str]
    state: Literal["invited", "active", "suspended", "left"]
    credentials_expire_at: str | None
    trained_until: str | None
    enrolled_at: str
    enrolled_by: str


class Invitation(Operator):
    """The token is shown this once; the person sets password and second factor with it."""

    enrolment_token: str
    enrolment_expires_at: str


class Session(OpsResource):
    object: Literal["session"]
    token: str = Field(description="Shown this once.")
    expires_at: str
    operator: Operator


class Me(OpsResource):
    object: Literal["me"]
    operator_id: str
    login: str
    name: str
    roles: list[str]
    permissions: list[str]
    credentials_expire_at: str
    trained_until: str | None


class SecondFactor(OpsResource):
    object: Literal["second_factor"]
    login: str
    totp_secret: str = Field(description="Base32, shown this once.")
    otpauth_uri: str


class Ended(OpsResource):
    object: Literal["session_end"]


LONGEST_REASON = 500
_LONG_NUMBER = re.compile(r"\d(?:[ -]?\d){10}")


def holds_personal_number(text: str) -> bool:
    """Whether a free text holds what has the shape of an ID, card or mobile number, also in full-width digits."""
    plain = unicodedata.normalize("NFKC", text)
    return holds_id_number(plain) or _LONG_NUMBER.search(plain) is not None


UserId = Annotated[str, Field(pattern=r"^usr_[0-9A-HJKMNP-TV-Z]{26}$")]
ReasonText = Annotated[str, Field(min_length=4, max_length=LONGEST_REASON, pattern=r"^[^\x00-\x1f\x7f]+$")]


class Reveal(Body):
    """Which personal data of a user, and why (A4.2b): the reason stands in the record beside the person."""

    fields: Annotated[
        list[Literal["name", "id_number", "card_number", "mobile"]], Field(min_length=1, max_length=4)
    ] = Field(examples=[["mobile"]])
    binding_id: Annotated[str, Field(pattern=r"^bnd_[0-9A-HJKMNP-TV-Z]{26}$")] | None = Field(
        default=None, description="The newest, if left out."
    )
    reason_code: Literal["support_case", "fraud_investigation", "user_request"] = Field(examples=["support_case"])
    reason_text: ReasonText = Field(examples=["The payer calls about a debit that was not recognised"])
    case_id: Annotated[str, Field(pattern=r"^case_[0-9A-Z]{20,40}$")] | None = None


class NewCase(Body):
    """Something that a person should look at."""

    subject_id: Annotated[str, Field(pattern=r"^(pay|rfd|bnd|po|usr|mch)_[0-9A-HJKMNP-TV-Z]{26}$")] = Field(
        description="A payment, refund, binding, payout, user or merchant.", examples=["pay_01KB5N3E4H6Q8Z2T7V9W0X1Y2R"]
    )
    reason_text: ReasonText = Field(examples=["The payer says that the order was paid twice"])


class NewMerchant(Body):
    """Who may offer the service to its users (A0.3)."""

    name: Annotated[str, Field(min_length=1, max_length=60)] = Field(examples=["海棠书店"])
    contract_until: Instant = Field(examples=["2027-11-22T00:00:00Z"])


class NewKey(Body):
    """An API key of a merchant."""

    scopes: Annotated[list[str], Field(min_length=1, max_length=40)] = Field(examples=[["payments:read"]])
    label: Annotated[str, Field(max_length=60, pattern=r"^[^\x00-\x1f\x7f]*$")] = ""
    expires_at: Instant | None = None


class Decode(Body):
    """What the codec server is about to show (P3.1b): how many payloads, and of which processes."""

    namespace: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")] = Field(examples=["default"])
    payloads: Annotated[int, Field(ge=1, le=2000)] = Field(examples=[12])
    subjects: Annotated[
        list[Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_/|.-]{0,79}$")]], Field(max_length=50)
    ] = Field(default=[])
    reason: ReasonText | None = None


class Listed(OpsResource):
    object: Literal["list"]
    items: list[dict[str, Any]]
    next_cursor: str | None


class Instruction(OpsResource):
    id: str
    object: Literal["payment", "refund", "binding", "payout", "fx", "inbound", "inbound_return", "receiving_account"]
    merchant_id: str | None = Field(description="Null of a remittance that nobody knows the owner of, and its return.")
    state: str
    reason: str | None
    waiting_for: dict[str, Any] | None
    raw_code: str | None = Field(description="The bank's own code.")
    effects: list[dict[str, Any]] = Field(description="What left for the bank, and what it answered.")
    code_attempts: list[dict[str, Any]]
    events: list[dict[str, Any]]
    signatures: list[dict[str, Any]]
    decisions: list[dict[str, Any]]
    records: list[dict[str, Any]]
    process: dict[str, str]
    payee: dict[str, Any] | None = Field(default=None, description="Of a payout: whom, masked.")
    risk_decisions: list[dict[str, Any]] | None = Field(
        default=None,
        description="Of a payout, for who may see reviews: what the rules said, in words with its numbers.",
    )
    screening_matches: list[dict[str, Any]] | None = None
    reviews: list[dict[str, Any]] | None = None


class Question(OpsResource):
    object: Literal["bank_question"]
    instruction_id: str
    how: Literal["told", "revived", "correcting"]


class BankRecord(OpsResource):
    object: Literal["bank_record"]
    instruction_id: str
    request_number: str
    bank_code: str
    outcome: str = Field(description="The bank's answer to the number, now.")
    raw_code: str | None
    bank_reference: str | None
    booked_at: str | None
    amount_minor: int | None
    lines: list[dict[str, Any]] = Field(description="Of its statements; what left the institution is below zero.")
    unread: list[str] = Field(description="Days whose statement could not be had.")
    agrees: bool | None = Field(description="Whether what it booked is our amount; null if it booked nothing.")


class MaskedUser(OpsResource):
    id: str
    object: Literal["user"]
    merchant_id: str
    bindings: list[dict[str, Any]]


class PersonalData(OpsResource):
    object: Literal["personal_data"]
    user_id: str
    binding_id: str
    values: dict[str, str]


class Case(OpsResource):
    id: str
    object: Literal["case"]


class Merchant(OpsResource):
    id: str
    object: Literal["merchant"]
    name: str


class IssuedKey(OpsResource):
    id: str
    object: Literal["api_key"]
    key: str = Field(description="Shown this once.")


class RevokedKey(OpsResource):
    id: str
    object: Literal["api_key"]


class Decoded(OpsResource):
    object: Literal["decode"]
