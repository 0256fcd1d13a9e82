"""Payees and payouts as the API answers them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field

from .models import AnyOrigin, Conditions, LimitLeft, Resource, Waitable, Word
from .states import NameMatch, PayoutState, Speed

AnyPayoutState = Annotated[PayoutState | str, Word]
AnySpeed = Annotated[Speed | str, Word]
AnyNameMatch = Annotated[NameMatch | str, Word]


class PayeeBank(Resource):
    """How a place names a bank."""

    kind: str
    value: str


class Payee(Resource):
    """A bank account that a user named; name and number are masked. `currencies` and `speeds` are its destination's."""

    id: str
    user_id: str
    relation: str
    holder_type: str
    region: str
    bank_id: PayeeBank
    name: str
    account: str
    name_match: AnyNameMatch
    currencies: tuple[str, ...]
    speeds: tuple[AnySpeed, ...]
    state: str
    created_at: datetime
    removed_at: datetime | None = None


class DataRecipient(Resource):
    """Who gets a payee's data (by region), or a user's name for a receiving account (by bank), and under what."""

    region: str | None = None
    bank_code: str | None = None
    recipient: str
    contract: str
    ground: str
    encryption: str | None = None
    access: tuple[str, ...] | None = None


class DataExport(Resource):
    """What a user agrees to before a payee's data go abroad: a consent of kind `data_export` names version and hash."""

    version: str
    content_hash: str
    text: str
    recipients: tuple[DataRecipient, ...]


class Arrival(Resource):
    """When money is expected; `provisional` while a calendar that it rests on is not published."""

    at: datetime
    provisional: bool


class NeededConfirmation(Resource):
    """Whether the user will have to say it once more, and why."""

    needed: bool
    grounds: tuple[str, ...]


class PayoutShown(Resource):
    """What a preview and a payout have in common."""

    user_id: str | None
    payee_id: str
    order_number: str
    amount_minor: int
    currency: str
    fee_minor: int
    fee_rule: str
    speed: AnySpeed
    confirmation_hash: str


class PayoutPreview(PayoutShown):
    """What the user is to confirm. Show all of it, then pay out with its `confirmation_hash`."""

    payee_name: str
    payee_account: str
    total_minor: int
    predicted_arrival: Arrival
    confirmation: NeededConfirmation
    limits: tuple[LimitLeft, ...]
    conditions: Conditions | None = None


class SecondConfirmation(Resource):
    """The second yes: why, until when, and when it came."""

    grounds: tuple[str, ...]
    deadline: datetime
    confirmed_at: datetime | None = None


class EvidenceRequested(Resource):
    """What a reviewer wants to see, and until when."""

    kinds: tuple[str, ...]
    until: datetime


class PayoutReturn(Resource):
    """The payee's bank has sent the money back."""

    reference: str | None = None
    at: datetime


class Payout(Waitable, PayoutShown):
    """Money that leaves for a bank account. `returned` follows `succeeded`, days later perhaps."""

    kind: str
    region: str
    route: str
    bank_code: str
    agreement_version: str
    origin: AnyOrigin
    mandate_reference: str | None = None
    state: AnyPayoutState
    reason: str | None = None
    state_since: datetime
    accepted_at: datetime
    confirmation: SecondConfirmation | None = None
    predicted_arrival: Arrival | None = None
    cool_until: datetime | None = None
    evidence_requested: EvidenceRequested | None = None
    bank_reference: str | None = None
    booked_at: datetime | None = None
    sent_back: PayoutReturn | None = Field(default=None, alias="return")
    report_path: str | None = None

    @property
    def needs_confirmation(self) -> bool:
        """Whether the user has to say once more that this is meant."""
        return self.state == PayoutState.AWAITING_CONFIRMATION


class PayoutLimits(Resource):
    """How much a user may still pay out, and an account receive."""

    user_id: str
    payee_id: str | None = None
    currency: str
    limits: tuple[LimitLeft, ...]
