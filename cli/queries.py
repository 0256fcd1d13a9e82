"""`liushui queries`: what operators look for in the Temporal UI every day, with addresses that can be opened."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer
from pydantic import BaseModel, ConfigDict, Field
from rich.console import Console

from cli.stack import DEFAULT_FOLDER
from config.settings import Origin, ProcessSettings, load_or_exit
from runtime.stack import running_stack
from runtime.temporal import connection

FILE = Path(__file__).resolve().parent.parent / "config" / "saved_queries.toml"
_BLANK = re.compile(r"\{([a-z_]+)\}")
# Nothing that could end the quotes of a query or be something else to a terminal.
_VALUE = re.compile(r"[^'\"`\\{}\x00-\x1f\x7f]{1,128}")


class QueryError(ValueError):
    """There is no such query, or it cannot be filled in; the message says what to type."""


class SavedQuery(BaseModel):
    """One query of `config/saved_queries.toml`; `{…}` in it is filled in by whoever asks."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title_zh: str = Field(min_length=1, max_length=60)
    title_en: str = Field(min_length=1, max_length=120)
    query: str = Field(min_length=1, max_length=1000)

    @property
    def blanks(self) -> Sequence[str]:
        """What has to be filled in."""
        return list(dict.fromkeys(_BLANK.findall(self.query)))

    def filled(self, values: Mapping[str, str]) -> str:
        """The query with these values. Raises QueryError if they are not those that it asks for."""
        if set(values) != set(self.blanks):
            wanted = " ".join(f"{name}=…" for name in self.blanks)
            raise QueryError(f"This query takes {wanted or 'no values'}")
        for name, value in values.items():
            if _VALUE.fullmatch(value) is None:
                raise QueryError(f"{name} is 1 to 128 characters without quotes, backslashes or braces")
        return _BLANK.sub(lambda blank: values[blank.group(1)], self.query)


class _UiSettings(ProcessSettings):
    """Where the Temporal UI is; on a local stack it is known without."""

    ui_origin: Origin | None = None


def read_queries(file: Path = FILE) -> dict[str, SavedQuery]:
    """All saved queries by name, in the order of the file. Raises pydantic's ValidationError for one that is wrong."""
    found = tomllib.loads(file.read_text(encoding="utf-8"))
    return {name: SavedQuery.model_validate(values) for name, values in found.items()}


def address_of(ui_origin: str, namespace: str, query: str) -> str:
    """The UI's list of what a query finds."""
    return f"{ui_origin}/namespaces/{quote(namespace, safe='')}/workflows?query={quote(query, safe='')}"


def queries(
    name: Annotated[str | None, typer.Argument(help="One of the names in the list.")] = None,
    values: Annotated[list[str] | None, typer.Argument(help="What it asks for, as in order=M-1001.")] = None,
) -> None:
    """Lists the saved queries of the Temporal UI, or prints the address of one."""
    screen = Console(highlight=False, markup=False, soft_wrap=True)
    try:
        if name is None:
            _list(screen)
        else:
            screen.print(_address(name, values or []))
    except QueryError as error:
        Console(stderr=True).print(f"{error}.", style="red", markup=False, soft_wrap=True)
        raise typer.Exit(1) from None


def _list(screen: Console) -> None:
    origin = ui_origin()
    for name, saved in read_queries().items():
        screen.print(f"{name}\n  {saved.title_zh} · {saved.title_en}")
        if saved.blanks:
            screen.print(f"  bin/liushui queries {name} {' '.join(f'{blank}=…' for blank in saved.blanks)}\n")
        else:
            screen.print(f"  {_address_at(origin, saved.query) if origin else saved.query}\n")


def _address(name: str, values: Sequence[str]) -> str:
    saved = read_queries().get(name)
    if saved is None:
        raise QueryError("There is no query of that name; bin/liushui queries lists them")
    query = saved.filled(dict(value.partition("=")[::2] for value in values))
    origin = ui_origin()
    if origin is None:
        raise QueryError("LIUSHUI_UI_ORIGIN is not set, and no local stack runs here (make up)")
    return _address_at(origin, query)


def _address_at(origin: str, query: str) -> str:
    return address_of(origin, connection()["namespace"], query)


def ui_origin() -> str | None:
    """Where the Temporal UI is, as far as it is known here."""
    configured = load_or_exit(_UiSettings).ui_origin
    found = configured or running_stack(DEFAULT_FOLDER).get("addresses", {}).get("temporal_ui")
    return str(found) if found else None
