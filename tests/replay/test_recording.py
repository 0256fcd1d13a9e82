"""Writes the histories anew, with `--record-histories` only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.replay.branches import BRANCHES
from tests.replay.test_replay import HISTORIES
from tests.workflows.conftest import House
from workflows import names


def without_this_machine(value: Any) -> Any:
    """A history without host names and paths; nothing of them is needed to replay it."""
    if isinstance(value, list):
        return [without_this_machine(item) for item in value]
    if not isinstance(value, dict):
        return value
    replaced = {"identity": "recorder", "stackTrace": ""}
    return {key: replaced.get(key, without_this_machine(item)) for key, item in value.items()}


def path_of(process: names.Process, branch: str) -> Path:
    return HISTORIES / process.value.replace("-", "_") / f"{branch}.json"


@pytest.mark.parametrize(("process", "branch"), BRANCHES)
async def test_record(house: House, process: names.Process, branch: str) -> None:
    subject_id = await BRANCHES[process, branch](house)
    history = await house.handle(process, subject_id).fetch_history()
    path = path_of(process, branch)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(without_this_machine(json.loads(history.to_json())), indent=1) + "\n")
