"""What operators record about closings, deletions and disputes, and how they are shown."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from api.schemas import Body, Instant, UserId
from domain.closing import ClosureScope, ClosureState, DeletionGround, DisputeReason, DisputeState
from domain.decisions import Reference
from domain.errors import ErrorCode, FieldError, ValidationRefusedError
from domain.personal_data import PersonalField
from ops.schemas import OpsResource

_Scope = Literal["account", "quick_pay", "deletion"]
_Ground = Literal["unlawful_processing", "no_consent", "breach_of_agreement", "account_closed", "service_ended"]
_Field = Literal["name", "id_number", "card_number", "mobile", "account_number", "agreement_number"]


def _check(field: str, *, is_given: bool, is_due: bool) -> None:
    if is_given != is_due:
        fault = FieldError(field, "missing" if is_due else "not_one_of_this_kind")
        raise ValidationRefusedError(ErrorCode.REQUEST_INVALID, fields=[fault])


class NewClosure(Body):
    """A request that came by telephone or email: what is to end, or which fields are to be deleted and why."""

    user_id: UserId = Field(examples=["usr_01KB5N3E4H6Q8Z2T7V9W0X1Y2R"])
    scope: _Scope = Field(examples=["account"])
    channel: Literal["hotline", "email"] = Field(examples=["hotline"])
    received_at: Instant | None = Field(
        default=None,
        description="When it arrived, if that was not now: its 15 working days are counted from there.",
        examples=["2026-11-20T02:30:00Z"],
    )
    evidence_ref: Reference | None = Field(
        default=None,
        description="Where the call's record or the email is kept; never its content.",
        examples=["call:88"],
    )
    ground: _Ground | None = Field(default=None, description="Of a deletion: on which of the five (P4.2a).")
    fields: Annotated[list[_Field], Field(max_length=len(PersonalField))] = Field(
        default_factory=list, description="Of a deletion: what is to be deleted."
    )

    def check_whole(self) -> None:
        """A deletion, and nothing else, says what and why. Raises ValidationRefusedError."""
        is_deletion = self.scope == "deletion"
        _check("ground", is_given=self.ground is not None, is_due=is_deletion)
        _check("fields", is_given=bool(self.fields), is_due=is_deletion)


class IdentityCheck(Body):
    """By the number that the person says, which is compared and not kept; or what you saw of a document or a face."""

    method: Literal["id_number", "document", "face", "counter"] = Field(examples=["id_number"])
    id_number: Annotated[str, Field(min_length=4, max_length=40)] | None = Field(
        default=None, repr=False, examples=["11010519491231002X"]
    )
    holds: bool | None = Field(default=None, description="Of the other methods: whether it is the user.")
    evidence_ref: Reference | None = None

    def check_whole(self) -> None:
        """The number goes with its method alone; the others say what was found, and where it is on file.

        Raises ValidationRefusedError.
        """
        by_number = self.method == "id_number"
        _check("id_number", is_given=self.id_number is not None, is_due=by_number)
        _check("holds", is_given=self.holds is not None, is_due=not by_number)
        if not by_number:
            _check("evidence_ref", is_given=self.evidence_ref is not None, is_due=True)


class ClosureOfUser(OpsResource):
    id: str
    object: Literal["closure"]
    merchant_id: str
    user_id: str
    scope: ClosureScope
    state: ClosureState
    due_on: str = Field(description="The last day on which an answer is in time (15 working days, P3.4).")
    obstacles: list[dict[str, Any]] = Field(description="What is in the way: kind, subject_id, since, detail.")
    notices: list[dict[str, Any]] = Field(description="Who was told to delete, and what they replied (P4.2b).")
    ground: DeletionGround | None
    waiting_for: dict[str, Any] | None


class Certificate(OpsResource):
    """The answer to the user as one page in Chinese and English; a refusal with its ground and where to complain."""


class NewDispute(Body):
    """What a user reports by telephone or email: about an instruction, or about the account (`subject_id` left out)."""

    user_id: UserId = Field(examples=["usr_01KB5N3E4H6Q8Z2T7V9W0X1Y2R"])
    subject_id: Annotated[str, Field(pattern=r"^(pay|rfd|po|fx|usr)_[0-9A-HJKMNP-TV-Z]{26}$")] | None = Field(
        default=None, examples=["pay_01KB5N3E4H6Q8Z2T7V9W0X1Y2R"]
    )
    reason: DisputeReason = Field(examples=["not_received"])
    evidence_ref: Reference | None = None


class DisputeOfUser(OpsResource):
    id: str
    object: Literal["dispute"]
    merchant_id: str
    user_id: str
    subject_id: str
    reason: DisputeReason
    state: DisputeState
    opened_by: str
    opened_at: str
    resolved_by: str | None = Field(description="The decision.")
    resolution: str | None
    resolved_at: str | None
