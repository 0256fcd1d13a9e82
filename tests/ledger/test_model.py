"""A state machine against the real database, with a model in Python beside it; and both write paths side by side."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from sqlalchemy.engine import make_url

from tests.conftest import Database
from tests.ledger.conftest import ALICE, AT, BOB, MERCHANT, RESERVE

ACCOUNTS = [RESERVE, ALICE, BOB, MERCHANT]
amounts = st.integers(min_value=1, max_value=60)
keys = st.sampled_from([f"k{number}" for number in range(40)])
accounts = st.sampled_from(ACCOUNTS)


@dataclass
class Model:
    """What the ledger must do, said again as plainly as possible."""

    posted: dict[str, int] = field(default_factory=lambda: dict.fromkeys(ACCOUNTS, 0))
    held: dict[str, int] = field(default_factory=lambda: dict.fromkeys(ACCOUNTS, 0))
    contents: dict[str, Any] = field(default_factory=dict)
    holds: dict[str, dict[str, Any]] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)

    def apply(self, transfers: list[dict[str, Any]]) -> str | None:
        before = (dict(self.posted), dict(self.held), dict(self.contents), dict(self.holds), set(self.ended))
        for transfer in transfers:
            error = self.apply_one(transfer)
            if error is not None:
                self.posted, self.held, self.contents, self.holds, self.ended = before
                return error
        return None

    def apply_one(self, transfer: dict[str, Any]) -> str | None:
        ends = "hold" in transfer
        held = self.holds.get(transfer["hold"]) if ends else None
        amount = transfer["amount"] if transfer["amount"] is not None or held is None else held["amount"]
        content = tuple(sorted((transfer | {"amount": amount}).items()))
        if transfer["key"] in self.contents:
            return None if self.contents[transfer["key"]] == content else "key_reused"
        if ends and held is None:
            return "hold_not_found"
        if held is not None and amount > held["amount"]:
            return "amount_exceeds_hold"
        if ends and transfer["hold"] in self.ended:
            return "hold_already_ended"
        error = self.move(transfer["action"], held or transfer, amount)
        if error is None:
            self.contents[transfer["key"]] = content
            if transfer["action"] == "hold":
                self.holds[transfer["key"]] = transfer
            elif ends:
                self.ended.add(transfer["hold"])
        return error

    def move(self, action: str, movement: dict[str, Any], amount: int) -> str | None:
        changes = {}
        for side in ("debit", "credit"):
            code = movement[side]
            grows = (code == RESERVE) == (side == "debit")
            posted = (amount if grows else -amount) if action in ("post", "post_hold") else 0
            held = 0 if grows or action == "post" else amount if action == "hold" else -movement["amount"]
            changes[code] = (self.posted[code] + posted, self.held[code] + held)
        if any(posted < held for posted, held in changes.values()):
            return "insufficient_funds"
        for code, (posted, held) in changes.items():
            self.posted[code], self.held[code] = posted, held
        return None


def movement(action: str, key: str, debit: str, credit: str, amount: int) -> dict[str, Any]:
    base = {"action": action, "key": key, "kind": "payout", "direction": "out", "debit": debit, "credit": credit}
    return base | {"currency": "CNY", "amount": amount, "instruction": "pay_1", "booked_at": AT}


movements = st.builds(movement, st.sampled_from(["post", "hold"]), keys, accounts, accounts, amounts).filter(
    lambda transfer: transfer["debit"] != transfer["credit"]
)
ends = st.builds(
    lambda action, key, held, amount: {
        "action": action,
        "key": key,
        "hold": held,
        "amount": amount if action == "post_hold" else None,
        "booked_at": AT,
    },
    st.sampled_from(["post_hold", "release_hold"]),
    keys,
    keys,
    st.none() | amounts,
)
funding = st.builds(movement, st.just("post"), keys, st.just(RESERVE), st.just(ALICE), amounts)
items = st.lists(funding | movements | ends, max_size=3)
batches = st.lists(items, min_size=1, max_size=6)


class Ledger:
    """Calls of the real ledger from code that is not asynchronous; one connection, one schema emptied per example."""

    def __init__(self, loop: asyncio.AbstractEventLoop, url: str) -> None:
        self._loop = loop
        self._connection = loop.run_until_complete(asyncpg.connect(url))

    def empty(self) -> None:
        script = """SET session_replication_role = replica;
            TRUNCATE ledger.account, ledger.balance, ledger.transfer RESTART IDENTITY;
            SET session_replication_role = origin;"""
        self._loop.run_until_complete(self._connection.execute(script))
        self.fetch("SELECT ledger.open_accounts($1::text[])", ACCOUNTS)

    def apply(self, batch: list[list[dict[str, Any]]], *, set_based: bool) -> list[tuple[str | None, Any]]:
        encoded = json.dumps([{"item": number, "transfers": item} for number, item in enumerate(batch)])
        rows = self.fetch("SELECT error, detail FROM ledger.apply($1::jsonb, $2) ORDER BY item", encoded, set_based)
        return [(row[0], row[1]) for row in rows]

    def balances(self) -> tuple[dict[str, int], dict[str, int]]:
        rows = self.fetch("SELECT code, posted, held FROM ledger.account JOIN ledger.balance ON id = account_id")
        return {row[0]: row[1] for row in rows}, {row[0]: row[2] for row in rows}

    def journal(self) -> list[tuple[Any, ...]]:
        """Everything that is stored of the transfers but their own ids and instants, by key."""
        query = """SELECT t.key, h.key, t.amount, t.action, t.kind, t.currency, t.instruction,
            t.debit_account_id, t.debit_version, t.debit_posted_after, t.debit_held_after,
            t.credit_account_id, t.credit_version, t.credit_posted_after, t.credit_held_after
            FROM ledger.transfer t LEFT JOIN ledger.transfer h ON h.id = t.hold_id ORDER BY t.key"""
        return [tuple(row) for row in self.fetch(query)]

    def fetch(self, query: str, *arguments: Any) -> list[Any]:
        return self._loop.run_until_complete(self._connection.fetch(query, *arguments))

    def close(self) -> None:
        self._loop.run_until_complete(self._connection.close())


class LedgerMachine(RuleBasedStateMachine):
    """Random batches by either path; the model takes the items one by one."""

    ledger: Ledger

    @initialize()
    def start(self) -> None:
        self.ledger.empty()
        self.model = Model()

    @rule(batch=batches, set_based=st.booleans())
    def apply(self, batch: list[list[dict[str, Any]]], set_based: bool) -> None:
        answers = self.ledger.apply(batch, set_based=set_based)
        assert [error for error, _ in answers] == [self.model.apply(item) for item in batch]

    @rule(amount=amounts, key=keys)
    def pay_in(self, amount: int, key: str) -> None:
        assume(key not in self.model.contents)
        transfer = movement("post", key, RESERVE, ALICE, amount)
        assert self.ledger.apply([[transfer]], set_based=True)[0][0] == self.model.apply([transfer])

    @invariant()
    def books_agree(self) -> None:
        if hasattr(self, "model"):
            assert self.ledger.balances() == (self.model.posted, self.model.held)


@pytest.fixture
def run_on_ledger(database: Database) -> Any:
    """Runs a function that is not asynchronous with a ledger of its own, outside the test's event loop."""
    url = make_url(database.admin_url).set(drivername="postgresql").render_as_string(hide_password=False)

    async def run(function: Any) -> None:
        await asyncio.to_thread(in_thread, function)

    def in_thread(function: Any) -> None:
        loop = asyncio.new_event_loop()
        try:
            ledger = Ledger(loop, url)
            function(ledger)
            ledger.close()
        finally:
            loop.close()

    return run


async def test_the_ledger_does_what_its_model_does(run_on_ledger: Any) -> None:
    def check(ledger: Ledger) -> None:
        machine = type("Machine", (LedgerMachine,), {"ledger": ledger})
        checks = [HealthCheck.too_slow, HealthCheck.data_too_large]
        profile = settings(max_examples=40, stateful_step_count=15, deadline=None, suppress_health_check=checks)
        run_state_machine_as_test(machine, settings=profile)

    await run_on_ledger(check)


async def test_both_write_paths_store_and_answer_the_same(run_on_ledger: Any) -> None:
    from hypothesis import given

    def check(ledger: Ledger) -> None:
        @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
        @given(st.lists(batches, min_size=1, max_size=3))
        def same(history: list[list[list[dict[str, Any]]]]) -> None:
            outcomes = []
            for set_based in (True, False):
                ledger.empty()
                ledger.apply([[movement("post", "fund", RESERVE, ALICE, 90)]], set_based=set_based)
                answers = [ledger.apply(batch, set_based=set_based) for batch in history]
                outcomes.append((answers, ledger.balances(), ledger.journal()))
            assert outcomes[0] == outcomes[1]

        same()

    await run_on_ledger(check)
