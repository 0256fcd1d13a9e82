"""`liushui merchants …`: who may offer the service to its users (A0.3)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from cli.operators_api import ask
from cli.terminal import say, show

app = typer.Typer(help="Merchants: create, list.", no_args_is_help=True)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="As payers are to see it.")],
    contract_days: Annotated[int, typer.Option(min=1, max=3650, help="How long the contract runs.")] = 365,
) -> None:
    """Creates a merchant with its accounts and prints its id."""
    until = (datetime.now(UTC) + timedelta(days=contract_days)).isoformat()
    made = ask(lambda ops: ops.post("/merchants", {"name": name, "contract_until": until}))
    say(made["id"], **made)


@app.command(name="list")
def list_() -> None:
    """Shows all merchants."""
    show(
        ask(lambda ops: ops.get("/merchants"))["items"],
        "There are no merchants yet: bin/liushui merchants create NAME",
    )
