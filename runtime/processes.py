"""Processes of the local stack: how one is recognised for certain, and how it is ended.

A process is named by its number together with the instant it began, because numbers are given out again.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

_PROC = Path("/proc")
_POLL_SECONDS = 0.02
_KILL_SECONDS = 10.0
# A server that was being started when the supervisor died writes its number down within this time.
_PID_FILE_SECONDS = 3.0


@dataclass(frozen=True)
class Mark:
    """One process to end: by number and beginning, or (PostgreSQL forks away) by the file with its number.

    A process found through a file is taken for ours only if its command line names `folder`.
    """

    name: str
    stop_signal: int = signal.SIGTERM
    grace_seconds: float = 10.0
    pid: int | None = None
    began: str | None = None
    leads_group: bool = True
    pid_file: str | None = None
    folder: str | None = None


def mark_of(name: str, pid: int, grace_seconds: float) -> Mark:
    """Marks a process of ours that leads its own group."""
    return Mark(name=name, grace_seconds=grace_seconds, pid=pid, began=began(pid))


def began(pid: int) -> str | None:
    """What tells this process from any other with its number; None when it is gone or waits to be reaped."""
    if _PROC.joinpath("self/stat").exists():
        return _began_by_proc(pid)
    shown = _ps(pid, "stat=,lstart=").split(maxsplit=1)
    return shown[1].strip() if len(shown) == 2 and not shown[0].startswith("Z") else None


def command_line(pid: int) -> str:
    """The command line, or nothing when the process is gone."""
    try:
        return (_PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return "" if _PROC.joinpath("self/stat").exists() else _ps(pid, "command=")


def is_alive(mark: Mark) -> bool:
    """Whether the very process that was marked still runs."""
    pid = _pid(mark)
    if mark.pid is None:
        return pid is not None
    return mark.began is not None and began(mark.pid) == mark.began


def end(marks: Sequence[Mark]) -> None:
    """Ends what still runs of the marked, in this order: a signal, the time of grace, then SIGKILL."""
    for mark in marks:
        if mark.pid_file is not None:
            _wait_for_pid_file(mark)
        if is_alive(mark):
            _signal(mark, mark.stop_signal)
            if not _gone_within(mark, mark.grace_seconds):
                _signal(mark, signal.SIGKILL)
                _gone_within(mark, _KILL_SECONDS)


def to_json(marks: Sequence[Mark]) -> str:
    """One line."""
    return json.dumps([asdict(mark) for mark in marks])


def from_json(text: str) -> list[Mark]:
    """Raises ValueError or TypeError when it is not what `to_json` wrote."""
    return [Mark(**fields) for fields in json.loads(text)]


def tail(path: Path, position: int, limit: int = 2000) -> str:
    """The end of what a log got since `position`."""
    try:
        with path.open("rb") as file:
            file.seek(max(position, path.stat().st_size - limit))
            return file.read().decode(errors="replace").strip()
    except OSError:
        return ""


def _pid(mark: Mark) -> int | None:
    if mark.pid_file is None:
        return mark.pid
    try:
        pid = int(Path(mark.pid_file).read_text().split(maxsplit=1)[0])
    except (OSError, ValueError, IndexError):
        return None
    ours = began(pid) is not None and mark.folder is not None and mark.folder in command_line(pid)
    return pid if ours else None


def _wait_for_pid_file(mark: Mark) -> None:
    deadline = time.monotonic() + _PID_FILE_SECONDS
    while not is_alive(mark) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)


def _signal(mark: Mark, number: int) -> None:
    pid = _pid(mark)
    with contextlib.suppress(ProcessLookupError):
        if pid is not None and number == signal.SIGKILL and mark.leads_group:
            os.killpg(pid, number)
        elif pid is not None:
            os.kill(pid, number)


def _gone_within(mark: Mark, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while is_alive(mark):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def _began_by_proc(pid: int) -> str | None:
    try:
        # The name in brackets may hold spaces; the state follows it, and the start in clock ticks is 19
        # fields on.
        fields = (_PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
    return None if fields[0] in {"Z", "X"} else f"{boot}/{fields[19]}"


def _ps(pid: int, columns: str) -> str:
    command = ["ps", "-o", columns, "-p", str(pid)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout  # noqa: S603
