"""What the rules are about: the files that git keeps or would keep."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]


@cache
def files() -> tuple[Path, ...]:
    """Everything under version control, and what is new and not ignored."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=PROJECT, capture_output=True, check=True).stdout.decode().split("\0")
    return tuple(path for name in sorted(filter(None, listed)) if (path := PROJECT / name).is_file())


def python(*rooms: str) -> Iterator[tuple[str, ast.Module]]:
    """Python files, by their names from the top; of these rooms only, if any are named."""
    for path in files():
        name = path.relative_to(PROJECT).as_posix()
        if path.suffix == ".py" and (not rooms or name.startswith(tuple(f"{room}/" for room in rooms))):
            yield name, ast.parse(path.read_text(encoding="utf-8"))
