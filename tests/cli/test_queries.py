"""The saved queries on a real Temporal server: each is understood, and finds what it is for and nothing else."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio import workflow
from temporalio.client import Client
from temporalio.common import SearchAttributePair, TypedSearchAttributes
from temporalio.exceptions import ApplicationError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker
from typer.testing import CliRunner

from cli.main import app
from cli.queries import QueryError, SavedQuery, read_queries
from runtime.stack import LocalStack
from tests.runtime.stack_process import without_schemas
from workflows import names
from workflows.names import Process

MERCHANT, USER = "mch_01JD0000000000000000000001", "usr_01JD0000000000000000000002"
VALUES = {"order": "M-1001", "merchant": MERCHANT, "user": USER, "bank": "HBRB"}
# Foreign currency: what each waits for, at which bank.
FX_WAITS = {
    "fx hours": ("HBRB", "fx_authority_window"),
    "fx turn": ("HBRB", "fx_queue"),
    "fx delivery": ("HBRB", "fx_delivery"),
    "fx quote": ("WLWB", "fx_quote"),
    "fx frozen": ("WLWB", "freeze"),
}
FX_OTHERS = {
    "excess": Process.LEARN_EXCESS,
    "replan": Process.REPLAN_FX,
    "inbound": Process.RECEIVE_INBOUND,
    "back": Process.RETURN_INBOUND,
    "opening": Process.OPEN_RECEIVING_ACCOUNT,
}
FX_PLAYED = {*FX_WAITS, *FX_OTHERS}
# By the query's name: what it finds among what `played` starts. One a query: a new one has to be added here.
FOUND = {
    "by-order": {"paid"},
    "by-merchant": {"paid", "silent"},
    "by-user": {"paid"},
    "by-bank": {"paid", "processing", "refund", "queued", "fx hours", "fx turn", "fx delivery"},
    "waits-for-operator": {"parked"},
    "waits-for-bank": {"silent", "processing"},
    "waits-for-one-bank": {"processing"},
    "payments-running": {"paid", "silent", "processing", "parked", "stuck"},
    "longest-running": {
        "paid",
        "silent",
        "processing",
        "parked",
        "refund",
        "correction",
        "stuck",
        "reviewed",
        "evidence",
        "frozen",
        "queued",
        "cooling",
        "listless",
        "returned",
        *FX_PLAYED,
    },
    "refunds-running": {"refund"},
    "corrections": {"correction"},
    "payouts-running": {"reviewed", "evidence", "frozen", "queued", "cooling", "listless"},
    "payouts-under-review": {"reviewed", "evidence"},
    "payouts-stopped": {"frozen"},
    "payouts-in-queue": {"queued"},
    "payouts-cooling-off": {"cooling"},
    "payouts-without-lists": {"listless"},
    "returns": {"returned"},
    "fx-running": {*FX_WAITS},
    "fx-waits-for-hours": {"fx hours", "fx turn"},
    "fx-at-desk": {"fx hours", "fx turn", "fx delivery"},
    "fx-without-rate": {"fx quote"},
    "fx-stopped": {"fx frozen"},
    "fx-not-delivered": {"fx delivery"},
    "fx-excesses": {"excess"},
    "fx-replans": {"replan"},
    "inbounds": {"inbound"},
    "inbound-returns": {"back"},
    "receiving-accounts": {"opening"},
    "stuck-in-code": {"stuck"},
    "ended-by-hand": {"ended"},
    "failed": {"failed"},
}


@dataclass(frozen=True)
class Started:
    """A process that nobody runs: it is there to be found."""

    name: str
    process: Process = Process.COLLECT_PAYMENT
    attributes: dict[Any, str] | None = None


PLAYED = (
    Started("paid", attributes={names.MERCHANT: MERCHANT, names.ORDER: "M-1001", names.USER: USER, names.BANK: "HBRB"}),
    Started("silent", attributes={names.MERCHANT: MERCHANT, names.BANK: "WLWB", names.WAITING_FOR: "bank_answer"}),
    Started("processing", attributes={names.BANK: "HBRB", names.WAITING_FOR: "bank_processing"}),
    Started("parked", attributes={names.BANK: "WLWB", names.WAITING_FOR: "operator"}),
    Started("refund", Process.REFUND_PAYMENT, {names.BANK: "HBRB"}),
    Started("correction", Process.CORRECT_PAYMENT),
    *(
        Started(name, Process.SEND_PAYOUT, {names.BANK: bank, names.WAITING_FOR: reason})
        for name, bank, reason in (
            ("reviewed", "WLWB", "review"),
            ("evidence", "WLWB", "evidence"),
            ("frozen", "WLWB", "freeze"),
            ("queued", "HBRB", "bank_window"),
            ("cooling", "WLWB", "cooling_off"),
            ("listless", "WLWB", "screening"),
        )
    ),
    Started("returned", Process.RETURN_PAYOUT),
    *(
        Started(name, Process.SETTLE_FX, {names.BANK: bank, names.WAITING_FOR: reason})
        for name, (bank, reason) in FX_WAITS.items()
    ),
    *(Started(name, process) for name, process in FX_OTHERS.items()),
    Started("ended"),
    Started("failed"),
)


@workflow.defn(name=Process.COLLECT_PAYMENT.value)
class Faulty:
    """A process with a fault in its code."""

    @workflow.run
    async def run(self) -> None:
        if workflow.info().workflow_id == "failed":
            raise ApplicationError("given up")
        raise ValueError("a fault of ours")


@asynccontextmanager
async def played() -> AsyncIterator[Client]:
    folder = Path(tempfile.mkdtemp(prefix="liushui-queries-"))
    stack = LocalStack(
        folder, provision=without_schemas, parts=("temporal",), search_attributes=names.SEARCH_ATTRIBUTES
    )
    try:
        stack.start()
        client = await Client.connect(stack.addresses["temporal"], namespace="liushui")
        await asyncio.gather(*(_start(client, started) for started in PLAYED))
        yield client
    finally:
        stack.stop()
        shutil.rmtree(folder)


async def _start(client: Client, started: Started) -> None:
    pairs = [SearchAttributePair(key, value) for key, value in (started.attributes or {}).items()]
    queue = "faulty" if started.name == "failed" else "nobody"
    handle = await client.start_workflow(
        started.process.value, id=started.name, task_queue=queue, search_attributes=TypedSearchAttributes(pairs)
    )
    if started.name == "ended":
        await handle.terminate()


async def _found(client: Client, query: str, expected: set[str]) -> set[str]:
    """What is listed, as soon as it is as expected: a list follows by milliseconds, the mark of a fault by seconds."""
    for _ in range(100):
        found = {execution.id async for execution in client.list_workflows(query)}
        if found == expected:
            break
        await asyncio.sleep(0.2)
    return found


@pytest.mark.long
async def test_each_query_finds_what_it_is_for_and_nothing_else() -> None:
    values = VALUES | {"before": (datetime.now(UTC) + timedelta(hours=1)).isoformat()}
    async with played() as client:
        runner = UnsandboxedWorkflowRunner()
        async with Worker(client, task_queue="faulty", workflows=[Faulty], workflow_runner=runner):
            await client.start_workflow(Process.COLLECT_PAYMENT.value, id="stuck", task_queue="faulty")
            for name, saved in read_queries().items():
                query = saved.filled({blank: values[blank] for blank in saved.blanks})
                assert await _found(client, query, FOUND[name]) == FOUND[name], name


def test_every_query_has_a_case_of_its_own_here() -> None:
    assert read_queries().keys() == FOUND.keys()


@pytest.mark.parametrize("value", ["", "M' OR LiushuiOrder != '", 'a"b', "a\\b", "a\nb", "x" * 129])
def test_a_value_cannot_change_the_query(value: str) -> None:
    with pytest.raises(QueryError, match="order is 1 to 128 characters without quotes"):
        read_queries()["by-order"].filled({"order": value})


def test_a_query_is_not_filled_with_more_or_less_than_it_asks_for() -> None:
    saved = SavedQuery(title_zh="一", title_en="one", query="LiushuiBank = '{bank}' AND LiushuiOrder = '{order}'")
    assert saved.filled({"bank": "HBRB", "order": "M-1"}) == "LiushuiBank = 'HBRB' AND LiushuiOrder = 'M-1'"
    for values in ({}, {"bank": "HBRB"}, {"bank": "HBRB", "order": "1", "user": "2"}):
        with pytest.raises(QueryError, match="takes bank=… order=…"):
            saved.filled(values)


def test_the_command_prints_an_address_that_opens_the_list_in_the_ui(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIUSHUI_ENVIRONMENT", "production")
    monkeypatch.setenv("LIUSHUI_UI_ORIGIN", "https://temporal.ops.example")
    one = CliRunner().invoke(app, ["queries", "by-order", "order=M-1 和/1"])
    assert one.output.strip() == (
        "https://temporal.ops.example/namespaces/liushui/workflows?query=LiushuiOrder%20%3D%20%27M-1%20%E5%92%8C%2F1%27"
    )
    every = CliRunner().invoke(app, ["queries"]).output
    assert "bin/liushui queries by-bank bank=…" in every
    assert "https://temporal.ops.example/namespaces/liushui/workflows?query=WorkflowType" in every


@pytest.mark.parametrize("words", [["no-such"], ["by-order"], ["by-order", "order=a'b"], ["by-order", "bank=HBRB"]])
def test_what_cannot_be_answered_is_one_sentence_and_code_1(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIUSHUI_ENVIRONMENT", "production")
    monkeypatch.setenv("LIUSHUI_UI_ORIGIN", "https://temporal.ops.example")
    result = CliRunner().invoke(app, ["queries", *words])
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
