"""`python -m bench.desk_worker`: our worker, and nothing about it is special but how fast it gives a desk conversions.

The rate of config/fx.toml is the desk's; with another in the environment a run finds what the machine does.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import httpx

import worker
from config.policy import read_policy
from runtime.layout import WORKER_GRACE_SECONDS
from runtime.stack import LocalStack

RATE = "BENCH_CONVERSIONS_PER_SECOND"
_STARTS_WITHIN_SECONDS, _LOOKS_EVERY_SECONDS = 60.0, 0.2


def at_another_rate(policy: dict[str, Any], rate: int) -> dict[str, Any]:
    """The policy with that rate for every desk."""
    desks = {bank: {**desk, "conversions_per_second": rate} for bank, desk in policy["fx"]["desks"].items()}
    return {**policy, "fx": {**policy["fx"], "desks": desks}}


@contextmanager
def desk_worker(stack: LocalStack, rate: int | None) -> Iterator[int]:
    """It runs and is well; its process number. None: at the configured rate."""
    variables = stack.environment["worker"] | ({} if rate is None else {RATE: str(rate)})
    with (stack.folder / "log" / "worker.log").open("a", encoding="utf-8") as log:
        command = [sys.executable, "-m", "bench.desk_worker"]
        process = subprocess.Popen(command, env=variables, stdout=log, stderr=log)
    try:
        _wait_until_well(process, f"{stack.addresses['worker_health']}/health")
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(WORKER_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_well(process: subprocess.Popen[bytes], address: str) -> None:
    until = time.monotonic() + _STARTS_WITHIN_SECONDS
    while process.poll() is None and time.monotonic() < until:
        try:
            if httpx.get(address, trust_env=False).is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(_LOOKS_EVERY_SECONDS)
    raise RuntimeError("the worker did not start; its log says why")


def main() -> None:
    """Runs until SIGTERM or SIGINT."""
    stated = os.environ.get(RATE)
    if stated is None:
        asyncio.run(worker.main())
        return
    with patch.object(worker, "read_policy", lambda: at_another_rate(read_policy(), int(stated))):
        asyncio.run(worker.main())


if __name__ == "__main__":
    main()
