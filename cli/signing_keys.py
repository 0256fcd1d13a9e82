"""`liushui signing-keys …`: the public keys by which merchants sign their instructions (A3.2b)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.operators_api import ask
from cli.terminal import end, say, show

app = typer.Typer(help="Public keys of merchants: register, revoke, list.", no_args_is_help=True)
MerchantId = Annotated[str, typer.Argument(help="mch_…")]
_LARGEST_FILE = 4096


@app.command()
def register(
    merchant_id: MerchantId,
    file: Annotated[Path, typer.Argument(help="The public key as PEM, or for Ed25519 its 32 bytes in base64.")],
    label: Annotated[str, typer.Option(help="What it is for.")] = "first key",
    algorithm: Annotated[str, typer.Option(help="ed25519 or ecdsa-p256-sha256.")] = "ed25519",
) -> None:
    """Registers a merchant's key, the first one above all; it registers the others itself."""
    try:
        public_key = file.read_text("ascii")[:_LARGEST_FILE].strip()
    except (OSError, ValueError):
        end(f"{file} cannot be read as a public key.")
    body = {"public_key": public_key, "label": label, "algorithm": algorithm}
    made = ask(lambda ops: ops.post(f"/merchants/{merchant_id}/signing-keys", body))
    say(made["id"], **made)


@app.command()
def revoke(merchant_id: MerchantId, key_id: Annotated[str, typer.Argument(help="sgk_…")]) -> None:
    """Refuses its signatures from now on, also if it is the last one."""
    made = ask(lambda ops: ops.post(f"/merchants/{merchant_id}/signing-keys/{key_id}/revoke"))
    say(f"{key_id} is revoked", **made)


@app.command(name="list")
def list_(merchant_id: MerchantId) -> None:
    """Shows a merchant's signing keys, those that ended too."""
    columns = ("id", "algorithm", "label", "fingerprint", "registered_by", "not_before", "revoked_at")
    found = ask(lambda ops: ops.get(f"/merchants/{merchant_id}/signing-keys"))["items"]
    show(found, "The merchant has no signing keys.", columns=columns)
