"""`liushui partners …`: the registered banks (A0.4)."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.institution import ByWhoever, act_of, as_owner, say, show
from storage.administration import list_partners, set_partner_enabled

app = typer.Typer(help="Partner banks: list, enable, disable.", no_args_is_help=True)
Code = Annotated[str, typer.Argument(help="The bank's code, such as HBRB.")]


@app.command(name="list")
def list_() -> None:
    """Shows all partners."""
    show(as_owner(list_partners), "No partner is registered.")


@app.command()
def enable(code: Code, by: ByWhoever) -> None:
    """Takes new business again."""
    as_owner(lambda engine: set_partner_enabled(engine, act_of(by), code, enabled=True))
    say(f"{code} is enabled")


@app.command()
def disable(code: Code, by: ByWhoever) -> None:
    """Refuses new business; what was sent is finished."""
    as_owner(lambda engine: set_partner_enabled(engine, act_of(by), code, enabled=False))
    say(f"{code} is disabled")
