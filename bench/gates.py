"""What the gates of closing cost every acceptance: whether the user has left, and whether the user is leaving.

Both are asked by `app.restricted` of everybody, and nearly nobody leaves. The books' own statement accepts payments
with the function as it is, and with its body from before there were closings, which lacks these two questions and
nothing else: in a copy of the database, on the same server. Statement by statement they take turns, so that what else
the machine does hits both alike.
"""

from __future__ import annotations

import json
import re
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import cycle
from pathlib import Path
from typing import Any

import asyncpg
from sqlalchemy.engine import make_url

import storage
from domain.identifiers import IdPrefix, identifier
from domain.instructions import AcceptPayment, RequestContext
from domain.limits import LimitSet, windows_to_take
from runtime.id_source import UlidSource

MERCHANT, AMOUNT_MINOR = "mch_bench", 1280
# Who pays is one of the first users, none of whom leaves; some of the others do, and many have left.
_PAYERS = 64
_SCENE = """
INSERT INTO app.partner VALUES ('HBRB', 'domestic_bank', 'Harbour Bank', '港湾银行', true, now());
INSERT INTO app.merchant VALUES ('mch_bench', '海棠书店', 'active', now() + interval '1 day', now());
INSERT INTO app.agreement_version VALUES ('bench', repeat('0', 64), now() - interval '1 day', NULL);
INSERT INTO app.end_user
    SELECT 'usr_' || lpad(n::text, 26, '0'), 'mch_bench', 'payer-' || n, 'individual', 'CN',
        CASE WHEN n > 12000 THEN 'closed' ELSE 'active' END, 'person-' || n, now() FROM generate_series(1, 20000) n;
INSERT INTO app.consent (user_id, merchant_id, kind, version, content_hash, channel, acted_at)
    SELECT u.id, u.merchant_id, 'agreement', 'bench', repeat('0', 64), 'app', now() FROM app.end_user u;
INSERT INTO app.binding (id, user_id, merchant_id, bank_code, card_index, card_last4, card_type, person_index,
        element_tokens, state, state_since, accepted_at)
    SELECT 'bnd' || substr(u.id, 4), u.id, u.merchant_id, 'HBRB', u.id, '0018', 'debit', u.id, '{}',
        CASE u.state WHEN 'closed' THEN 'unbound' ELSE 'open' END, now(), now() FROM app.end_user u;
INSERT INTO app.closure (id, merchant_id, user_id, scope, channel, asked_by, state, state_since, identity_method,
        identity_checked_at, received_at, recorded_at, due_on, escalate_on, answered_at)
    SELECT 'cls' || substr(u.id, 4), u.merchant_id, u.id, 'account', 'merchant', 'bench',
        CASE u.state WHEN 'closed' THEN 'completed' ELSE 'closing' END, now(), 'login', now(), now(), now(),
        current_date + 15, current_date + 12, CASE u.state WHEN 'closed' THEN now() END
    FROM app.end_user u WHERE u.id > 'usr_' || lpad('11800', 26, '0');
"""
_ACCEPT = "SELECT count(*) FILTER (WHERE (result->>'ok')::boolean) FROM app.accept_payments($1::jsonb)"
_ALONE = "SELECT app.restricted('collect', $1, 'mch_bench', NULL, now(), true)"
_FORMER_FILE, _FORMER = "0009_2_reach.sql", re.compile(r"CREATE OR REPLACE FUNCTION app\.restricted\(.*?;\n", re.DOTALL)
_NO_LIMIT = LimitSet(per_transaction_minor=10**12, per_day_minor=10**12, per_month_minor=10**12)
_WARM_UP = 20

Say = Callable[[str], None]


@dataclass
class Compared:
    """A statement with its arguments, and how long each call took: as it is, and without the two questions."""

    title: str
    statement: str
    arguments: Callable[[], str]
    answer: int | None
    milliseconds: dict[str, list[float]] = field(default_factory=lambda: {"with": [], "without": []})

    async def call(self, connection: asyncpg.Connection) -> float:
        """Milliseconds. Raises RuntimeError if it is refused."""
        arguments = self.arguments()
        began = time.perf_counter()
        answer = await connection.fetchval(self.statement, arguments)
        taken = (time.perf_counter() - began) * 1000
        if answer != self.answer:
            raise RuntimeError("a payment of the benchmark was refused")
        return taken

    def median(self, kind: str) -> float:
        """Of all calls, in milliseconds."""
        return statistics.median(self.milliseconds[kind])

    @property
    def ratio(self) -> float:
        """How much longer it takes with them: the median of all pairs."""
        pairs = zip(self.milliseconds["with"], self.milliseconds["without"], strict=True)
        return statistics.median(mine / other for mine, other in pairs)


