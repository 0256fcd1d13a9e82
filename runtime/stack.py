"""The local stack: PostgreSQL, Temporal, codec server, bank simulator, both APIs and worker, each its own process.

`LocalStack` is for `make up`, `make demo` and end-to-end tests alike. Everything it keeps is in one folder
and survives a restart. Nothing outlives it: children lead their own process groups, a guardian ends them if
the supervisor is killed, and the next start ends what even that left behind.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from temporalio.common import SearchAttributeKey

from runtime.guardian import Guardian
from runtime.layout import PORT_NAMES, StackLayout
from runtime.parts import DatabasePart, Part, PartFailedError, Provision, StackStoppedError
from runtime.ports import PortBook
from runtime.postgres import EmbeddedPostgres
from runtime.processes import Mark, end, from_json, to_json
from runtime.secrets import load_or_create, write_private

ALL_PARTS = ("postgres", "temporal", "codec", "simulator", "api", "ops", "worker", "webhooks")
_STARTS = 3
_SUPERVISION_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 30.0
_STEADY_SECONDS = 60.0


class AlreadyRunningError(Exception):
    """A stack runs in this folder; `addresses` are its own."""

    def __init__(self, pid: int | None, addresses: Mapping[str, str]) -> None:
        super().__init__(f"the stack already runs here (process {pid})" if pid else "the stack is being started here")
        self.addresses = dict(addresses)


@dataclass
class _Fall:
    """A part that ended by itself: how often in a row, and when to start it again."""

    times: int = 0
    start_at: float = 0.0
    started_at: float = 0.0
    down: bool = False


class LocalStack:
    """One stack in one folder; methods block, and may be called with an event loop running.

    `overrides` are variables for one part, by its name. `variables` stand in for the process's environment:
    `DATABASE_URL` and a Temporal profile there replace the embedded servers.
    """

    def __init__(
        self,
        folder: Path,
        *,
        provision: Provision,
        search_attributes: Sequence[SearchAttributeKey[Any]] = (),
        parts: Sequence[str] = ALL_PARTS,
        overrides: Mapping[str, Mapping[str, str]] | None = None,
        variables: Mapping[str, str] | None = None,
        postgres: EmbeddedPostgres | None = None,
    ) -> None:
        self.folder = folder.resolve()
        self._names = tuple(parts)
        self._variables = dict(os.environ if variables is None else variables)
        self._overrides = overrides or {}
        self._search_attributes = search_attributes
        self._provision = provision
        self._server = postgres or EmbeddedPostgres(self.folder / "postgres")
        self._book = PortBook(self.folder / "ports.json")
        self._lock: TextIO | None = None
        self._stopping = threading.Event()
        self._changing = threading.Lock()
        self._marks: dict[str, Mark] = {}
        self._parts: dict[str, Part] = {}
        self._layout: StackLayout | None = None
        self._guardian: Guardian | None = None

    def start(self) -> None:
        """Returns when every part is well. Raises AlreadyRunningError, PartFailedError, StackStoppedError,
        LocalSecretsError; then nothing runs.
        """
        self._take_folder()
        try:
            self._end_leftovers()
            self._start_on_free_ports()
            self._write_state()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stops the parts in the reverse order of their start; leaves no process behind."""
        self._stop_parts()
        self._parts.clear()
        self._marks.clear()
        if self._lock is not None:
            self._record()
            (self.folder / "stack.json").unlink(missing_ok=True)
            self._lock.close()
            self._lock = None
        if self._guardian is not None:
            self._guardian.close()
        self._book.release()

    def _stop_parts(self) -> None:
        """One that cannot be stopped does not keep the others running."""
        errors: list[Exception] = []
        for name in reversed(ALL_PARTS):
            try:
                if name in self._parts:
                    self._parts[name].stop()
            except Exception as error:
                errors.append(error)
        if errors:
            raise errors[0]

    def ask_to_stop(self) -> None:
        """For a signal handler: a start under way and `supervise` return soon; `stop` is still to be called."""
        self._stopping.set()

    def kill(self, name: str) -> None:
        """SIGKILL to one part, as when its plug is pulled; it stays down until `restart`."""
        self._parts[name].kill()

    def restart(self, name: str) -> None:
        """Stops one part if it runs, and starts it again on the same ports and data."""
        part = self._parts[name]
        part.stop()
        with ThreadPoolExecutor(1) as pool:
            pool.submit(part.start, self._mark, self._stopping.is_set).result()

    def how_it_ended(self, name: str) -> str | None:
        """A few words when a part has ended, None while it runs."""
        return self._parts[name].how_it_ended()

    @property
    def addresses(self) -> dict[str, str]:
        """Where each listens: `api, api_docs, ops, temporal, temporal_ui, codec, simulator, worker_health`."""
        return self._laid_out().addresses

    @property
    def environment(self) -> dict[str, dict[str, str]]:
        """Variables of each process by part, and of `migrations`, which alone have the owners' URLs. Secret."""
        return {name: self._laid_out().environment_of(name) for name in (*ALL_PARTS, "migrations")}

    @property
    def admin_url(self) -> str:
        """The URL of the database administrator, for dumps and checks. Secret."""
        database = self._parts["postgres"]
        assert isinstance(database, DatabasePart)  # noqa: S101
        return database.admin_url

    @property
    def pids(self) -> dict[str, int]:
        """Process numbers of the parts, of PostgreSQL its postmaster's."""
        return {name: mark.pid for name, mark in self._marks.items() if mark.pid is not None}

    def supervise(self, say: Callable[[str], None]) -> None:
        """Until `ask_to_stop`: starts again what ended, after a pause that doubles while it keeps ending."""
        falls = {name: _Fall() for name in self._parts}
        while not self._stopping.wait(_SUPERVISION_SECONDS):
            if self._guardian is not None and not self._guardian.is_alive:
                self._record()
            for name, fall in falls.items():
                self._look_after(self._parts[name], fall, say)

    def _look_after(self, part: Part, fall: _Fall, say: Callable[[str], None]) -> None:
        ended, now = part.how_it_ended(), time.monotonic()
        if ended is None:
            return
        if not fall.down:
            fall.times = 0 if now - fall.started_at > _STEADY_SECONDS else fall.times
            pause = min(2.0**fall.times, _LONGEST_PAUSE_SECONDS)
            fall.times, fall.start_at, fall.down = fall.times + 1, now + pause, True
            say(f"The {part.title} ended ({ended}); starting it again in {pause:g} s.")
        elif now >= fall.start_at:
            fall.down, fall.started_at = False, now
            self._start_again(part, say)

    def _start_again(self, part: Part, say: Callable[[str], None]) -> None:
        try:
            self.restart(part.name)
            say(f"The {part.title} is back.")
        except StackStoppedError:
            pass
        except PartFailedError as error:
            say(str(error))

    def _take_folder(self) -> None:
        # Other accounts may look in but not write: PostgreSQL under root lives below as another account.
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o755)
        lock = (self.folder / "stack.lock").open("a")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            state = running_stack(self.folder)
            raise AlreadyRunningError(state.get("pid"), state.get("addresses", {})) from None
        self._lock = lock

    def _end_leftovers(self) -> None:
        try:
            end(from_json((self.folder / "processes.json").read_text()))
        except (OSError, ValueError, TypeError):
            return  # there was no stack before, or it ended in good order

    def _start_on_free_ports(self) -> None:
        for attempt in range(1, _STARTS + 1):
            self._lay_out()
            try:
                self._start_parts()
            except PartFailedError:
                lost = self._lost_ports()
                if not lost or attempt == _STARTS:
                    raise
            else:
                return

    def _lost_ports(self) -> list[str]:
        """Somebody took a port between our choice and the part's start: everything starts again on others."""
        self._stop_parts()
        return self._book.lost({name for part in self._parts.values() for name in part.ports})

    def _lay_out(self) -> None:
        used = (self.folder / "postgres").exists() or (self.folder / "temporal").exists()
        self._layout = StackLayout(
            folder=self.folder,
            ports=self._book.reserve(PORT_NAMES),
            secrets=load_or_create(self.folder / "secrets.json", data_exist=used),
            variables=self._variables,
            overrides=self._overrides,
            search_attributes=self._search_attributes,
        )
        parts = self._layout.parts(self._server, self._provision)
        self._parts = {name: parts[name] for name in ALL_PARTS if name in self._names and name in parts}
        self._guardian = self._guardian or Guardian(self._layout.log("guardian"), self._layout.plain_variables())

    def _start_parts(self) -> None:
        """All at once, each as soon as those are well that it needs."""
        started: dict[str, Future[None]] = {}
        failed = threading.Event()

        def run(part: Part) -> None:
            for needed in part.after:
                if needed in started:
                    started[needed].result()
            part.start(self._mark, lambda: failed.is_set() or self._stopping.is_set())

        with ThreadPoolExecutor(len(ALL_PARTS)) as pool:
            for name, part in self._parts.items():
                started[name] = pool.submit(run, part)
            try:
                _wait_for_first_error(set(started.values()))
            finally:
                failed.set()
        errors = [future.exception() for future in started.values()]
        for error in sorted(filter(None, errors), key=lambda found: isinstance(found, StackStoppedError)):
            raise error

    def _mark(self, mark: Mark) -> None:
        with self._changing:
            self._marks[mark.name] = mark
        self._record()

    def _record(self) -> None:
        """Tells the guardian, and the next start, which processes there are, in the order of stopping."""
        with self._changing:
            marks = [self._marks[name] for name in reversed(ALL_PARTS) if name in self._marks]
            (self.folder / "processes.json").write_text(to_json(marks) + "\n")
            if self._guardian is not None and marks:
                self._guardian.watch(marks)

    def _write_state(self) -> None:
        state = {"pid": os.getpid(), "addresses": self.addresses}
        write_private(self.folder / "stack.json", json.dumps(state, indent=2) + "\n")
        variables = {
            key: value for key, value in self.environment["api"].items() if key.startswith(("LIUSHUI_", "TEMPORAL_"))
        }
        write_private(self.folder / "environment.json", json.dumps(variables, indent=2) + "\n")

    def _laid_out(self) -> StackLayout:
        if self._layout is None:
            raise RuntimeError("the stack has not been started")
        return self._layout


def _wait_for_first_error(waiting: set[Future[None]]) -> None:
    """Returns when all have ended, or one has failed; wakes often, so that a Ctrl-C is noticed."""
    while waiting:
        done, waiting = wait(waiting, timeout=0.1, return_when=FIRST_COMPLETED)
        if any(future.exception() for future in done):
            return


def running_stack(folder: Path) -> dict[str, Any]:
    """`pid` and `addresses` of the stack that runs in a folder, or nothing."""
    try:
        found = json.loads((folder / "stack.json").read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def application_environment(folder: Path) -> dict[str, str]:
    """The variables that the institution's commands need to work on the stack of a folder. Secret."""
    try:
        found = json.loads((folder / "environment.json").read_text())
    except (OSError, ValueError):
        return {}
    return {str(key): str(value) for key, value in found.items()} if isinstance(found, dict) else {}
