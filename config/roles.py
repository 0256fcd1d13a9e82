"""Reads `config/roles.toml`; `domain.roles.RoleBook` gives it its types."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

_FILE = Path(__file__).resolve().parent / "roles.toml"


def read_roles(path: Path = _FILE) -> dict[str, Any]:
    """The values of the file, for `RoleBook.model_validate`. Raises ValueError, or OSError if it is not there."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path.name} cannot be read: {error}") from None
