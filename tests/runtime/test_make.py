"""The targets of the Makefile and what they say when something is missing."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from runtime.guardian import PROJECT

TARGETS = {"help", "demo", "up", "test", "check", "check-long", "bench", "clean"}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A bare checkout, in a folder with a space in its name."""
    folder = tmp_path / "a checkout"
    folder.mkdir()
    for name in ("Makefile", "requirements.lock"):
        shutil.copy(PROJECT / name, folder)
    shutil.copytree(PROJECT / "bin", folder / "bin")
    return folder


def run(folder: Path, *command: str, variables: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    # The make that runs these tests tells its children that they are such; a person's make has no such parent.
    own = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    environment = own if variables is None else dict(variables)
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_make_alone_lists_every_target(checkout: Path) -> None:
    listed = run(checkout, "make").stdout
    assert {line.split()[1] for line in listed.splitlines()} == TARGETS


def test_without_a_fitting_python_it_says_which_is_needed(checkout: Path, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in ("sh", "cat", "cksum", "dirname", "make"):
        found = shutil.which(tool)
        assert found is not None
        (tools / tool).symlink_to(found)
    old = tools / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")  # as an old one answers the question for its version
    old.chmod(0o755)
    refused = run(checkout, "make", "test", variables={"PATH": str(tools)})
    assert refused.returncode != 0
    assert refused.stderr.startswith("Python 3.11 to 3.14 is needed and none was found")
    assert not (checkout / ".venv").exists()


def test_clean_removes_local_data_but_not_under_a_running_stack(checkout: Path) -> None:
    (checkout / "var" / "postgres").mkdir(parents=True)
    state = checkout / "var" / "stack.json"
    state.write_text(json.dumps({"pid": os.getpid(), "addresses": {}}, indent=2))
    refused = run(checkout, "make", "clean")
    assert refused.returncode != 0
    assert refused.stderr.startswith(f"The local stack runs (process {os.getpid()}); stop it first.")
    assert state.exists()
    state.unlink()
    assert run(checkout, "make", "clean").returncode == 0
    assert {path.name for path in checkout.iterdir()} == {"Makefile", "requirements.lock", "bin"}


@pytest.mark.parametrize("place", ["{outside}", "/var/lib/liushui/postgres-x/../../../..{outside}"])
def test_clean_never_follows_a_data_folder_to_a_strange_place(checkout: Path, tmp_path: Path, place: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (checkout / "var" / "postgres").mkdir(parents=True)
    (checkout / "var" / "postgres" / "moved_to").write_text(place.format(outside=outside))
    assert run(checkout, "make", "clean").returncode == 0
    assert outside.exists()


def test_an_interruption_while_the_commands_load_shows_no_traceback() -> None:
    program = """
import os, runpy, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests in the background ignores it
class Interrupting:
    def find_spec(self, name, *_):
        if name == "cli.main":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupting())
runpy.run_module("cli", run_name="__main__")
"""
    ended = run(PROJECT, sys.executable, "-c", program)
    assert (ended.returncode, ended.stderr) == (-signal.SIGINT, "")
