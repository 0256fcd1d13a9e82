"""Bodies that operators send, and resources they get; unknown fields are refused."""

from __future__ import annotations

from typing import Annotated, Literal

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
