"""`liushui merchants …`: who may offer the service to its users (A0.3)."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import typer
from sqlalchemy.ext.asyncio import AsyncEngine

from cli.institution import ByWhoever, act_of, as_owner, say, show
from domain.identifiers import IdPrefix, identifier
from runtime.id_source import UlidSource
from storage.administration import create_merchant, list_merchants, set_merchant_state

app = typer.Typer(help="Merchants: create, suspend, resume, list.", no_args_is_help=True)
MerchantId = Annotated[str, typer.Argument(help="mch_…")]


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="As payers are to see it.")],
    by: ByWhoever,
    contract_days: Annotated[int, typer.Option(min=1, max=3650, help="How long the contract runs.")] = 365,
) -> None:
    """Creates a merchant with its accounts and prints its id."""
    merchant_id = identifier(IdPrefix.MERCHANT, UlidSource().ulid())

    async def work(engine: AsyncEngine) -> None:
        act = act_of(by)
        await create_merchant(engine, act, merchant_id, name, act.at + timedelta(days=contract_days))

    as_owner(work)
    say(merchant_id)


@app.command()
def suspend(merchant_id: MerchantId, by: ByWhoever) -> None:
    """Refuses new instructions of all its users; what was accepted is finished."""
    as_owner(lambda engine: set_merchant_state(engine, act_of(by), merchant_id, "suspended"))
    say(f"{merchant_id} is suspended")


@app.command()
def resume(merchant_id: MerchantId, by: ByWhoever) -> None:
    """Takes instructions again."""
    as_owner(lambda engine: set_merchant_state(engine, act_of(by), merchant_id, "active"))
    say(f"{merchant_id} is active")


@app.command(name="list")
def list_() -> None:
    """Shows all merchants."""
    show(as_owner(list_merchants), "There are no merchants yet: liushui merchants create NAME")
