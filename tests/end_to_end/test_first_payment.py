"""`docs/merchants/first_payment.md` as a newcomer follows it: every line of it is run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cli import demo_merchant
from runtime.guardian import PROJECT
from runtime.stack import LocalStack
from tests.end_to_end.world import World

DOCUMENT = (PROJECT / "docs" / "merchants" / "first_payment.md").read_text(encoding="utf-8")
# Pasted at Python's prompt, where an empty line ends a block.
TYPED = "import code, sys; prompt = code.InteractiveConsole(); [prompt.push(line.rstrip('\\n')) for line in sys.stdin]"


def lines_of(language: str, document: str = DOCUMENT) -> str:
    """All blocks of a language, one after the other."""
    return "\n".join(re.findall(rf"^```{language}\n(.*?)^```", document, re.MULTILINE | re.DOTALL))


@pytest.fixture
def checkout(stack: LocalStack, tmp_path: Path) -> Path:
    """A folder in which `var/` is that of the running stack, as in a checkout."""
    demo_merchant.keep_one(stack.folder, stack.addresses)
    (tmp_path / "var").symlink_to(stack.folder)
    return tmp_path


def run(command: list[str], text: str, checkout: Path) -> str:
    """What is printed; nothing may be said on the side, and nothing may go wrong."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LIUSHUI_")}
    ended = subprocess.run(
        command,
        input=text,
        cwd=checkout,
        env=environment | {"PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, ""), ended.stdout
    return ended.stdout


async def test_the_python_of_the_first_payment_runs_to_its_end(world: World, checkout: Path) -> None:
    said = run([sys.executable, "-W", "error", "-c", TYPED], lines_of("python"), checkout).splitlines()
    assert "succeeded 0" in said
    assert "open" in said
    assert sum(line.startswith("succeeded ") for line in said) == 2
    assert "payment.succeeded" in "\n".join(said)
    assert any("金额 128.00 CNY，收款方为「海棠书店」" in line for line in said)
    assert await world.wrong() == []


@pytest.mark.parametrize("shell", [pytest.param("bash", marks=pytest.mark.long), "sh"])
async def test_the_lines_of_curl_run_to_their_end(world: World, checkout: Path, shell: str) -> None:
    said = run([shell, "-eu"], lines_of("sh"), checkout).splitlines()
    assert said[-1] == "succeeded"
    assert await world.wrong() == []
