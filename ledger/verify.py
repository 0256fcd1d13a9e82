"""Verifies the whole ledger by doing it again: every transfer is replayed, in Python, and compared with what is stored.

It trusts nothing that the database computed: not the balances, not those after each transfer, not the fingerprints.
Memory grows with the accounts and the open holds, not with the transfers.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncResult

from domain.chart import NORMAL_SIDE, AccountKind
from ledger.tables import account, balance, transfer

MAX_FINDINGS = 1000
_SIDES = ("debit", "credit")


class Finding(BaseModel):
    """One thing that is not as it must be: a stable code, and where (an account's code or a transfer's key)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    code: str
    where: str
    detail: str


class VerificationReport(BaseModel):
    """What was looked at and what was found; at most 1,000 findings are listed, all are counted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    accounts: int
    transfers: int
    open_holds: int
    findings: tuple[Finding, ...]
    findings_total: int
    trial_balance_difference: dict[str, int]

    @property
    def is_sound(self) -> bool:
        return self.findings_total == 0


async def verify(engine: AsyncEngine) -> VerificationReport:
    """Verifies everything in one repeatable-read, read-only snapshot; others go on writing meanwhile."""
    replay = _Replay()
    async with engine.connect() as plain:
        connection = await plain.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        await connection.execute(sa.text("SET LOCAL statement_timeout = 0"))
        async with _stream(connection, sa.select(account).order_by(account.c.id)) as accounts:
            async for row in accounts:
                replay.open(row)
        async with _stream(connection, sa.select(transfer).order_by(transfer.c.id)) as transfers:
            async for row in transfers:
                replay.apply(row)
        async with _stream(connection, sa.select(balance)) as balances:
            async for row in balances:
                replay.compare(row)
    return replay.report()


def _stream(connection: AsyncConnection, query: sa.Select[Any]) -> AbstractAsyncContextManager[AsyncResult[Any]]:
    return connection.stream(query, execution_options={"yield_per": 5000})


@dataclass(slots=True)
class _Account:
    code: str
    currency: str
    normal_side: str
    posted: int = 0
    held: int = 0
    version: int = 0
    changed_at: datetime | None = None
    has_balance: bool = False


@dataclass(slots=True)
class _OpenHold:
    debit_account_id: int
    credit_account_id: int
    currency: str
    amount: int


@dataclass(slots=True)
class _Replay:
    accounts: dict[int, _Account] = field(default_factory=dict)
    holds: dict[int, _OpenHold] = field(default_factory=dict)
    difference: Counter[str] = field(default_factory=Counter)
    transfers: int = 0
    findings: list[Finding] = field(default_factory=list)
    total: int = 0

    def open(self, row: Any) -> None:
        self.accounts[row.id] = _Account(row.code, row.currency, row.normal_side)
        parts = [row.kind, *([row.owner_reference] if row.owner_reference else []), row.currency]
        known = row.kind in set(AccountKind)
        if row.code != ":".join(parts) or not known or NORMAL_SIDE[AccountKind(row.kind)] != row.normal_side:
            self.found("account_wrong", row.code, "code, kind, owner, currency and normal side do not belong together")

    def apply(self, row: Any) -> None:
        self.transfers += 1
        if row.fingerprint != _fingerprint(row):
            self.found("fingerprint_wrong", row.key, "the content is not what was first recorded under the key")
        if row.amount <= 0:
            self.found("amount_not_positive", row.key, f"amount {row.amount}")
        hold = self._hold_of(row)
        for side in _SIDES:
            self._apply_side(row, side, hold)
        if row.action == "hold":
            self.holds[row.id] = _OpenHold(row.debit_account_id, row.credit_account_id, row.currency, row.amount)

    def compare(self, row: Any) -> None:
        state = self.accounts.get(row.account_id)
        if state is None:
            self.found("account_missing", str(row.account_id), "a balance without an account")
            return
        state.has_balance = True
        # Of what is stored: replayed transfers balance by their form.
        self.difference[state.currency] += row.posted if state.normal_side == "debit" else -row.posted
        stored, replayed = (row.posted, row.held, row.version), (state.posted, state.held, state.version)
        if stored != replayed:
            self.found("balance_wrong", state.code, f"stored posted, held, version {stored}; by transfers {replayed}")

    def report(self) -> VerificationReport:
        for state in self.accounts.values():
            if not state.has_balance:
                self.found("balance_missing", state.code, "an account without a balance")
        for currency, amount in self.difference.items():
            if amount:
                self.found("trial_balance_not_zero", currency, f"debits less credits {amount}")
        return VerificationReport(
            accounts=len(self.accounts),
            transfers=self.transfers,
            open_holds=len(self.holds),
            findings=tuple(self.findings),
            findings_total=self.total,
            trial_balance_difference=dict(self.difference),
        )

    def found(self, code: str, where: str, detail: str) -> None:
        self.total += 1
        if len(self.findings) < MAX_FINDINGS:
            self.findings.append(Finding(code=code, where=where, detail=detail))

    def _hold_of(self, row: Any) -> _OpenHold | None:
        """The hold that a transfer ends; from now on it is no longer open."""
        if row.action not in ("post_hold", "release_hold"):
            return None
        hold = self.holds.pop(row.hold_id, None)
        if hold is None:
            self.found("hold_not_open", row.key, "ends a hold that does not exist or has ended")
        elif (hold.debit_account_id, hold.credit_account_id, hold.currency) != (
            row.debit_account_id,
            row.credit_account_id,
            row.currency,
        ):
            self.found("hold_not_matched", row.key, "ends a hold of other accounts or another currency")
        elif row.amount > hold.amount:
            self.found("hold_exceeded", row.key, f"{row.amount} of a hold of {hold.amount}")
        return hold

    def _apply_side(self, row: Any, side: str, hold: _OpenHold | None) -> None:
        values = row._mapping
        state = self.accounts.get(values[f"{side}_account_id"])
        if state is None:
            self.found("account_missing", row.key, f"the account of the {side} does not exist")
            return
        _move(state, row, grows=state.normal_side == side, hold=hold)
        self._check_chain(row, state, side)
        if state.currency != row.currency:
            self.found("currency_wrong", row.key, f"{row.currency} on {state.code}")
        if state.changed_at is not None and row.recorded_at < state.changed_at:
            self.found("time_goes_back", row.key, f"recorded before an earlier version of {state.code}")
        state.changed_at = row.recorded_at

    def _check_chain(self, row: Any, state: _Account, side: str) -> None:
        values = row._mapping
        if values[f"{side}_version"] != state.version:
            self.found("version_wrong", row.key, f"{state.code}: {values[f'{side}_version']}, expected {state.version}")
            state.version = values[f"{side}_version"]
        stored = (values[f"{side}_posted_after"], values[f"{side}_held_after"])
        if stored != (state.posted, state.held):
            self.found("balance_after_wrong", row.key, f"{state.code}: {stored}, expected {(state.posted, state.held)}")
        if state.held < 0 or state.posted < state.held:
            self.found("below_zero", row.key, f"{state.code}: posted {state.posted}, held {state.held}")


def _move(state: _Account, row: Any, *, grows: bool, hold: _OpenHold | None) -> None:
    state.version += 1
    if row.action in ("post", "post_hold"):
        state.posted += row.amount if grows else -row.amount
    if grows:
        return
    if row.action == "hold":
        state.held += row.amount
    elif hold is not None:
        state.held -= hold.amount


def _fingerprint(row: Any) -> bytes:
    """The same content, put together here, as `ledger.fingerprint` puts it together there."""
    content = (
        row.action,
        row.kind,
        row.direction,
        row.debit_account_id,
        row.credit_account_id,
        row.currency,
        row.amount,
        row.hold_id or "",
        row.instruction,
        row.reference or "",
    )
    return hashlib.sha256("|".join(str(part) for part in content).encode()).digest()
