"""A screening list as a file: CSV with `key,kind,names,birth_date,country,id_numbers`; `|` parts several of one."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

COLUMNS = ("key", "kind", "names", "birth_date", "country", "id_numbers")
_SEVERAL = ("names", "id_numbers")


class ListFileError(ValueError):
    """The file is no such list; the message says where, and holds nobody's name."""


def read_list_file(path: Path) -> list[dict[str, Any]]:
    """Its entries as the operators' API takes them, unchecked but for the columns. Raises ListFileError."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file, strict=True)
            if missing := [name for name in COLUMNS[:3] if name not in (rows.fieldnames or ())]:
                raise ListFileError(f"{path.name} lacks the columns {', '.join(missing)}")
            return [_entry(row, number, path) for number, row in enumerate(rows, start=2)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ListFileError(f"{path.name} cannot be read: {type(error).__name__}") from None


def _entry(row: dict[Any, Any], number: int, path: Path) -> dict[str, Any]:
    if None in row or None in row.values():
        raise ListFileError(f"{path.name}, line {number}: another number of columns than in the first line")
    given = {name: str(row.get(name, "")).strip() for name in COLUMNS}
    several = {name: [part.strip() for part in given[name].split("|") if part.strip()] for name in _SEVERAL}
    single = {name: given[name] for name in COLUMNS if name not in _SEVERAL and given[name]}
    return {name: value for name, value in (single | several).items() if value}
