"""`pytest tests/replay --record-histories` writes the histories anew; without the option they are only replayed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.workflows.conftest import house

__all__ = ["house"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--record-histories", action="store_true", help="write tests/replay/histories/ anew")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """The recorder is no test; it runs only when it is asked for."""
    recording = config.getoption("--record-histories", default=False)
    return True if collection_path.name == "test_recording.py" and not recording else None
