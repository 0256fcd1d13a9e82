"""How long what a user leaves behind is kept, and why (A4.4a, P4.5e-f, L2).

Two clocks: transactions and the source of funds count from the year of booking, identity from the year in which the
agreement ended. A last transaction long before closing shortens neither. Days are those of Asia/Shanghai.
"""

from __future__ import annotations

from datetime import date, timedelta
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

# Beyond it no date of a record lies: what is counted from there still is a date.
EARLIEST_EVENT, LATEST_EVENT = date(2000, 1, 1), date(2899, 12, 31)


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RetainedKind(StrEnum):
    """What is kept apart when the account has closed."""

    IDENTITY = "identity"
    TRANSACTION = "transaction"
    SOURCE_OF_FUNDS = "source_of_funds"


class RetentionGround(StrEnum):
    """Which clock runs out last."""

    LAW = "law"
    AGREEMENT = "agreement"
    CONSENT = "consent"  # the user's own, with an end date (P4.5f)


class ErasureReason(StrEnum):
    """Why something is erased while its user stays: no purpose needs it any longer (P3.3b)."""

    DECLINED_BINDING = "declined_binding"  # no issuer has confirmed it, and no agreement came of it
    UNBOUND_CARD = "unbound_card"
    REMOVED_PAYEE = "removed_payee"
    RETURNED_REMITTANCE = "returned_remittance"  # never anybody's here; kept as a transaction, then its key goes


class RetentionRules(_Value):
    """`config/retention.toml`. Years are full calendar years; `event_year_counts` is Q1. Days are those of P3.3b."""

    agreement_years: int = Field(default=5, ge=5, le=100)
    law_years: int = Field(default=10, ge=0, le=100)
    event_year_counts: bool = False
    declined_days: int = Field(default=30, ge=1, le=366)
    ended_days: int = Field(default=180, ge=1, le=3660)
    run_at: str = Field(default="03:40", pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")
    catch_up_days: int = Field(default=7, ge=1, le=31)
    key_backup_days: int = Field(default=7, ge=1, le=31)
    backup_days: int = Field(default=30, ge=1, le=366)

    @model_validator(mode="after")
    def _keys_go_first(self) -> RetentionRules:
        # A backup of data whose key is in no backup any more is unreadable; the other way round it would not be.
        if self.key_backup_days > self.backup_days:
            raise PydanticCustomError("backup_days", "backups of keys expire no later than those of the data")
        return self

    @property
    def years(self) -> int:
        """The longer of what agreement and law ask for."""
        return max(self.agreement_years, self.law_years)


def clock_runs_out(kind: RetainedKind, event_on: date, rules: RetentionRules) -> date:
    """The first day on which neither agreement nor law keeps it. `event_on`: booked, or the agreement ended.

    Every kind is kept as long, counted from another day: `kind` is asked for and decides nothing yet.
    """
    del kind
    return date(event_on.year + rules.years + (not rules.event_year_counts), 1, 1)


def earliest_purge(
    kind: RetainedKind, event_on: date, rules: RetentionRules, consent_until: date | None = None
) -> date:
    """The first day on which it may be purged; a consent lasts through its date, and never shortens anything."""
    runs_out = clock_runs_out(kind, event_on, rules)
    return runs_out if consent_until is None else max(runs_out, consent_until + timedelta(days=1))


def ground_of(
    kind: RetainedKind, event_on: date, rules: RetentionRules, consent_until: date | None = None
) -> RetentionGround:
    """Why it is kept to its last day."""
    if earliest_purge(kind, event_on, rules, consent_until) > clock_runs_out(kind, event_on, rules):
        return RetentionGround.CONSENT
    return RetentionGround.LAW if rules.law_years >= rules.agreement_years else RetentionGround.AGREEMENT


class KeptLine(_Value):
    """What is kept of a user, counted: `until` is the first day on which it may be destroyed. No content."""

    kind: RetainedKind
    event_year: int
    records: int
    until: date
    ground: RetentionGround


class PurgedLine(_Value):
    """What a run destroyed, and why. `restored`: once more, because a backup had brought it back."""

    kind: RetainedKind
    event_year: int
    why: str
    records: int
    keys: int


class HeldLine(_Value):
    """What was due and stays: `held_by` is `hold:<id>` or `order:<id>`."""

    held_by: str
    user_id: str
    kind: RetainedKind
    event_year: int
    records: int


class ErasedLine(_Value):
    """What was erased of users who stay, and why."""

    why: ErasureReason
    people: int
    items: int


class WaitingLine(_Value):
    """What of a user who stays was due and waits: `held_by` is a hold, order, dispute, closure or screening hit."""

    held_by: str
    user_id: str
    why: ErasureReason
    items: int


class PurgeReport(_Value):
    """What a day's run came to (P3.3b): records `purged`, items `erased` of users who stay, and what was `held`.

    `unfinished`: claimed and not gone yet; the next run goes on with it.
    """

    run_on: date
    purged: int
    held: int
    unfinished: int
    erased: int = 0
    lines: tuple[PurgedLine, ...] = ()
    held_lines: tuple[HeldLine, ...] = ()
    erased_lines: tuple[ErasedLine, ...] = ()
    waiting_lines: tuple[WaitingLine, ...] = ()


class PurgeTooEarlyError(ValueError):
    """A run of a day that has not come: its clocks have not run out, whatever the day says."""
