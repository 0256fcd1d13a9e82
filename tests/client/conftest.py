"""The client against the real API of `tests/api`, and against answers that a test makes up."""

from __future__ import annotations

import dataclasses

import pytest

from client import AsyncLiushui, Retries
from client.core import World
from tests.api.conftest import Merchant, Stage, stage

__all__ = ["stage"]


@pytest.fixture
async def merchant(stage: Stage) -> Merchant:
    return await stage.merchant()


@pytest.fixture
def liushui(stage: Stage, merchant: Merchant) -> AsyncLiushui:
    """The merchant's client; it does not try twice unless a test wants it to."""
    return AsyncLiushui("http://liushui.test", merchant.key, http=stage.http, retries=Retries(total_seconds=0))


async def signing_client(stage: Stage, merchant: Merchant) -> AsyncLiushui:
    """A client that signs, by the clock of the stage."""
    client = AsyncLiushui("http://liushui.test", merchant.key, await stage.sign(merchant), http=stage.http)
    client.core.settings = dataclasses.replace(client.core.settings, world=World(now=stage.clock.now))
    return client
