"""Commands that a test runs in its own process leave nothing behind for the next one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cli.terminal import choices


@pytest.fixture(autouse=True)
def nothing_chosen() -> Iterator[None]:
    choices.login, choices.as_json = None, False
    yield
    choices.login, choices.as_json = None, False
