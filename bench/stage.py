"""The stack of a benchmark: the local stack in a folder of its own, the floor's worker beside ours."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.floor_worker import READY
from cli.stack import local_stack
from runtime.postgres import EmbeddedPostgres
from runtime.stack import LocalStack

_WORKER_ENDS_WITHIN_SECONDS = 15


@contextmanager
def own_server() -> Iterator[EmbeddedPostgres]:
    """A durable PostgreSQL server in a folder that is removed afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="liushui-bench-"))
    folder.chmod(0o755)  # the server of a stack that root starts runs under another account
    server = EmbeddedPostgres(folder / "postgres")
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(server.folder, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def running_stack(server: EmbeddedPostgres, **options: Any) -> Iterator[LocalStack]:
    """Every part of the stack on that server, whatever the environment says of other servers."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("TEMPORAL_", "LIUSHUI_"))}
    ours.pop("DATABASE_URL", None)
    stack = local_stack(server.folder.parent / "stack", postgres=server, variables=ours, **options)
    try:
        stack.start()
        yield stack
    finally:
        stack.stop()


@contextmanager
def floor_worker(stack: LocalStack) -> Iterator[None]:
    """The floor's worker process, once it takes tasks."""
    variables: Mapping[str, str] = stack.environment["worker"] | stack.environment["migrations"]
    command = [sys.executable, "-m", "bench.floor_worker"]
    process = subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None  # noqa: S101
        if process.stdout.readline().strip() != READY:
            raise RuntimeError("the floor's worker did not start")
        yield
    finally:
        process.terminate()
        try:
            process.wait(_WORKER_ENDS_WITHIN_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
