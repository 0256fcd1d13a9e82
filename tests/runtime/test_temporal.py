"""A real Temporal server holds ciphertext only, and the codec server shows it to the person at the UI."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from google.protobuf import json_format
from pydantic import BaseModel, SecretBytes
from temporalio import activity, workflow
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.client import Client, WorkflowContinuedAsNewError, WorkflowFailureError, WorkflowHistory
from temporalio.exceptions import ApplicationError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from config.settings import CodecServerSettings, load
from runtime.stack import LocalStack
from runtime.temporal import TemporalUnavailableError, connect
from tests.runtime.operators_stub import TOKEN, OperatorsStub, serving
from tests.runtime.stack_process import without_schemas

CANARY = "canary-7f3a9"


class Greeting(BaseModel):
    token: str


@activity.defn
async def refuse(greeting: Greeting) -> None:
    raise ApplicationError(f"refused {greeting.token}", non_retryable=True)


@workflow.defn
class Canary:
    @workflow.run
    async def run(self, greeting: Greeting) -> Greeting:
        await workflow.sleep(timedelta(milliseconds=1), summary=f"waiting for {greeting.token}")
        if greeting.token.endswith("refused"):
            await workflow.execute_activity(
                refuse, greeting, start_to_close_timeout=timedelta(seconds=10), summary=f"asking {greeting.token}"
            )
        return greeting


@activity.defn
async def echo(greeting: Greeting) -> Greeting:
    return greeting


@workflow.defn
class EveryFeature:
    """What the project's workflows use of Temporal, to see that a codec which refuses plain payloads is enough."""

    def __init__(self) -> None:
        self._updated = False

    @workflow.run
    async def run(self, greeting: Greeting) -> Greeting:
        workflow.patched("a-patch")
        workflow.set_current_details(f"waiting for {greeting.token}")
        await workflow.wait_condition(lambda: self._updated, timeout=timedelta(seconds=30))
        local = await workflow.execute_local_activity(echo, greeting, start_to_close_timeout=timedelta(seconds=5))
        if workflow.info().continued_run_id is None:
            workflow.continue_as_new(local)
        return local

    @workflow.update
    async def tell(self, greeting: Greeting) -> Greeting:
        self._updated = True
        return greeting


@pytest.fixture
async def stack() -> AsyncIterator[LocalStack]:
    folder = Path(tempfile.mkdtemp(prefix="liushui-stack-"))
    running = LocalStack(folder, provision=without_schemas, parts=("temporal", "codec"))
    running.start()
    yield running
    running.stop()
    shutil.rmtree(folder)


@pytest.fixture
def operators(stack: LocalStack) -> Iterator[OperatorsStub]:
    """The operators' API that the codec server asks."""
    stub = OperatorsStub()
    with serving(stub, stack.addresses["ops"]):
        yield stub


@pytest.fixture
async def client(stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> Client:
    for name, value in stack.environment["codec"].items():
        monkeypatch.setenv(name, value)
    return await connect(load(CodecServerSettings).payload_keys, environment="local")


async def run_canary(client: Client, token: str) -> WorkflowHistory:
    runner = UnsandboxedWorkflowRunner()
    async with Worker(client, task_queue="canary", workflows=[Canary], activities=[refuse], workflow_runner=runner):
        handle = await client.start_workflow(
            Canary.run,
            Greeting(token=token),
            id=f"canary-{uuid4()}",
            task_queue="canary",
            static_summary=f"summary of {token}",
            memo={"note": token},
        )
        if token.endswith("refused"):
            with pytest.raises(WorkflowFailureError) as failure:
                await handle.result()
            assert str(failure.value.cause.__cause__) == f"refused {token}"
        else:
            assert await handle.result() == Greeting(token=token)
    return await handle.fetch_history()


async def test_what_the_server_stores_is_ciphertext_and_the_codec_server_shows_it_to_an_operator(
    stack: LocalStack, client: Client, operators: OperatorsStub
) -> None:
    for token in (CANARY, f"{CANARY}-refused"):
        history = await run_canary(client, token)
        stored = b"".join(event.SerializeToString() for event in history.events)
        assert CANARY.encode() not in stored
        started = history.events[0].workflow_execution_started_event_attributes
        shown = _ask_codec(stack, [*started.input.payloads, history.events[0].user_metadata.summary])
        assert shown == [f'{{"token":"{token}"}}', f'"summary of {token}"']
        assert _ask_codec(stack, [started.memo.fields["note"]]) == [f'"{token}"']
    timers = [
        event.user_metadata.summary for event in history.events if event.HasField("timer_started_event_attributes")
    ]
    assert _ask_codec(stack, timers) == [f'"waiting for {token}"']
    failed = history.events[-1].workflow_execution_failed_event_attributes.failure
    assert f"refused {token}" in _ask_codec(stack, [failed.cause.encoded_attributes])[0]
    assert len(operators.decodes()) == 6
    files = list((stack.folder / "temporal").iterdir())
    assert files
    assert not [file for file in files if CANARY.encode() in file.read_bytes()]


async def test_updates_local_activities_patches_and_replays_work_though_plain_payloads_are_refused(
    client: Client,
) -> None:
    greeting = Greeting(token=CANARY)
    worker = Worker(
        client,
        task_queue="features",
        workflows=[EveryFeature],
        activities=[echo],
        workflow_runner=UnsandboxedWorkflowRunner(),
        max_cached_workflows=0,  # every task replays from the stored history
    )
    async with worker:
        handle = await client.start_workflow(
            EveryFeature.run, greeting, id=f"features-{uuid4()}", task_queue="features"
        )
        assert await handle.query("__temporal_workflow_metadata") is not None
        assert await handle.execute_update(EveryFeature.tell, greeting) == greeting
        with pytest.raises(WorkflowContinuedAsNewError):
            await handle.result(follow_runs=False)
        second = client.get_workflow_handle(handle.id)
        assert await second.execute_update(EveryFeature.tell, greeting) == greeting
        assert await handle.result() == greeting
    history = await client.get_workflow_handle(handle.id).fetch_history()
    assert CANARY.encode() not in b"".join(event.SerializeToString() for event in history.events)


async def test_a_reader_with_another_key_learns_nothing(stack: LocalStack, client: Client) -> None:
    history = await run_canary(client, CANARY)
    other = await connect((("local-1", SecretBytes(b"x" * 32)),), environment="local")
    with pytest.raises(Exception, match="changed, or belongs to another namespace"):
        await other.get_workflow_handle(history.workflow_id).result()


async def test_a_server_that_is_not_there_is_reported_after_the_time_of_patience(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:9")
    with pytest.raises(TemporalUnavailableError, match=r"Temporal at 127\.0\.0\.1:9 did not answer within 0.3 s"):
        await connect((("k", SecretBytes(b"x" * 32)),), environment="local", patience_seconds=0.3)


async def test_production_does_not_speak_to_temporal_elsewhere_without_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", "temporal.example:7233")
    with pytest.raises(TemporalUnavailableError, match="must be reached over TLS in production"):
        await connect((("k", SecretBytes(b"x" * 32)),))


def _ask_codec(stack: LocalStack, payloads: list[Payload]) -> list[str]:
    """As Temporal's command line does."""
    answer = httpx.post(
        f"{stack.addresses['codec']}/decode",
        content=json_format.MessageToJson(Payloads(payloads=payloads)),
        headers={"X-Namespace": "liushui", "Authorization": f"Bearer {TOKEN}"},
    )
    assert answer.status_code == 200
    return [payload.data.decode() for payload in json_format.Parse(answer.content, Payloads()).payloads]
