"""`make demo` and the line that `make up` prints, as a newcomer runs them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runtime.guardian import PROJECT
from runtime.processes import from_json, is_alive

_START_SECONDS = 90.0


@contextmanager
def command(name: str, folder: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """The command on a stack in `folder`, and the file with all that it prints; ended at the end."""
    said = folder.with_suffix(".said")
    with said.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "cli", name, "--folder", str(folder)],
            cwd=PROJECT,
            env={key: value for key, value in os.environ.items() if not key.startswith("LIUSHUI_")},
            stdout=file,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            yield process, said
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)


def wait_for(text: str, said: Path) -> str:
    """What was said, once it holds the text."""
    deadline = time.monotonic() + _START_SECONDS
    while text not in (found := said.read_text()):
        assert time.monotonic() < deadline, found
        time.sleep(0.1)
    return found


def left_behind(folder: Path) -> list[str]:
    """Parts of the stack that still run."""
    return [mark.name for mark in from_json((folder / "processes.json").read_text()) if is_alive(mark)]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Of one stack, with a space in its name. Under root the database may have had to live elsewhere."""
    yield tmp_path / "a stack"
    moved_to = tmp_path / "a stack" / "postgres" / "moved_to"
    if moved_to.exists():
        shutil.rmtree(moved_to.read_text().strip())


@pytest.mark.long
@pytest.mark.timeout(180)
def test_the_line_that_up_prints_registers_a_user_when_pasted(folder: Path) -> None:
    with command("up", folder) as (_, said):
        printed = wait_for("Ctrl-C stops everything.", said)
        line = next(line for line in printed.splitlines() if line.startswith("curl "))
        pasted = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=True)
        assert json.loads(pasted.stdout)["state"] == "active"
        kept = folder / "demo_merchant.json"
        assert json.loads(kept.read_text())["key"] not in printed
        assert {path.stat().st_mode & 0o777 for path in folder.glob("demo_merchant.*")} == {0o600}
    assert left_behind(folder) == []


@pytest.mark.long
@pytest.mark.timeout(600)
def test_the_demo_comes_out_as_expected_also_after_one_that_was_interrupted(folder: Path) -> None:
    with command("demo", folder) as (process, said):
        wait_for("the card is open", said)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert said.read_text().rstrip().endswith("Stopped before the end.")
    assert left_behind(folder) == []
    with command("demo", folder) as (process, said):
        code = process.wait(300)
        told = said.read_text()
    assert code == 0, told
    assert told.rstrip().endswith("Everything came out as expected.")
    assert "The ledger is sound." in told
    [certificate] = (folder / "papers").glob("cls_*.html")
    assert str(certificate) in told
    assert "Certificate of account closure" in certificate.read_text(encoding="utf-8")
    assert "nothing in 7 places" in told
    assert left_behind(folder) == []
