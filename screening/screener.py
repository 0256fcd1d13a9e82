"""Compares users and payees with the lists: opens the names, and lets nothing of them out but what they match."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

from domain.identifiers import IdPrefix, identifier
from domain.identity import birth_date
from domain.personal_data import PersonalField, Purpose
from domain.screening import Facts, Match, MatchRow, Screened, ScreeningUnavailableError
from screening.lists import ListScreening, Screen
from storage.screening import Subject

log = logging.getLogger(__name__)


class NameVault(Protocol):
    """Opens names, and records each read (`vault.vault.Vault`)."""

    async def reveal(
        self, user_id: str, tokens: Collection[str], purpose: Purpose, actor: str
    ) -> Mapping[PersonalField, str]: ...


class Screener:
    """One a process. `new_ulid` numbers what is found."""

    def __init__(self, lists: ListScreening, vault: NameVault, new_ulid: Callable[[], str]) -> None:
        self._lists = lists
        self._vault = vault
        self._new_ulid = new_ulid

    async def ready(self) -> Screen:
        """The lists of this moment. Raises ScreeningUnavailableError, also where they could not be read."""
        try:
            return await self._lists.ready()
        except ScreeningUnavailableError:
            raise
        except Exception as error:
            raise ScreeningUnavailableError(f"the lists cannot be read ({type(error).__name__})") from None

    async def screen(self, subjects: Sequence[Subject], actor: str) -> Screened:
        """All of them against one state of the lists. Raises ScreeningUnavailableError: that is not "no hit"."""
        screen = await self.ready()
        rows: list[MatchRow] = []
        named = [subject for subject in subjects if subject.token is not None]
        for subject in named:
            rows += await self.compare(screen, subject, actor)
        return Screened(
            version=screen.version,
            subjects=tuple(subject.kind for subject in named),
            matches=tuple(rows),
            is_certain=any(row.document == "agrees" for row in rows),
        )

    async def compare(self, screen: Screen, subject: Subject, actor: str) -> list[MatchRow]:
        """The matches that nobody has cleared. Raises ScreeningUnavailableError where the name cannot be read."""
        try:
            found = await self._matches(screen, subject, actor)
        except Exception as error:
            # Which vault or matcher error it was does not matter to the payout; that it was not compared does. No text
            # of an error is passed on, because it might hold what was compared.
            log.warning("not screened", extra={"subject_id": subject.subject_id, "reason": type(error).__name__})
            raise ScreeningUnavailableError(f"a name cannot be compared ({type(error).__name__})") from None
        cleared = set(subject.cleared)
        return [
            self._row(subject, match)
            for match in found
            if (match.list_code, match.entry_key, match.entry_fingerprint) not in cleared or match.is_certain
        ]

    async def _matches(self, screen: Screen, subject: Subject, actor: str) -> list[Match]:
        name = await self._open(subject, subject.token, PersonalField.NAME, actor)
        facts = Facts(id_index=subject.id_index)
        found = screen.matches(name, facts)
        if not found or subject.id_token is None:
            return found
        # Only now there is a reason to read the identity number: its date of birth tells namesakes apart.
        number = await self._open(subject, subject.id_token, PersonalField.ID_NUMBER, actor)
        return screen.matches(name, facts.model_copy(update={"birth_date": birth_date(number)}))

    async def _open(self, subject: Subject, token: str | None, field: PersonalField, actor: str) -> str:
        if token is None:
            raise ValueError("there is nothing to open")
        opened = await self._vault.reveal(subject.holder, [token], Purpose.FRAUD_PREVENTION, actor)
        return opened[field]

    def _row(self, subject: Subject, match: Match) -> MatchRow:
        return MatchRow(
            id=identifier(IdPrefix.SCREENING_MATCH, self._new_ulid()),
            subject_id=subject.subject_id,
            merchant_id=subject.merchant_id,
            clearance_index=subject.clearance_index,
            **match.model_dump(),
        )