@dataclass
class Acceptances:
    """Payments of these users in turn."""

    ids: UlidSource = field(default_factory=UlidSource)

    def __post_init__(self) -> None:
        self.users = cycle(f"{n:026d}" for n in range(1, _PAYERS + 1))

    def compared(self, title: str, number: int) -> Compared:
        """So many in a statement."""
        return Compared(title, _ACCEPT, lambda: json.dumps([self._item(at) for at in range(number)]), number)

    def asked_alone(self, title: str) -> Compared:
        """The function itself, without anything around it."""
        return Compared(title, _ALONE, lambda: f"usr_{next(self.users)}", None)

    def _item(self, at: int) -> dict[str, Any]:
        ulid, user, now = self.ids.ulid(), next(self.users), datetime.now(UTC)
        context = RequestContext(merchant_id=MERCHANT, key_id="bench", request_id=f"req_{ulid}", idempotency_key=None)
        limited = [(f"{what}:{user}", _NO_LIMIT) for what in ("card", "user")]
        command = AcceptPayment(
            request=context,
            now=now,
            id=identifier(IdPrefix.PAYMENT, ulid),
            user_id=f"usr_{user}",
            binding_id=f"bnd_{user}",
            order_number=f"bench-{ulid}",
            order_expires_at=now + timedelta(minutes=30),
            amount_minor=AMOUNT_MINOR,
            currency="CNY",
            payee_kind="merchant",
            payee_name="海棠书店",
            fee_minor=8,
            fee_rule="bench",
            confirmation_hash="0" * 64,
            agreement_version="bench",
            blocked_regions=(),
            waiver_cap_minor=1,
            limits=tuple(windows_to_take(limited, AMOUNT_MINOR, now)),
        )
        return command.model_dump(mode="json") | {"item": at}


async def measure(admin_url: str, database: str, rounds: int, seconds: float, say: Say) -> list[Compared]:
    """In a database that was provisioned for this, and a copy of it."""
    accepted = Acceptances()
    found = [
        accepted.compared("payments accepted, one in a statement", 1),
        accepted.compared("payments accepted, sixteen in a statement", 16),
        accepted.asked_alone("app.restricted alone"),
    ]
    urls = await _prepare(admin_url, database)
    connections = {kind: await asyncpg.connect(url) for kind, url in urls.items()}
    try:
        for number in range(1, rounds + 1):
            for each in found:
                await _turns(each, connections, seconds)
            so_far = ", ".join(f"{each.ratio:.3f}" for each in found)
            say(f"  round {number} of {rounds}: with the two questions to without, so far {so_far}")
    finally:
        for connection in connections.values():
            await connection.close()
    return found


async def _prepare(admin_url: str, database: str) -> dict[str, str]:
    """The scene; its copy with the former body."""
    copy = f"{database}_before"
    urls = {"with": _on(admin_url, database), "without": _on(admin_url, copy)}
    await _execute(urls["with"], _SCENE)
    await _execute(urls["with"], "ANALYZE")
    await _execute(_on(admin_url, "postgres"), f'CREATE DATABASE "{copy}" TEMPLATE "{database}"')
    former = _FORMER.search((Path(storage.__file__).parent / "sql" / _FORMER_FILE).read_text(encoding="utf-8"))
    if former is None:
        raise RuntimeError(f"{_FORMER_FILE} does not have the former body any more")
    await _execute(urls["without"], former.group())
    return urls


def _on(admin_url: str, database: str) -> str:
    return make_url(admin_url).set(drivername="postgresql", database=database).render_as_string(hide_password=False)


async def _turns(compared: Compared, connections: Mapping[str, asyncpg.Connection], seconds: float) -> None:
    """In pairs, there and back."""
    for connection in connections.values():
        for _ in range(_WARM_UP):
            await compared.call(connection)
    until = time.perf_counter() + 2 * seconds
    order = cycle((("with", "without"), ("without", "with")))
    while time.perf_counter() < until:
        for kind in next(order):
            compared.milliseconds[kind].append(await compared.call(connections[kind]))


async def _execute(url: str, script: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(script)
    finally:
        await connection.close()


def show(found: Sequence[Compared]) -> None:
    """A table as docs/benchmarks.md has it."""
    heads = ("what the gates of closing cost", "as it is, ms", "without the two questions, ms", "ratio")
    print(f"\n| {' | '.join(heads)} |\n|---|{'---:|' * (len(heads) - 1)}")
    for each in found:
        print(f"| {each.title} | {each.median('with'):.3f} | {each.median('without'):.3f} | {each.ratio:.2f} |")
