"""What operators ask to have decided, and decisions and restrictions as they are shown."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from api.schemas import Body
from domain.decisions import DecisionKind, DecisionState, Reason
from ops.schemas import OpsResource


class NewDecision(Body):
    """What to decide about what, on which ground and why; `detail` is what the kind needs besides."""

    kind: Annotated[str, Field(max_length=60, json_schema_extra={"enum": [kind.value for kind in DecisionKind]})] = (
        Field(examples=["instruction.withdraw"])
    )
    subject_id: Annotated[
        str,
        Field(
            pattern=(
                r"^((pay|rfd|po|fx|inb|inr|rev|scm|pye|usr|mch|wvr|cls|dsp|case)_[0-9A-Z]{20,40}"
                r"|[A-Z][A-Z0-9]{2,11})$"
            ),
            max_length=80,
        ),
    ] = Field(
        description=(
            "An instruction, remittance or its return, review, screening match, settlement account, user, merchant,"
            " application, closure, dispute or case, or a bank's code."
        ),
        examples=["pay_01KB5N3E4H6Q8Z2T7V9W0X1Y2R"],
    )
    ground: Annotated[str, Field(pattern=r"^[a-z_]{1,60}$")] = Field(
        description="A ground that config/decisions.toml lists for the kind.", examples=["suspected_fraud"]
    )
    reason: Reason = Field(description="In your own words; without anybody's numbers.", examples=["同一卡连续三笔异常"])
    detail: Annotated[dict[str, Any], Field(max_length=10)] = Field(
        default={},
        description=(
            "Suspensions: `function` (bind, collect, refund, payout, fx; all if left out), `review_at`. Resuming, "
            "releasing: `restriction_id` (all if left out); releasing also `scope` (relation, all) and "
            "`stopped_payouts` (resume, end). Freezes: `review_at`, `ends_at` or both; `amount_minor` with `currency`, "
            "and `prolongs` (the freeze whose place it takes), or `function` (payout, refund) or `scope` (relation, "
            "all). Authority orders: `issuer`, `number`, `demands` (hold, query, release, freeze, temporary_freeze), "
            "`function`, `expires_at` (not for temporary_freeze: 48 hours), and what freezes and releases say. "
            "Conclusions: `outcome` (succeeded, "
            "failed; of a conversion only failed), `bank_reference`, `evidence_ref`. Money in suspense that is "
            "assigned: `user_id`. Cases: `resolution` (confirmed, unfounded, settled, "
            "duplicate), `evidence_ref`. Disputes: `resolution` (settled, unfounded, confirmed), `evidence_ref`. "
            "Disclosures of what is retained: `order_id`, `kinds` (identity, transaction, source_of_funds), `from`, "
            "`until` (days); holds: `order_id`."
        ),
    )


class DecisionResource(OpsResource):
    id: str
    object: Literal["decision"]
    kind: str
    subject_id: str
    merchant_id: str | None
    ground: str
    reason: str
    detail: dict[str, Any]
    state: DecisionState
    needs_second_person: bool
    requested_by: str
    requested_by_login: str | None = Field(description="The person's login; null for who is no operator.")
    requested_at: str
    expires_at: str
    decided_by: str | None
    decided_by_login: str | None
    decided_at: str | None
    refusal: str | None
    process_told: bool | None = Field(
        default=None,
        description=(
            "Of a withdrawal, conclusion or review: whether its process has taken it; if not, the sweeper sees to it."
        ),
    )
