"""Bodies about foreign currency: receiving accounts, mandates, conversions."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from api.schemas import Body, EvidenceItem, Hash, Instant, OrderNumber, Part, Reference, UserId
from domain.fx import MOST_EVIDENCE, Disposal, OverQuota
from domain.fx_banking import PurposeCode
from domain.money import AmountMinor, Currency
from domain.reviews import Evidence
from domain.routes import BankCode


class NewReceivingAccount(Body):
    """A number at a bank under which remittances reach the user. The name is checked by itself."""

    currency: Currency = Field(examples=["USD"])
    holder_name: str = Field(
        description="The user's name, as remitters will write it: money to another name is not credited. An "
        "individual's is the confirmed one, in Chinese or in pinyin.",
        examples=["Zhang San"],
        repr=False,
    )
    bank_code: BankCode | None = Field(
        default=None, description="At which bank; the institution's first choice for the currency, if left out."
    )


class _Purpose(Part):
    """What the money is for, and what there is to show for it."""

    purpose_code: PurposeCode = Field(
        description="Of the balance of payments, six digits; what the user has declared.", examples=["121010"]
    )
    is_trade: bool = Field(
        default=False,
        description="Trade in goods or services. With `evidence` it does not count towards the yearly quota (A5.2d); "
        "without, the flag alone changes nothing.",
    )
    evidence: Annotated[list[EvidenceItem], Field(max_length=MOST_EVIDENCE)] = Field(
        default=[],
        description="What you keep and name, of the trade or of a foreign individual's income.",
        examples=[[{"kind": "contract", "reference": "file:2026/11/22/0008"}]],
    )
    over_quota: OverQuota = Field(
        default="split",
        description="If it is more than what is left of the yearly quota: `split` converts what is left and holds the "
        "rest, `hold` holds all of it (A5.2a).",
        examples=["split"],
    )

    def given_evidence(self) -> tuple[Evidence, ...]:
        """As the rules take it."""
        return tuple(Evidence(kind=item.kind, reference=item.reference) for item in self.evidence)


class NewFxMandate(_Purpose, Body):
    """A standing arrangement: what arrives for the user in this currency is converted as soon as it may be (A3.2b)."""

    user_id: UserId = Field(examples=["usr_01KB5N3E4H6Q8Z2T7V9W0X1Y2R"])
    currency: Currency = Field(examples=["USD"])
    mandate_reference: Reference = Field(examples=["fx-mandate-8812"])
    valid_until: Instant | None = Field(default=None, description="Until it is ended, if left out.")


class FxToConvert(_Purpose, Body):
    """What of the user's balance in a foreign currency is to be converted into CNY."""

    user_id: UserId = Field(examples=["usr_01KB5N3E4H6Q8Z2T7V9W0X1Y2R"])
    order_number: OrderNumber = Field(
        description="Yours; one order is converted once. No personal data.", examples=["fx-20261122-0001"]
    )
    amount_minor: AmountMinor = Field(
        description="In minor units of the currency: 100 is 1.00 USD, and 100 JPY.", examples=[100000]
    )
    currency: Currency = Field(description="What is converted; the other one is always CNY.", examples=["USD"])


class NewFx(FxToConvert):
    """The conversion as the user confirmed it."""

    confirmation_hash: Hash = Field(description="From the preview that the user was shown.")


class FxDisposal(Body):
    """What becomes of currency that could not be converted (A5.2a)."""

    action: Disposal = Field(
        description="`release`: it is free on the user's balance. `return`: it goes back to where it came from.",
        examples=["release"],
    )
