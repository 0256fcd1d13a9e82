"""Payees and payouts as merchants get them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from api.resources import Conditions, LimitLeft, Resource, WaitingFor


class PayeeBank(Resource):
    kind: str = Field(examples=["cnaps"])
    value: str


class Payee(Resource):
    """A bank account that a user named. Name and number are shown masked, and in full to nobody but its bank."""

    id: str
    object: Literal["payee"]
    user_id: str
    relation: Literal["own", "other"]
    holder_type: Literal["individual", "enterprise"]
    region: Literal["CN", "HK", "MO", "TW"]
    bank_id: PayeeBank
    name: str = Field(examples=["张*"])
    account: str = Field(examples=["****3445"])
    name_match: Literal["match", "differs", "unknown"] = Field(
        description="The name against the user's verified one; unknown while no card of the user is bound."
    )
    currencies: list[str] = Field(description="In which this destination can be paid.")
    speeds: list[str] = Field(description="At which it can be paid.")
    state: Literal["active", "removed"]
    created_at: str
    removed_at: str | None


class Arrival(Resource):
    at: str
    provisional: bool = Field(description="It rests on a calendar that is not published yet.")


class NeededConfirmation(Resource):
    needed: bool
    grounds: list[str] = Field(examples=[["repeated_payee"]])


class PayoutPreview(Resource):
    object: Literal["payout_preview"]
    user_id: str
    payee_id: str
    payee_name: str
    payee_account: str
    order_number: str
    amount_minor: int
    currency: str
    fee_minor: int
    fee_rule: str
    total_minor: int = Field(description="Amount and fee: what leaves the user's balance.")
    speed: str
    predicted_arrival: Arrival
    confirmation: NeededConfirmation = Field(description="Whether the user will have to confirm once more.")
    limits: list[LimitLeft]
    conditions: Conditions
    confirmation_hash: str


class SecondConfirmation(Resource):
    grounds: list[str]
    deadline: str
    confirmed_at: str | None


class PayoutReturn(Resource):
    reference: str | None
    at: str


class EvidenceRequested(Resource):
    kinds: list[str] = Field(examples=[["order_details"]])
    until: str


class Payout(Resource):
    """Money that leaves for a bank account (A2.5a). Nobody can cancel it once it is accepted (A3.3a)."""

    id: str
    object: Literal["payout"]
    user_id: str | None = Field(description="Null for a settlement to you.")
    payee_id: str
    kind: Literal["withdrawal", "transfer", "merchant_settlement"]
    order_number: str
    region: str
    route: str
    bank_code: str
    amount_minor: int
    currency: str
    fee_minor: int
    fee_rule: str
    speed: str
    confirmation_hash: str
    agreement_version: str
    origin: str
    mandate_reference: str | None
    state: str
    reason: str | None
    state_since: str
    accepted_at: str
    confirmation: SecondConfirmation | None = Field(description="Null where one yes was enough.")
    predicted_arrival: Arrival | None
    cool_until: str | None
    evidence_requested: EvidenceRequested | None = Field(
        description="What a reviewer wants to see, while `waiting_for.reason` is `evidence`."
    )
    bank_reference: str | None
    booked_at: str | None
    return_: PayoutReturn | None = Field(alias="return")
    report_path: str | None = Field(description="Where to report that it was not the user's (A3.5b).")
    waiting_for: WaitingFor | None


class PayoutLimits(Resource):
    object: Literal["payout_limits"]
    user_id: str
    payee_id: str | None
    currency: str
    limits: list[LimitLeft]


class PageOfPayees(Resource):
    object: Literal["list"]
    items: list[Payee]
    next_cursor: str | None


class PageOfPayouts(Resource):
    object: Literal["list"]
    items: list[Payout]
    next_cursor: str | None


class DataExportText(Resource):
    object: Literal["data_export"]
    version: str
    content_hash: str
    text: str
    recipients: list[DataRecipient]


class DataRecipient(Resource):
    region: str | None = Field(description="Of payees: where their bank is.")
    bank_code: str | None = Field(description="Of receiving accounts: the bank abroad that opens them.")
    recipient: str
    contract: str
    ground: str
    encryption: str | None = Field(description="Of receiving accounts: how the data is encrypted on the way.")
    access: list[str] | None = Field(description="Of receiving accounts: who at the recipient may see it.")
