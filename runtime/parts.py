"""A part of the local stack: something that is started, asked whether it is well, stopped or killed."""

from __future__ import annotations

import asyncio
import http.client
import os
import signal
import socket
import subprocess
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from runtime.guardian import PROJECT
from runtime.ports import is_free
from runtime.postgres import EmbeddedPostgres, PostgresStartError
from runtime.processes import Mark, began, is_alive, mark_of, tail

START_LIMIT_SECONDS = 60.0
_PROBE_SECONDS = 2.0
# SIGINT is PostgreSQL's fast stop: it ends the sessions and writes everything out.
_FAST_STOP = signal.SIGINT
_DATABASE_GRACE_SECONDS = 30.0
_POLL_SECONDS = 0.03
_MAX_LOG_BYTES = 50 * 1024 * 1024

Environment = Callable[[], Mapping[str, str]]
Probe = Callable[[], None]
# Takes the admin URL and the passwords of the roles by name; creates roles and
# databases, migrates, and answers their URLs.
Provision = Callable[[str, Mapping[str, str]], Awaitable[Mapping[str, str]]]


class PartFailedError(Exception):
    """A part did not come up; the message names it, says what it printed last and where its log is."""

    def __init__(self, title: str, reason: str, printed: str, log: Path | None) -> None:
        lines = [f"The {title} did not come up: {reason}."]
        if printed:
            lines += ["It printed last:", *(f"    {line}" for line in printed.splitlines()[-12:])]
        if log is not None:
            lines.append(f"Its log is {log}.")
        super().__init__("\n".join(lines))


class StackStoppedError(Exception):
    """The stack was told to stop while it was starting."""


class Part(Protocol):
    """One part; `name` is the word by which it is killed or restarted, `title` what a person calls it."""

    @property
    def name(self) -> str: ...

    @property
    def title(self) -> str: ...

    @property
    def after(self) -> Sequence[str]: ...

    @property
    def ports(self) -> Mapping[str, int]: ...

    def start(self, report: Callable[[Mark], None], stopping: Callable[[], bool]) -> None: ...

    def stop(self) -> None: ...

    def kill(self) -> None: ...

    def how_it_ended(self) -> str | None: ...


