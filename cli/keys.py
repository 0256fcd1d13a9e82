"""`liushui keys …`: the API keys of merchants. A key is shown once; only its hash is kept."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from cli.operators_api import ask
from cli.terminal import say, show
from storage.administration import SCOPES

app = typer.Typer(help="API keys: issue, revoke, list.", no_args_is_help=True)
MerchantId = Annotated[str, typer.Argument(help="mch_…")]


@app.command()
def issue(
    merchant_id: MerchantId,
    scopes: Annotated[str, typer.Option(help=f"With commas between them: {', '.join(SCOPES)}.")],
    label: Annotated[str, typer.Option(help="What it is for.")] = "",
    days: Annotated[
        int | None, typer.Option(min=1, max=3650, help="How long it is valid; without end if left out.")
    ] = None,
) -> None:
    """Prints a new key. This is the only time that it can be seen."""
    until = (datetime.now(UTC) + timedelta(days=days)).isoformat() if days else None
    wanted = [scope.strip() for scope in scopes.split(",") if scope.strip()]
    body = {"scopes": wanted, "label": label, "expires_at": until}
    made = ask(lambda ops: ops.post(f"/merchants/{merchant_id}/keys", body))
    say(made["key"], **made)


@app.command()
def revoke(key_id: Annotated[str, typer.Argument(help="key_…")]) -> None:
    """Refuses the key from now on."""
    made = ask(lambda ops: ops.post(f"/keys/{key_id}/revoke"))
    say(f"{key_id} is revoked", **made)


@app.command(name="list")
def list_(merchant_id: MerchantId) -> None:
    """Shows a merchant's keys, without their secrets."""
    columns = ("id", "label", "scopes", "created_at", "expires_at", "revoked_at")
    show(
        ask(lambda ops: ops.get(f"/merchants/{merchant_id}/keys"))["items"],
        "The merchant has no keys.",
        columns=columns,
    )
