"""The commands in the operators' guides are those that there are, and the pictures are there and small."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from cli.main import app

PAGE = Path(__file__).resolve().parents[2] / "docs" / "operators.md"
TEXT = PAGE.read_text(encoding="utf-8")
GUIDES = "".join(path.read_text(encoding="utf-8") for path in sorted((PAGE.parent / "operators").glob("*.md")))
# In blocks and in tables; an answer's "bin/liushui …" after a colon is a command as well.
COMMANDS = sorted(set(re.findall(r"bin/liushui ((?:--as su )?[a-z][^`#\n|\\]*)", TEXT + GUIDES)))


def test_the_page_shows_commands() -> None:
    assert len(COMMANDS) > 25


@pytest.mark.parametrize("line", COMMANDS)
def test_each_command_on_the_page_is_one(line: str) -> None:
    words = shlex.split(line.removeprefix("--as su "))
    command: Any = typer.main.get_command(app)
    while hasattr(command, "commands") and words:
        assert words[0] in command.commands, f"bin/liushui {line}"
        command = command.commands[words.pop(0)]
    known = {option for each in command.params for option in (*each.opts, *each.secondary_opts)}
    assert {word for word in words if word.startswith("--")} <= known | {"--help", "--as"}, f"bin/liushui {line}"


def test_each_picture_is_there_and_small() -> None:
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", TEXT)
    assert len(pictures) >= 7
    for picture in pictures:
        file = PAGE.parent / picture
        assert 0 < file.stat().st_size < 200_000, picture
