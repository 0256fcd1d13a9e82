"""The institution's command line, `bin/liushui`; each command group is a Typer app in a file of its own."""

from __future__ import annotations

import sys
from pathlib import Path

import typer

from cli import approvals, keys, ledger, matters, merchants, partners
from cli.demo import demo
from cli.queries import queries
from cli.stack import up, use_local_stack

app = typer.Typer(
    name="liushui",
    add_completion=False,
    no_args_is_help=True,
    # A traceback with local variables would show what must not be shown.
    pretty_exceptions_enable=False,
)
app.command(name="up")(up)
app.command(name="demo")(demo)
app.command(name="queries")(queries)
app.add_typer(ledger.app, name="ledger")
app.add_typer(merchants.app, name="merchants")
app.add_typer(keys.app, name="keys")
app.add_typer(approvals.app, name="approvals")
app.add_typer(partners.app, name="partners")
app.add_typer(matters.app, name="matters")


# They bring a stack of their own; every other command works on one that is there.
_OWN_STACK = frozenset({"up", "demo"})


@app.callback()
def root(context: typer.Context) -> None:
    """Liushui: the payment pipelines of a non-bank payment institution."""
    if context.invoked_subcommand not in _OWN_STACK:
        use_local_stack()


def main() -> None:
    """Entry point of `python -m cli`."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    app(prog_name="bin/liushui")
