"""Whoever gets at everything that the institution keeps, and looks there for what is known of one person."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


class TracesError(Exception):
    """It could not be looked; the message says why."""


@dataclass(frozen=True)
class Found:
    """By place, the names of the values that are readable there; and how many sealed values could be opened."""

    places: Mapping[str, frozenset[str]]
    sealed: int
    opened: int

    @property
    def readable(self) -> str:
        """In words."""
        found = [f"the {', '.join(sorted(names))} in {place}" for place, names in self.places.items() if names]
        return "; ".join(found) or "nothing"


class Traces(Protocol):
    """Looks for values by name, in every form that a careless program would leave behind. Raises TracesError.

    What the banks keep is theirs, and not looked at.
    """

    async def back_up(self) -> str:
        """Takes a backup as every night; answers its folder."""

    async def before(self, user_id: str, planted: Mapping[str, str]) -> Found:
        """In the databases, while the user is there. The sealed values are kept, as somebody might who copied them."""

    async def in_what_is_kept(self, user_id: str, planted: Mapping[str, str]) -> Found:
        """In dumps of the databases, in Temporal's own, in what the user's processes wrote, opened, in logs and in the
        backup; the kept values are tried.
        """

    async def in_the_backup_restored(self, planted: Mapping[str, str]) -> Found:
        """The backup put back beside what runs, with the erasure list; the kept values are tried with its keys."""
