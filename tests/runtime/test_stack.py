"""The local stack on real parts: it comes up, keeps its data, ends cleanly, and says what is wrong."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import asyncpg
import httpx
import pytest
from temporalio.common import SearchAttributeKey

from runtime.guardian import PROJECT
from runtime.parts import ChildPart, PartFailedError, StackStoppedError, http_probe
from runtime.postgres import EmbeddedPostgres
from runtime.processes import Mark, from_json, is_alive, mark_of
from runtime.stack import AlreadyRunningError, LocalStack, application_environment
from tests.runtime.stack_process import without_schemas

SERVERS = ("postgres", "temporal", "codec")


@pytest.fixture
def folder() -> Iterator[Path]:
    """Below a folder that every account may enter, so that PostgreSQL under root keeps its data here too."""
    path = Path(tempfile.mkdtemp(prefix="liushui-stack-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def stack_in(folder: Path, *parts: str, **options: object) -> LocalStack:
    options.setdefault("postgres", EmbeddedPostgres(folder / "postgres", durable=False))
    return LocalStack(folder, provision=without_schemas, parts=parts or SERVERS, **options)  # type: ignore[arg-type]


def marks_of(folder: Path) -> list[Mark]:
    return from_json((folder / "processes.json").read_text())


def wait_until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


@pytest.mark.long
def test_the_parts_come_up_and_keep_data_and_ports_over_a_restart(folder: Path) -> None:
    stack = stack_in(folder)
    stack.start()
    try:
        addresses = stack.addresses
        _execute(stack.admin_url, "CREATE TABLE kept (id int)")
        assert httpx.get(f"{addresses['codec']}/health").json() == {"status": "ok"}
        assert httpx.get(addresses["temporal_ui"]).status_code == 200
        settings = httpx.get(f"{addresses['temporal_ui']}/api/v1/settings").json()
        assert settings["Codec"]["Endpoint"] == addresses["codec"]
    finally:
        stack.stop()
    marks = marks_of(folder)
    assert not [mark for mark in marks if is_alive(mark)]
    stack.start()
    try:
        assert stack.addresses == addresses
        _execute(stack.admin_url, "INSERT INTO kept VALUES (1)")
    finally:
        stack.stop()


@pytest.mark.long
async def test_closed_workflows_are_kept_for_thirty_days_and_search_attributes_are_typed(folder: Path) -> None:
    from temporalio.api.enums.v1 import IndexedValueType
    from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
    from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
    from temporalio.client import Client

    attributes = [SearchAttributeKey.for_keyword("LiushuiState"), SearchAttributeKey.for_datetime("LiushuiDeadline")]
    stack = stack_in(folder, "temporal", search_attributes=attributes[:1])
    stack.start()
    stack.stop()
    # A release that brings another attribute finds the server of the one before.
    stack = stack_in(folder, "temporal", search_attributes=attributes)
    stack.start()
    try:
        client = await Client.connect(stack.addresses["temporal"], namespace="liushui")
        found = await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace="liushui"))
        assert found.config.workflow_execution_retention_ttl.ToSeconds() == 30 * 24 * 3600
        request = ListSearchAttributesRequest(namespace="liushui")
        known = (await client.operator_service.list_search_attributes(request)).custom_attributes
        assert known["LiushuiState"] == IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD
        assert known["LiushuiDeadline"] == IndexedValueType.INDEXED_VALUE_TYPE_DATETIME
    finally:
        stack.stop()


def test_a_remembered_port_that_somebody_took_is_replaced(folder: Path) -> None:
    stack = stack_in(folder, "codec")
    stack.start()
    before = stack.addresses["codec"]
    stack.stop()
    with socket.create_server(("127.0.0.1", int(before.rsplit(":", 1)[1]))):
        stack.start()
        try:
            assert stack.addresses["codec"] != before
            assert httpx.get(f"{stack.addresses['codec']}/health").status_code == 200
        finally:
            stack.stop()


def test_a_port_lost_between_choice_and_start_makes_the_stack_choose_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    thieves: list[socket.socket] = []
    start = ChildPart.start

    def start_after_the_thief(part: ChildPart, *arguments: object) -> None:
        if not thieves:
            thieves.append(socket.create_server(("127.0.0.1", part.ports["codec"])))
        start(part, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(ChildPart, "start", start_after_the_thief)
    stack = stack_in(folder, "codec")
    stack.start()
    try:
        stolen = thieves[0].getsockname()[1]
        assert not stack.addresses["codec"].endswith(f":{stolen}")
        assert httpx.get(f"{stack.addresses['codec']}/health").status_code == 200
    finally:
        stack.stop()
        thieves[0].close()


def test_a_second_start_in_the_same_folder_says_that_it_runs_and_where(folder: Path) -> None:
    stack = stack_in(folder, "codec")
    stack.start()
    try:
        with pytest.raises(AlreadyRunningError, match=f"already runs here \\(process {os.getpid()}\\)") as refusal:
            stack_in(folder, "codec").start()
        assert refusal.value.addresses == stack.addresses
        assert httpx.get(f"{stack.addresses['codec']}/health").status_code == 200
    finally:
        stack.stop()


@pytest.mark.long
def test_servers_of_somebody_else_are_used_and_left_running(folder: Path, postgres_server: EmbeddedPostgres) -> None:
    theirs = stack_in(folder / "theirs", "temporal")
    theirs.start()
    try:
        address = theirs.addresses["temporal"]
        variables = {**os.environ, "DATABASE_URL": postgres_server.admin_url, "TEMPORAL_ADDRESS": address}
        ours = stack_in(folder / "ours", variables=variables)
        ours.start()
        assert ours.addresses["temporal"] == address
        assert ours.admin_url == postgres_server.admin_url
        assert ours.environment["worker"]["TEMPORAL_ADDRESS"] == address
        assert set(ours.pids) == {"codec"}
        ours.stop()
        assert postgres_server.is_running
        assert theirs.how_it_ended("temporal") is None
    finally:
        theirs.stop()


@pytest.mark.long
def test_two_stacks_run_side_by_side(folder: Path) -> None:
    one, other = stack_in(folder / "one", "codec"), stack_in(folder / "other", "codec")
    one.start()
    try:
        other.start()
        assert one.addresses["codec"] != other.addresses["codec"]
    finally:
        one.stop()
        other.stop()


def test_a_part_that_ends_at_once_is_named_with_its_last_words_and_its_log(folder: Path) -> None:
    stack = stack_in(folder, overrides={"codec": {"LIUSHUI_PAYLOAD_KEYS": "broken"}})
    with pytest.raises(PartFailedError) as failure:
        stack.start()
    message = str(failure.value)
    assert message.startswith("The codec server did not come up: it ended (exit code 2) after")
    assert "LIUSHUI_PAYLOAD_KEYS is wrong: entry 1 must be id:base64" in message
    assert f"Its log is {folder.resolve()}/log/codec.log." in message
    assert not [mark for mark in marks_of(folder) if is_alive(mark)]
    assert not EmbeddedPostgres(folder / "postgres").is_running


def test_a_part_that_hangs_is_given_up_after_its_limit(folder: Path) -> None:
    part = ChildPart(
        "api",
        "API",
        ["sh", "-c", "echo warming up; exec sleep 60"],
        environment=dict,
        probe=http_probe(1),
        log=folder / "api.log",
        limit_seconds=1.0,
    )
    with pytest.raises(PartFailedError, match=re.compile("API.*not well within 1 s.*warming up", re.DOTALL)):
        part.start(lambda mark: None, lambda: False)
    assert part.how_it_ended() is not None


@pytest.mark.long
def test_provisioning_that_fails_is_reported_and_leaves_nothing_running(folder: Path) -> None:
    async def fails(admin_url: str, passwords: Mapping[str, str]) -> dict[str, str]:
        raise RuntimeError("no rights")

    server = EmbeddedPostgres(folder / "postgres", durable=False)
    stack = LocalStack(folder, provision=fails, parts=SERVERS, postgres=server)
    with pytest.raises(PartFailedError, match="The database did not come up: RuntimeError: no rights"):
        stack.start()
    assert not server.is_running
    assert not [mark for mark in marks_of(folder) if is_alive(mark)]


@pytest.mark.long
def test_a_start_that_is_told_to_stop_stops(folder: Path) -> None:
    async def told_to_stop(admin_url: str, passwords: Mapping[str, str]) -> dict[str, str]:
        stack.ask_to_stop()
        return await without_schemas(admin_url, passwords)

    server = EmbeddedPostgres(folder / "postgres", durable=False)
    stack = LocalStack(folder, provision=told_to_stop, parts=("postgres", "api"), postgres=server)
    with pytest.raises(StackStoppedError):
        stack.start()
    assert not server.is_running


@pytest.mark.long
def test_a_killed_part_stays_down_until_it_is_started_again(folder: Path) -> None:
    stack = stack_in(folder, "postgres", "codec")
    stack.start()
    try:
        _execute(stack.admin_url, "CREATE TABLE kept (id int)")
        for name in ("postgres", "codec"):
            stack.kill(name)
            assert stack.how_it_ended(name) is not None
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{stack.addresses['codec']}/health")
        for name in ("postgres", "codec"):
            stack.restart(name)
            assert stack.how_it_ended(name) is None
        _execute(stack.admin_url, "INSERT INTO kept VALUES (1)")
        assert httpx.get(f"{stack.addresses['codec']}/health").status_code == 200
    finally:
        stack.stop()


def test_while_it_is_supervised_a_part_that_dies_is_started_again_with_a_line_that_says_so(folder: Path) -> None:
    stack = stack_in(folder, "codec")
    stack.start()
    lines: list[str] = []
    supervisor = threading.Thread(target=stack.supervise, args=(lines.append,))
    supervisor.start()
    try:
        os.kill(stack.pids["codec"], signal.SIGKILL)
        wait_until(lambda: "The codec server is back." in lines)
        assert lines[0] == "The codec server ended (killed by SIGKILL); starting it again in 1 s."
        assert httpx.get(f"{stack.addresses['codec']}/health").status_code == 200
    finally:
        stack.ask_to_stop()
        supervisor.join()
        stack.stop()


def test_each_process_gets_only_the_secrets_it_needs(folder: Path) -> None:
    stack = stack_in(folder, "postgres")
    stack.start()
    try:
        environment = stack.environment
        secrets = json.loads((folder / "secrets.json").read_text())
        assert secrets["master_key"] == environment["worker"]["LIUSHUI_MASTER_KEY"]
        allowed = {
            "codec": {"payload_keys"},
            "simulator": {"simulator_signing_key"},
            "temporal": set(),
            "api": {"master_key", "index_key", "payload_keys", "bank_signing_key", "webhook_key"},
            "worker": {"master_key", "index_key", "payload_keys", "bank_signing_key"},
            "webhooks": {"webhook_key"},
            # No bank is instructed with what it knows; it alone opens what is retained, and nobody opens backups.
            "ops": {"master_key", "index_key", "payload_keys", "operator_key", "retention_key"},
        }
        for part, names in allowed.items():
            values = set(environment[part].values())
            assert {name for name, secret in secrets.items() if secret in values} == names
        assert "LIUSHUI_OWNER_DATABASE_URL" in environment["migrations"]
        assert application_environment(folder)["LIUSHUI_DATABASE_URL"] == environment["api"]["LIUSHUI_DATABASE_URL"]
    finally:
        stack.stop()


@pytest.mark.parametrize(
    "number",
    [*(pytest.param(number, marks=pytest.mark.long) for number in (signal.SIGINT, signal.SIGTERM)), signal.SIGKILL],
)
def test_no_process_outlives_the_supervisor_however_it_ends(folder: Path, number: signal.Signals) -> None:
    supervisor, marks, guardian = _supervisor(folder)
    supervisor.send_signal(number)
    code = supervisor.wait(30)
    if number != signal.SIGKILL:
        assert code == 0
        assert not [mark for mark in marks if is_alive(mark)]
    wait_until(lambda: not [mark for mark in marks if is_alive(mark)] and not guardian())


@pytest.mark.long
def test_what_even_the_guardian_left_behind_is_ended_by_the_next_start(folder: Path) -> None:
    supervisor, marks, guardian = _supervisor(folder)
    for pid in guardian():
        os.kill(pid, signal.SIGSTOP)
    supervisor.kill()
    supervisor.wait()
    assert [mark for mark in marks if is_alive(mark)] == marks
    stack = stack_in(folder)
    stack.start()
    try:
        assert not [mark for mark in marks if is_alive(mark)]
        survivors = stack.pids
        for pid in guardian():
            os.kill(pid, signal.SIGCONT)  # it wakes late, and must not touch the new stack
        wait_until(lambda: not guardian())
        assert all(stack.how_it_ended(name) is None for name in SERVERS)
        assert stack.pids == survivors
    finally:
        stack.stop()


def _supervisor(folder: Path) -> tuple[subprocess.Popen[str], list[Mark], Callable[[], list[int]]]:
    """A supervisor that is up, what it started, and a function that lists its guardians."""
    command = [sys.executable, "-m", "tests.runtime.stack_process", str(folder), *SERVERS]
    process = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    process.stdout.close()
    marks = marks_of(folder)
    assert len([mark for mark in marks if is_alive(mark)]) == len(SERVERS)
    pids = _children(process.pid) - {mark.pid for mark in marks}
    assert len(pids) == 1
    begun = {pid: mark_of("guardian", pid, 1.0) for pid in pids}

    def guardians() -> list[int]:
        return [pid for pid, mark in begun.items() if is_alive(mark)]

    return process, marks, guardians


def _children(pid: int) -> set[int]:
    listed = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    return {int(child) for child, parent in map(str.split, listed.splitlines()) if int(parent) == pid}


def _execute(url: str, statement: str) -> None:
    async def execute() -> None:
        connection = await asyncpg.connect(url)
        await connection.execute(statement)
        await connection.close()

    asyncio.run(execute())
