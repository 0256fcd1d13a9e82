"""`liushui keys …`: the API keys of merchants. A key is shown once; only its hash is kept."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import typer
from sqlalchemy.ext.asyncio import AsyncEngine

from cli.institution import ByWhoever, act_of, as_owner, say, show
from runtime.id_source import UlidSource
from storage.administration import SCOPES, issue_key, list_keys, revoke_key

app = typer.Typer(help="API keys: issue, revoke, list.", no_args_is_help=True)


@app.command()
def issue(
    merchant_id: Annotated[str, typer.Argument(help="mch_…")],
    scopes: Annotated[str, typer.Option(help=f"With commas between them: {', '.join(SCOPES)}.")],
    by: ByWhoever,
    label: Annotated[str, typer.Option(help="What it is for.")] = "",
    days: Annotated[
        int | None, typer.Option(min=1, max=3650, help="How long it is valid; without end if left out.")
    ] = None,
) -> None:
    """Prints a new key. This is the only time that it can be seen."""
    wanted = [scope.strip() for scope in scopes.split(",") if scope.strip()]

    async def work(engine: AsyncEngine) -> str:
        act = act_of(by)
        until = act.at + timedelta(days=days) if days else None
        ulid = UlidSource().ulid()
        return await issue_key(engine, act, ulid, merchant_id, wanted, label=label, expires_at=until)

    say(as_owner(work))


@app.command()
def revoke(key_id: Annotated[str, typer.Argument(help="key_…")], by: ByWhoever) -> None:
    """Refuses the key from now on."""
    as_owner(lambda engine: revoke_key(engine, act_of(by), key_id))
    say(f"{key_id} is revoked")


@app.command(name="list")
def list_(merchant_id: Annotated[str, typer.Argument(help="mch_…")]) -> None:
    """Shows a merchant's keys, without their secrets."""
    show(as_owner(lambda engine: list_keys(engine, merchant_id)), "The merchant has no keys.")
