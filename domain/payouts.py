"""What a merchant may ask for about money out: payees, payouts, and the payer's second yes. Handed to `storage/`."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from domain.instructions import Origin, RequestContext
from domain.limits import LimitWindow
from domain.money import AmountMinor, Currency
from domain.payees import HolderType, NameMatch, Relation
from domain.routes import BankIdKind, Region, Speed

MOST_PAYEES = 50


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class AcceptPayee(_Value):
    """Name a bank account (A2.5a); its name and number are sealed items of the vault, never plain.

    `element_tokens`: the vault's tokens of `name` and `account_number`. `data_export_version`: which text the user must
    have consented to if the account is not in the mainland; None accepts any (P6).
    """

    request: RequestContext
    now: datetime
    id: str
    user_id: str
    relation: Relation
    holder_type: HolderType
    region: Region
    bank_id_kind: BankIdKind
    bank_id: str
    account_index: str
    account_last4: str
    name_index: str
    name_match: NameMatch
    sealed: tuple[dict[str, Any], ...]
    element_tokens: dict[str, str]
    blocked_regions: tuple[str, ...]
    data_export_version: str | None = None
    most: int = MOST_PAYEES


class RemovePayee(_Value):
    """Nothing new is paid to it; what was accepted is paid all the same (A3.3a)."""

    request: RequestContext
    now: datetime
    id: str


class AcceptPayout(_Value):
    """Pay an account that the user named, out of the user's balance (A2.5a-c, A3.5a, A10.2b).

    `banks`: by preference; the first that is switched on and has the money pays. `limits`: windows of the user, of the
    payee's account and of banks; those of a bank are named `bank:CODE`, and only the paying one's are taken.
    `own_name_only`: of the route (A7.3). `confirmation_seconds`: how long a second yes is waited for, if one is needed.
    """

    request: RequestContext
    now: datetime
    id: str
    user_id: str
    payee_id: str
    order_number: str
    amount_minor: AmountMinor
    currency: Currency
    fee_minor: int = Field(ge=0)
    fee_rule: str
    speed: Speed
    route: str
    banks: tuple[str, ...] = Field(min_length=1)
    own_name_only: bool
    confirmation_hash: str
    confirmation_seconds: int = Field(gt=0)
    agreement_version: str
    blocked_regions: tuple[str, ...]
    limits: tuple[LimitWindow, ...]
    data_export_version: str | None = None
    # Under which arrangement between merchant and user a standing instruction stands (A3.2b).
    origin: Origin = "user_relayed"
    mandate_reference: str | None = None
    # As if nothing held it up; what delays it says so, and the plan that follows predicts anew.
    predicted_arrival_at: datetime | None = None
    arrival_provisional: bool = False


class ConfirmPayout(_Value):
    """The payer's second yes, to exactly what was shown first."""

    request: RequestContext
    now: datetime
    id: str
    confirmation_hash: str


class PayoutFacts(_Value):
    """What a preview says of a payee before anything is asked for."""

    # Accepted within 24 hours and not ended unsent, to the same account of whatever payee.
    is_repeated: bool
    name_match: NameMatch
    # What was taken of each window that was asked about, in minor units, in their order.
    used_minor: tuple[int, ...]

    @property
    def confirmation_grounds(self) -> tuple[Literal["repeated_payee", "payee_name_differs"], ...]:
        """Why the payer would have to say it twice, as the acceptance finds it."""
        repeated: tuple[Literal["repeated_payee"], ...] = ("repeated_payee",) if self.is_repeated else ()
        differs: tuple[Literal["payee_name_differs"], ...] = (
            ("payee_name_differs",) if self.name_match is NameMatch.DIFFERS else ()
        )
        return (*repeated, *differs)


class PayoutStanding(_Value):
    """Where a payout stands, for its process; `obstacle` is what a send claim would be refused for now, and passes."""

    state: str
    reason: str | None = None
    obstacle: str | None = None
    cool_until: datetime | None = None
    review_id: str | None = None
