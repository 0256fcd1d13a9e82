"""The institution's command line, `bin/liushui`; each command group is a Typer app in a file of its own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from cli import (
    approvals,
    calendars,
    closures,
    decisions,
    disputes,
    fx,
    inbounds,
    keys,
    ledger,
    matters,
    merchants,
    operators,
    partners,
    payments,
    payouts,
    retention,
    reviews,
    screening,
    sessions,
    settlements,
    signing_keys,
    users,
)
from cli.backups import backup, restore
from cli.demo import demo
from cli.institution import register_again
from cli.local_credentials import credentials
from cli.queries import queries
from cli.records import records
from cli.stack import up, use_local_stack
from cli.terminal import choices


class AnywhereGroup(TyperGroup):
    """Takes --as LOGIN and --json wherever they stand, also behind the command."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Moves them to the front; what comes after `--` is left alone."""
        front: list[str] = []
        rest: list[str] = []
        words = iter(args)
        for word in words:
            if word == "--":
                rest += [word, *words]
            elif word == "--json" or word.startswith("--as="):
                front.append(word)
            elif word == "--as":
                front += [word, *[value for value in [next(words, None)] if value is not None]]
            else:
                rest.append(word)
        return super().parse_args(ctx, front + rest)


app = typer.Typer(
    name="liushui",
    cls=AnywhereGroup,
    add_completion=False,
    no_args_is_help=True,
    # A traceback with local variables would show what must not be shown.
    pretty_exceptions_enable=False,
)
app.command(name="up")(up)
app.command(name="demo")(demo)
app.command(name="backup")(backup)
app.command(name="restore")(restore)
app.command(name="login")(sessions.login)
app.command(name="logout")(sessions.logout)
app.command(name="me")(sessions.me)
app.command(name="password")(sessions.password)
app.command(name="redeem")(sessions.redeem)
app.add_typer(payments.app, name="payments")
app.add_typer(payouts.app, name="payouts")
app.add_typer(reviews.app, name="reviews")
app.add_typer(fx.app, name="fx")
app.add_typer(inbounds.app, name="inbounds")
app.add_typer(matters.app, name="matters")
app.add_typer(matters.cases, name="cases")
app.command(name="records")(records)
app.add_typer(users.app, name="users")
app.add_typer(closures.app, name="closures")
app.add_typer(disputes.app, name="disputes")
app.add_typer(retention.app, name="retention")
app.add_typer(decisions.app, name="decisions")
app.command(name="withdraw")(decisions.withdraw)
app.command(name="freeze")(decisions.freeze)
app.command(name="release")(decisions.release)
app.command(name="suspend")(decisions.suspend)
app.command(name="resume")(decisions.resume)
app.add_typer(approvals.app, name="approvals")
app.add_typer(screening.app, name="screening")
app.add_typer(partners.app, name="partners")
app.add_typer(calendars.app, name="calendars")
app.add_typer(settlements.app, name="settlements")
app.add_typer(calendars.banks, name="banks")
app.add_typer(merchants.app, name="merchants")
app.add_typer(keys.app, name="keys")
app.add_typer(signing_keys.app, name="signing-keys")
app.add_typer(operators.app, name="operators")
app.add_typer(ledger.app, name="ledger")
app.command(name="queries")(queries)
app.command(name="credentials")(credentials)


@app.command()
def register() -> None:
    """As the owner of the database: takes over what was changed in config/ (banks, agreement, roles, decisions)."""
    register_again()
    typer.echo("The institution is registered as config/ says.")


# They bring a stack of their own, or work on one that does not run; every other command works on one that is there.
_OWN_STACK = frozenset({"up", "demo", "backup", "restore"})


@app.callback()
def root(
    context: typer.Context,
    as_: Annotated[
        str | None,
        typer.Option(
            "--as", envvar="LIUSHUI_OPERATOR", metavar="LOGIN", help="As whom; a local stack logs in by itself."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Answers in JSON.")] = False,
) -> None:
    """Liushui: the payment pipelines of a non-bank payment institution."""
    choices.login, choices.as_json = as_, as_json
    if context.invoked_subcommand not in _OWN_STACK:
        use_local_stack()


def main() -> None:
    """Entry point of `python -m cli`."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    app(prog_name="bin/liushui")
