"""Today's processes decide as those did whose histories are kept; a change that does not is found (house rule 11)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from temporalio import workflow
from temporalio.client import WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from cli.opened_histories import payloads_of
from tests.replay import (
    closing_branches,
    decided_branches,
    fx_branches,
    inbound_branches,
    payout_branches,
    purge_branches,
)
from tests.replay.branches import BRANCHES
from tests.storage.books import ELEMENTS
from tests.storage.fx_books import HOLDER, NUMBER
from tests.workflows.fx_house import REMITTER
from tests.workflows.scripted_desk import NUMBER as OPENED_NUMBER
from worker import PASSED_THROUGH, WORKFLOWS
from workflows import names
from workflows.collect_payment import CollectPayment

HISTORIES = Path(__file__).parent / "histories"
# Importing them registers their branches.
REGISTERED = (closing_branches, decided_branches, fx_branches, inbound_branches, payout_branches, purge_branches)
# A history does not hold its workflow id; where that says what is to be done, all branches are of this one.
ID_THAT_COUNTS = {
    "purge_retained": "purge-retained/2026-11-20",
    "settle_merchants": "settle-merchants/2026-11-20",
}
PERSONAL = (*ELEMENTS.values(), HOLDER, NUMBER, OPENED_NUMBER, REMITTER)
KEPT = sorted(HISTORIES.glob("*/*.json"))


def replayer() -> Replayer:
    """In the same sandbox as the worker's."""
    return Replayer(
        workflows=WORKFLOWS,
        data_converter=pydantic_data_converter,
        workflow_runner=SandboxedWorkflowRunner(
            restrictions=SandboxRestrictions.default.with_passthrough_modules(*PASSED_THROUGH)
        ),
    )


def read(path: Path) -> WorkflowHistory:
    return WorkflowHistory.from_json(ID_THAT_COUNTS.get(path.parent.name, path.stem), path.read_text())


@pytest.mark.parametrize("path", KEPT, ids=lambda path: f"{path.parent.name}/{path.stem}")
async def test_todays_processes_replay_what_was_recorded(path: Path) -> None:
    await replayer().replay_workflow(read(path))


def test_every_family_of_branches_is_recorded_and_nothing_else_is_kept() -> None:
    assert {(path.parent.name, path.stem) for path in KEPT} == {
        (process.value.replace("-", "_"), branch) for process, branch in BRANCHES
    }
    assert {process for process, _ in BRANCHES} == set(names.Process)
    assert len(WORKFLOWS) == len(names.Process)


def test_no_history_holds_personal_data_or_names_a_machine() -> None:
    for path in KEPT:
        history = read(path)
        payloads = [payload.data.decode() for event in history.events for payload in payloads_of(event)]
        assert payloads
        for value in PERSONAL:
            assert not any(value in payload for payload in payloads)
            assert value not in path.read_text()
        assert str(Path(__file__).parents[2]) not in path.read_text()


async def test_a_process_that_does_something_before_the_debit_no_longer_replays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = CollectPayment._debit

    async def hesitate(self: CollectPayment) -> Any:
        await workflow.sleep(1)
        return await real(self)

    monkeypatch.setattr(CollectPayment, "_debit", hesitate)
    with pytest.raises(workflow.NondeterminismError):
        await replayer().replay_workflow(read(HISTORIES / "collect_payment" / "waived_and_succeeded.json"))


async def test_a_process_that_leaves_out_its_settlement_no_longer_replays(monkeypatch: pytest.MonkeyPatch) -> None:
    async def forget(self: CollectPayment, result: Any) -> Any:
        return self._end("succeeded")

    monkeypatch.setattr(CollectPayment, "_succeed", forget)
    with pytest.raises(workflow.NondeterminismError):
        await replayer().replay_workflow(read(HISTORIES / "collect_payment" / "waived_and_succeeded.json"))
