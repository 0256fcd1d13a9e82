"""The institution's command line, `bin/liushui`; each command group is a Typer app in a file of its own."""

from __future__ import annotations

import sys
from pathlib import Path

import typer

from cli.stack import up

app = typer.Typer(
    name="liushui",
    help="Liushui: the payment pipelines of a non-bank payment institution.",
    no_args_is_help=True,
    # A traceback with local variables would show what must not be shown.
    pretty_exceptions_enable=False,
)
app.command(name="up")(up)


@app.callback()
def _root() -> None:
    """Keeps `up` a named command while it is the only one."""


def main() -> None:
    """Entry point of `python -m cli`."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    app()
