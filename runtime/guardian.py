"""Ends the parts of a local stack when their supervisor dies without doing so, even by `kill -9`.

A small process of its own (`python -m runtime.guardian`): it reads from its supervisor, a line at a time,
which processes there are. The end of that input means that the supervisor is gone; then it ends whatever the
last line named.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from runtime.processes import Mark, end, from_json, to_json

PROJECT = Path(__file__).resolve().parent.parent


class Guardian:
    """The supervisor's end. A guardian that was killed is replaced at the next `watch`."""

    def __init__(self, log: Path, environment: Mapping[str, str]) -> None:
        self._log = log
        self._environment = dict(environment)
        self._process: subprocess.Popen[str] | None = None

    def watch(self, marks: Sequence[Mark]) -> None:
        """From now on these are to be ended, in this order, should we die."""
        line = to_json(marks) + "\n"
        try:
            self._write(line)
        except BrokenPipeError:
            self.close()
            self._write(line)

    @property
    def is_alive(self) -> bool:
        """Whether it is there to do its duty."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        """Process number, once it runs."""
        return self._process.pid if self._process else None

    def close(self) -> None:
        """Nothing is left to end: lets the guardian go."""
        process, self._process = self._process, None
        if process is None or process.stdin is None:
            return
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(to_json([]) + "\n")
            process.stdin.close()
        process.wait()

    def _write(self, line: str) -> None:
        if self._process is None or self._process.poll() is not None:
            self._process = self._start()
        assert self._process.stdin is not None  # noqa: S101
        self._process.stdin.write(line)
        self._process.stdin.flush()

    def _start(self) -> subprocess.Popen[str]:
        with self._log.open("a") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "runtime.guardian"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=PROJECT,
                env=self._environment,
                start_new_session=True,
                text=True,
            )


def main() -> None:
    """Outlives the signals of a terminal; only the end of its input counts."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    marks: list[Mark] = []
    for line in sys.stdin:
        if line.endswith("\n"):  # a line that broke off with its writer says nothing
            marks = from_json(line)
    end(marks)


if __name__ == "__main__":
    main()
