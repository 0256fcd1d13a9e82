"""What the long tests share: a stack of their own, a seed that can be set, and progress on the screen."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from runtime.stack import LocalStack
from tests.api.conftest import stage as stage  # noqa: PLC0414 - a fixture of these tests too
from tests.end_to_end.world import QUICK_FAULTS, running_stack
from tests.webhooks.receiver import Receiver

_BEGUN = time.monotonic()


def say(sentence: str) -> None:
    """A line of progress; `make check-long` shows it."""
    print(f"    [{time.monotonic() - _BEGUN:7.1f} s] {sentence}", flush=True)


@pytest.fixture(scope="session")
def seed() -> int:
    """`LIUSHUI_SEED=…` plays the same schedule again."""
    chosen = int(os.environ.get("LIUSHUI_SEED") or secrets.randbits(32))
    say(f"seed {chosen}: LIUSHUI_SEED={chosen} plays this schedule again")
    return chosen


@pytest.fixture
def stack() -> Iterator[LocalStack]:
    """A stack for one test alone: it is going to be mistreated."""
    with running_stack({"simulator": QUICK_FAULTS | {"SIMULATOR_SLOW_SECONDS": "4"}}) as running:
        yield running


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A merchant's server that takes every webhook."""
    opened = await Receiver().open()
    yield opened
    await opened.close()
