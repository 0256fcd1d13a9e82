"""Every patch of a running process: its id, its date, and the date from which it may go.

A patch may go once no process that was started before it can still run, and no history from before it is kept for
replay: 30 days after the last such process has closed.
"""

from __future__ import annotations

from datetime import date
from typing import NamedTuple


class Patch(NamedTuple):
    """`id` is what `workflow.patched` is called with."""

    id: str
    since: date
    may_go_on: date


PATCHES: tuple[Patch, ...] = ()
