"""Instants and identifiers."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

from domain.identifiers import IdPrefix, identifier, is_identifier
from runtime.clock import SystemClock
from runtime.id_source import UlidSource


def test_the_clock_gives_aware_instants_in_utc() -> None:
    now = SystemClock().now()
    assert now.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - now) < timedelta(seconds=5)


def test_identifiers_sort_by_creation_even_when_the_clock_steps_back() -> None:
    instants = iter([5, 5, 5, 3, 4, 6])
    source = UlidSource(lambda: next(instants))
    made = [source.ulid() for _ in range(6)]
    assert made == sorted(set(made))
    assert all(is_identifier(identifier(IdPrefix.PAYMENT, ulid), IdPrefix.PAYMENT) for ulid in made)


def test_threads_never_get_the_same_identifier() -> None:
    source = UlidSource()
    made: list[str] = []
    threads = [threading.Thread(target=lambda: made.extend(source.ulid() for _ in range(500))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 4000
