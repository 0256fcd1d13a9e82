"""Secrets of a local stack: made by chance at first use, kept in one file that only its owner may read.

For the local environment only. In production secrets come from the environment, and nothing here is called.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import BaseModel, ConfigDict, Field
from pyrage import x25519

_PASSWORD_BYTES = 24
_KEY_BYTES = 32
_ADDED_LATER = frozenset({
    "operator_key", "webhook_key", "ops_password", "webhooks_password", "key_ops_password",
    "retention_key", "backup_key", "retention_password", "erasure_owner_password", "erasure_app_password",
    "erasure_ops_password",
})  # fmt: skip


class LocalSecretsError(Exception):
    """The file of secrets is missing although there are data, or cannot be read."""


def _key() -> str:
    return base64.b64encode(secrets.token_bytes(_KEY_BYTES)).decode()


def _password() -> str:
    return secrets.token_urlsafe(_PASSWORD_BYTES)


def _age_key() -> str:
    return str(x25519.Identity.generate())


class LocalSecrets(BaseModel):
    """Keys are base64 of 32 bytes, the two of `age` its identities; passwords are those of the database roles."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    master_key: str = Field(repr=False, default_factory=_key)
    index_key: str = Field(repr=False, default_factory=_key)
    payload_keys: str = Field(repr=False, default_factory=lambda: f"local-1:{_key()}")
    bank_signing_key: str = Field(repr=False, default_factory=_key)
    operator_key: str = Field(repr=False, default_factory=_key)
    webhook_key: str = Field(repr=False, default_factory=_key)
    simulator_signing_key: str = Field(repr=False, default_factory=_key)
    retention_key: str = Field(repr=False, default_factory=_age_key)
    backup_key: str = Field(repr=False, default_factory=_age_key)
    owner_password: str = Field(repr=False, default_factory=_password)
    app_password: str = Field(repr=False, default_factory=_password)
    ops_password: str = Field(repr=False, default_factory=_password)
    webhooks_password: str = Field(repr=False, default_factory=_password)
    retention_password: str = Field(repr=False, default_factory=_password)
    key_owner_password: str = Field(repr=False, default_factory=_password)
    key_app_password: str = Field(repr=False, default_factory=_password)
    key_ops_password: str = Field(repr=False, default_factory=_password)
    erasure_owner_password: str = Field(repr=False, default_factory=_password)
    erasure_app_password: str = Field(repr=False, default_factory=_password)
    erasure_ops_password: str = Field(repr=False, default_factory=_password)

    @property
    def passwords(self) -> dict[str, str]:
        """By the names that provisioning uses."""
        return {
            "owner": self.owner_password,
            "app": self.app_password,
            "ops": self.ops_password,
            "webhooks": self.webhooks_password,
            "retention": self.retention_password,
            "key_owner": self.key_owner_password,
            "key_app": self.key_app_password,
            "key_ops": self.key_ops_password,
            "erasure_owner": self.erasure_owner_password,
            "erasure_app": self.erasure_app_password,
            "erasure_ops": self.erasure_ops_password,
        }


def public_key(private_key: str) -> str:
    """The base64 raw Ed25519 public key of a base64 raw private key."""
    key = Ed25519PrivateKey.from_private_bytes(base64.b64decode(private_key))
    return base64.b64encode(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()


def age_recipient(identity: str) -> str:
    """The public key (`age1…`) to which is encrypted what only this identity (`AGE-SECRET-KEY-…`) opens."""
    return str(x25519.Identity.from_str(identity).to_public())


def load_or_create(path: Path, *, data_exist: bool) -> LocalSecrets:
    """The secrets of a folder. With `data_exist` new ones are refused: they could not read what is there.

    Raises LocalSecretsError.
    """
    if path.exists():
        return _read(path)
    if data_exist:
        raise LocalSecretsError(
            f"{path} is missing, and the data beside it cannot be read without it; "
            "put it back, or run 'make clean' to give up the local data"
        )
    made = LocalSecrets()
    write_private(path, made.model_dump_json(indent=2) + "\n")
    return made


def write_private(path: Path, text: str) -> None:
    """Replaces a file at once by one that only its owner may read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.{os.getpid()}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def _read(path: Path) -> LocalSecrets:
    if path.stat().st_mode & 0o077:
        path.chmod(0o600)
    try:
        stored = json.loads(path.read_text())
        # What a release added encrypts nothing yet in the data of an older one. Anything else is not made up silently.
        needed = dict.fromkeys(LocalSecrets.model_fields.keys() - _ADDED_LATER)
        found = LocalSecrets.model_validate({**needed, **stored})
    except (ValueError, TypeError):
        raise LocalSecretsError(f"{path} cannot be read as the secrets of a local stack") from None
    if not stored.keys() >= _ADDED_LATER:
        write_private(path, found.model_dump_json(indent=2) + "\n")
    return found