class ChildPart:
    """A process that leads its own group, so that a Ctrl-C in the terminal reaches the supervisor alone."""

    def __init__(
        self,
        name: str,
        title: str,
        command: Sequence[str],
        *,
        environment: Environment,
        probe: Probe,
        log: Path,
        after: Sequence[str] = (),
        ports: Mapping[str, int] | None = None,
        prepare: Callable[[], None] | None = None,
        grace_seconds: float = 10.0,
        limit_seconds: float = START_LIMIT_SECONDS,
    ) -> None:
        self.name, self.title, self.after, self.ports = name, title, after, ports or {}
        self._command, self._environment, self._log = command, environment, log
        self._probe, self._prepare = probe, prepare
        self._grace_seconds, self._limit_seconds = grace_seconds, limit_seconds
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, report: Callable[[Mark], None], stopping: Callable[[], bool]) -> None:
        """Returns when the part is well. Raises PartFailedError or StackStoppedError; nothing then runs."""
        for port in self.ports.values():
            if not is_free(port):  # else whoever listens there might answer for a part that never came up
                raise PartFailedError(self.title, f"somebody else listens at its port {port}", "", None)
        position = self._spawn()
        try:
            assert self._process is not None  # noqa: S101
            report(mark_of(self.name, self._process.pid, self._grace_seconds))
            self._wait_until_well(position, stopping)
            if self._prepare is not None:
                self._run_prepare(position)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """SIGTERM, the time of grace, SIGKILL to the group."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(self._grace_seconds)
            except subprocess.TimeoutExpired:
                self.kill()
        self._process = None

    def kill(self) -> None:
        """SIGKILL to the group, as when the plug is pulled."""
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def how_it_ended(self) -> str | None:
        """A few words when the process has ended, None while it runs."""
        code = self._process.poll() if self._process else 0
        if code is None:
            return None
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"

    def _spawn(self) -> int:
        self._log.parent.mkdir(parents=True, exist_ok=True)
        if self._log.exists() and self._log.stat().st_size > _MAX_LOG_BYTES:
            self._log.replace(self._log.with_suffix(".old.log"))
        with self._log.open("ab") as log:
            position = log.tell()  # before the start: the child shares the place in the file, and may be quick
            self._process = subprocess.Popen(  # noqa: S603
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=PROJECT,
                env=dict(self._environment()),
                start_new_session=True,
            )
        return position

    def _wait_until_well(self, position: int, stopping: Callable[[], bool]) -> None:
        begun = time.monotonic()
        last: Exception | None = None
        while time.monotonic() - begun < self._limit_seconds:
            if stopping():
                raise StackStoppedError
            if (ended := self.how_it_ended()) is not None:
                raise self._failed(f"it ended ({ended}) after {time.monotonic() - begun:.1f} s", position)
            try:
                self._probe()
            except (OSError, http.client.HTTPException) as error:
                last = error
                time.sleep(_POLL_SECONDS)
            else:
                return
        raise self._failed(f"it was not well within {self._limit_seconds:g} s ({last})", position)

    def _run_prepare(self, position: int) -> None:
        assert self._prepare is not None  # noqa: S101
        try:
            self._prepare()
        except Exception as error:
            raise self._failed(str(error), position) from error

    def _failed(self, reason: str, position: int) -> PartFailedError:
        return PartFailedError(self.title, reason, tail(self._log, position), self._log)


class RemotePart:
    """A server of somebody else: made fit for use, never started, stopped or killed."""

    after: Sequence[str] = ()
    ports: Mapping[str, int] = MappingProxyType({})

    def __init__(self, name: str, title: str, address: str, prepare: Callable[[], None]) -> None:
        self.name, self.title, self._address, self._prepare = name, title, address, prepare

    def start(self, report: Callable[[Mark], None], stopping: Callable[[], bool]) -> None:
        """Returns when it is reached and prepared. Raises PartFailedError."""
        try:
            self._prepare()
        except Exception as error:
            raise PartFailedError(f"{self.title} at {self._address}", str(error), "", None) from error

    def stop(self) -> None:
        """Leaves it alone."""

    def kill(self) -> None:
        """Leaves it alone."""

    def how_it_ended(self) -> str | None:
        """Its keeper knows."""
        return None


class DatabasePart:
    """PostgreSQL: the embedded server, or one that is there already; then roles, databases and migrations."""

    name, title = "postgres", "database"
    after: Sequence[str] = ()
    ports: Mapping[str, int] = MappingProxyType({})

    def __init__(self, server: EmbeddedPostgres | str, provision: Provision, passwords: Mapping[str, str]) -> None:
        self._server, self._provision, self._passwords = server, provision, passwords
        self.urls: Mapping[str, str] = {}
        self._running: Mark | None = None

    @property
    def admin_url(self) -> str:
        """Of the superuser or of `DATABASE_URL`; holds a password."""
        return self._server if isinstance(self._server, str) else self._server.admin_url

    def start(self, report: Callable[[Mark], None], stopping: Callable[[], bool]) -> None:
        """Returns when both databases are at their newest revision."""
        try:
            if isinstance(self._server, EmbeddedPostgres):
                report(_mark_of_starting(self._server))
                self._server.start()
                self._running = _mark_of_running(self._server)
                report(self._running)
            if stopping():
                raise StackStoppedError
            self.urls = asyncio.run(self._provided())
        except StackStoppedError:
            self.stop()
            raise
        except Exception as error:
            self.stop()
            log = self._server.folder / "server.log" if isinstance(self._server, EmbeddedPostgres) else None
            reason = str(error) if isinstance(error, PostgresStartError) else f"{type(error).__name__}: {error}"
            raise PartFailedError(self.title, reason, "", log) from error

    async def _provided(self) -> Mapping[str, str]:
        return await self._provision(self.admin_url, self._passwords)

    def stop(self) -> None:
        """Stops the embedded server; another server is left alone."""
        if isinstance(self._server, EmbeddedPostgres):
            self._server.stop()

    def kill(self) -> None:
        """SIGKILL to the embedded server."""
        if isinstance(self._server, EmbeddedPostgres):
            self._server.kill()

    def how_it_ended(self) -> str | None:
        """A few words when the embedded server is down."""
        if isinstance(self._server, str) or (self._running is not None and is_alive(self._running)):
            return None
        return "its server is down"


def http_probe(port: int, path: str = "/health") -> Probe:
    """Well when it answers 200."""

    def probe() -> None:
        line = http.client.HTTPConnection("127.0.0.1", port, timeout=_PROBE_SECONDS)
        try:
            line.request("GET", path)
            status = line.getresponse().status
            if status != http.HTTPStatus.OK:
                raise http.client.HTTPException(f"{path} answers {status}")
        finally:
            line.close()

    return probe


def port_probe(port: int) -> Probe:
    """Well when somebody listens."""

    def probe() -> None:
        socket.create_connection(("127.0.0.1", port), timeout=_PROBE_SECONDS).close()

    return probe


def _mark_of_starting(server: EmbeddedPostgres) -> Mark:
    """For the moment when the server may be there already but its number is not known: whoever wrote the file."""
    data = server.folder / "data"
    pid_file = str(data / "postmaster.pid")
    return Mark("postgres", _FAST_STOP, _DATABASE_GRACE_SECONDS, leads_group=False, pid_file=pid_file, folder=str(data))


def _mark_of_running(server: EmbeddedPostgres) -> Mark:
    pid = int((server.folder / "data" / "postmaster.pid").read_text().split(maxsplit=1)[0])
    return Mark("postgres", _FAST_STOP, _DATABASE_GRACE_SECONDS, pid=pid, began=began(pid), leads_group=False)
