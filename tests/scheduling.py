"""How `make test` shares tests among its processes: each by itself, but all that need the whole stack to one process.

A plugin (`-p tests.scheduling`). The marker `xdist_group` is meant for this, and does nothing under pytest 9.
"""

from __future__ import annotations

from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

WHOLE_STACK = "tests/end_to_end/"


class OneStack(LoadScopeScheduling):
    """Hands the tests of the whole stack out as one piece, which goes first because it is the largest."""

    def _split_scope(self, nodeid: str) -> str:
        return WHOLE_STACK if nodeid.startswith(WHOLE_STACK) else nodeid


@pytest.hookimpl
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> OneStack:
    return OneStack(config, log)
