"""Ledger postings per second, against the fastest plain thing on the same server in the same minute.

The yardstick is pgbench: one PL/pgSQL call a transfer (lock two balances, move, insert an entry with a unique key),
sixteen and sixty-four clients, every commit on disk. Ours goes from Python through the batcher into
`ledger.apply_batch`.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import asyncpg
import sqlalchemy as sa
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine

from runtime.postgres import EmbeddedPostgres
from storage.batcher import Batcher
from storage.database import create_engine
from storage.provision import Passwords, Urls, provision

ACCOUNTS = 1000
_BALANCE_AT_START = 10**12
_YARDSTICK = """
CREATE SCHEMA bench;
CREATE TABLE bench.balance (id int PRIMARY KEY, posted bigint NOT NULL CHECK (posted >= 0)) WITH (fillfactor = 50);
CREATE TABLE bench.entry (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, key uuid NOT NULL UNIQUE,
    debit int NOT NULL, credit int NOT NULL, amount bigint NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp());
INSERT INTO bench.balance SELECT n, 1000000000000 FROM generate_series(1, 1000) n;
CREATE FUNCTION bench.move(debit int, credit int, amount bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM bench.balance b WHERE b.id IN (debit, credit) ORDER BY b.id FOR NO KEY UPDATE;
    UPDATE bench.balance b SET posted = posted - amount WHERE b.id = debit;
    UPDATE bench.balance b SET posted = posted + amount WHERE b.id = credit;
    INSERT INTO bench.entry (key, debit, credit, amount) VALUES (gen_random_uuid(), debit, credit, amount);
END $$;
"""
_RANDOM = """\\set debit random(1, 1000)
\\set credit 1 + (:debit + random(0, 998)) % 1000
SELECT bench.move(:debit, :credit, 7);
"""
_HOT = """\\set debit random(2, 1000)
SELECT bench.move(:debit, 1, 7);
"""


@dataclass(frozen=True)
class Row:
    """One line of the table; `ratio` is to the yardstick of the same run."""

    name: str
    callers: int
    per_second: float
    p50_milliseconds: float
    p99_milliseconds: float
    ratio: float


@dataclass(frozen=True)
class _Load:
    callers: int
    hot: bool
    seconds: float


async def measure(server: EmbeddedPostgres, urls: Urls, *, seconds: float = 5.0) -> list[Row]:
    """Measures everything once on a running server with provisioned databases, which should be fresh.

    Ratios are to pgbench with random accounts and sixteen clients.
    """
    await _execute(urls.owner, _YARDSTICK)
    await _open_accounts(urls.owner)
    loads = [_Load(callers, hot, seconds) for callers in (16, 64) for hot in (False, True)]
    rows = [await asyncio.to_thread(_run_pgbench, server, urls.owner, load) for load in loads]
    engine = create_engine(urls.owner, pool_size=2)
    try:
        for hot in (False, True):
            for callers in (1, 16, 64):
                rows.append(await _measure_batcher(engine, _Load(callers, hot, seconds)))
    finally:
        await engine.dispose()
    return [replace(row, ratio=row.per_second / rows[0].per_second) for row in rows]


async def _measure_batcher(engine: AsyncEngine, load: _Load) -> Row:
    latencies: list[float] = []
    async with Batcher(engine, "ledger.apply_batch") as batcher:
        started = time.perf_counter()
        run = f"{time.time_ns():x}"
        callers = (_post_until(batcher, f"{run}-{number}", load, latencies) for number in range(load.callers))
        await asyncio.gather(*callers)
        elapsed = time.perf_counter() - started
    return _row(f"batcher, {_accounts(load)}", load, len(latencies) / elapsed, [one * 1000 for one in latencies])


def _accounts(load: _Load) -> str:
    return "one hot account" if load.hot else "random accounts"


def _row(name: str, load: _Load, rate: float, milliseconds: list[float]) -> Row:
    ordered = sorted(milliseconds)
    p50, p99 = (ordered[int(len(ordered) * share)] for share in (0.5, 0.99))
    return Row(name, load.callers, rate, p50, p99, 0.0)


async def _post_until(batcher: Batcher, prefix: str, load: _Load, latencies: list[float]) -> None:
    chooser = random.Random(prefix)
    deadline = time.perf_counter() + load.seconds
    number = 0
    while (now := time.perf_counter()) < deadline:
        debit, credit = chooser.sample(range(ACCOUNTS), 2)
        if load.hot:
            debit, credit = max(debit, 1), 0
        result = await batcher.submit({"transfers": [_transfer(f"{prefix}-{number}", debit, credit)]})
        if not result["ok"]:
            raise RuntimeError(f"the ledger refused a posting of the benchmark: {result['error']}")
        latencies.append(time.perf_counter() - now)
        number += 1


def _transfer(key: str, debit: int, credit: int) -> dict[str, object]:
    return {
        "action": "post",
        "key": key,
        "kind": "merchant_settlement",
        "direction": "internal",
        "debit": f"user:usr_{debit}:CNY",
        "credit": f"user:usr_{credit}:CNY",
        "currency": "CNY",
        "amount": 7,
        "instruction": key,
        "booked_at": "2026-11-22T10:00:00Z",
    }


async def _open_accounts(owner_url: str) -> None:
    engine = create_engine(owner_url, pool_size=1)
    codes = [f"user:usr_{n}:CNY" for n in range(ACCOUNTS)]
    try:
        async with engine.begin() as connection:
            opened = sa.text("SELECT ledger.open_accounts(CAST(:codes AS text[]))")
            await connection.execute(opened, {"codes": ["reserve:BENCH:CNY", *codes]})
        async with engine.begin() as connection:
            fund = {"kind": "collection", "direction": "in", "debit": "reserve:BENCH:CNY", "amount": _BALANCE_AT_START}
            items = [{"item": n, "transfers": [{**_transfer(f"fund-{n}", 0, n), **fund}]} for n in range(ACCOUNTS)]
            statement = sa.text("SELECT count(*) FROM ledger.apply(CAST(:items AS jsonb)) WHERE error IS NULL")
            funded = await connection.execute(statement, {"items": json.dumps(items)})
            assert funded.scalar_one() == ACCOUNTS  # noqa: S101
    finally:
        await engine.dispose()


def _run_pgbench(server: EmbeddedPostgres, url: str, load: _Load) -> Row:
    """The yardstick; latencies from pgbench's own log."""
    target = make_url(url)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "move.sql").write_text(_HOT if load.hot else _RANDOM)
        command = [str(server.binary("pgbench")), "-n", "-M", "prepared", "-c", str(load.callers), "-j", "2"]
        command += ["-T", str(max(1, round(load.seconds))), "-f", "move.sql", "-l", "--log-prefix=log"]
        command += ["-h", str(target.host), "-p", str(target.port), "-U", str(target.username), str(target.database)]
        environment = {**os.environ, "PGPASSWORD": str(target.password)}
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
        logs = [log.read_text() for log in Path(folder).glob("log.*")]
    rate = re.search(r"tps = ([\d.]+)", done.stdout)
    if rate is None:
        raise RuntimeError("pgbench printed no rate")
    times = [int(line.split()[2]) / 1000 for log in logs for line in log.splitlines()]
    return _row(f"pgbench, one function, {_accounts(load)}", load, float(rate.group(1)), times)


async def _execute(url: str, script: str) -> None:
    connection = await asyncpg.connect(make_url(url).set(drivername="postgresql").render_as_string(hide_password=False))
    try:
        await connection.execute(script)
    finally:
        await connection.close()


def run(seconds: float = 5.0) -> list[Row]:
    """Measures on a server of its own, durable as in production, which it removes afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="liushui-bench-"))
    server = EmbeddedPostgres(folder)
    try:
        server.start()
        urls = asyncio.run(provision(server.admin_url, "bench", "bench_keys", Passwords.generate()))
        return asyncio.run(measure(server, urls, seconds=seconds))
    finally:
        server.stop()
        shutil.rmtree(folder)


def main() -> None:
    """Prints the table."""
    print(f"{'path':<42} {'callers':>7} {'per second':>10} {'p50 ms':>8} {'p99 ms':>8} {'ratio':>6}")
    for row in run():
        print(
            f"{row.name:<42} {row.callers:>7} {row.per_second:>10,.0f} {row.p50_milliseconds:>8.1f} "
            f"{row.p99_milliseconds:>8.1f} {row.ratio:>6.2f}"
        )


if __name__ == "__main__":
    main()
