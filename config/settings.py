"""Typed settings from the environment (`LIUSHUI_…`); each process gets a class with only what it needs.

Secrets never show in a repr or an error. `load` turns what is wrong into plain sentences that name the
variable and never its value. The environment is `production` unless it says `local`, so that a forgotten
variable is the safe mistake.
"""

from __future__ import annotations

import base64
import binascii
import re
import sys
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import parse_qs, urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretBytes,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from pyrage import IdentityError, RecipientError, x25519

PREFIX = "LIUSHUI_"
KEY_BYTES = 32
MAX_PAYLOAD_KEYS = 16
LOOPBACK_HOSTS = frozenset({"127.0.0.1", "::1", "localhost"})

AnySettings = TypeVar("AnySettings", bound=BaseSettings)


class SettingsError(Exception):
    """The environment is not fit to start with; the message is one sentence a line and holds no value."""


def _wrong(sentence: str) -> PydanticCustomError:
    return PydanticCustomError("setting", "{sentence}", {"sentence": sentence})


def _decode_key(text: str, what: str) -> SecretBytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise _wrong(f"{what} must be base64") from None
    if len(raw) != KEY_BYTES:
        raise _wrong(f"{what} must be {KEY_BYTES} bytes in base64, not {len(raw)}")
    return SecretBytes(raw)


def _parse_key(value: object) -> object:
    return _decode_key(value, "the key") if isinstance(value, str) else value


def _parse_payload_keys(value: object) -> object:
    """`id:base64,id:base64`; the first encrypts, all decrypt."""
    if not isinstance(value, str):
        return value
    keys: dict[str, SecretBytes] = {}
    for number, entry in enumerate(value.split(","), start=1):
        key_id, colon, text = entry.strip().partition(":")
        if not colon or not re.fullmatch(r"[A-Za-z0-9_.-]{1,32}", key_id):
            raise _wrong(f"entry {number} must be id:base64; an id is 1 to 32 letters, digits, '_', '.' or '-'")
        if key_id in keys:
            raise _wrong(f"entry {number} repeats the id of an earlier one")
        keys[key_id] = _decode_key(text, f"the key of entry {number}")
    if len(keys) > MAX_PAYLOAD_KEYS:
        raise _wrong(f"there may be {MAX_PAYLOAD_KEYS} keys at most")
    return tuple(keys.items())


def _check_database_url(value: SecretStr) -> SecretStr:
    """Any `postgresql://` URL; what comes out names the driver that the project uses."""
    scheme, separator, rest = value.get_secret_value().partition("://")
    if scheme not in {"postgresql", "postgres", "postgresql+asyncpg"} or not separator:
        raise _wrong("must be a postgresql:// URL")
    try:
        parts = urlsplit(f"postgresql://{rest}")
        complete = bool(parts.hostname) and len(parts.path) > 1 and (parts.port or 1) > 0
    except ValueError:
        complete = False
    if not complete:
        raise _wrong("must name a host and a database, as in postgresql://role:password@host:port/database")
    return SecretStr(f"postgresql+asyncpg://{rest}")


def _check_age_recipient(value: str) -> str:
    try:
        return str(x25519.Recipient.from_str(value))
    except RecipientError:
        raise _wrong("must be a public key of age, as in age1…") from None


def _check_age_identity(value: SecretStr) -> SecretStr:
    try:
        x25519.Identity.from_str(value.get_secret_value())
    except IdentityError:
        raise _wrong("must be a secret key of age, as in AGE-SECRET-KEY-…") from None
    return value


def _check_url(value: str) -> str:
    try:
        parts = urlsplit(value)
        valid = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        valid = False
    if not valid or "@" in value:
        raise _wrong("must be an http:// or https:// address without a user name")
    return value.rstrip("/")


def _check_origin(value: str) -> str:
    parts = urlsplit(_check_url(value))
    if parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise _wrong("must be an origin, as in http://127.0.0.1:8233, without a path")
    return value.rstrip("/")


def _site(origin: str) -> tuple[str, str]:
    """Scheme and the end of the host. Hosts that differ here are never of one site; not all that agree are."""
    parts = urlsplit(origin)
    host = parts.hostname or ""
    return parts.scheme, host if host in LOOPBACK_HOSTS else ".".join(host.split(".")[-2:])


def _check_bind_host(value: str) -> str:
    if value not in LOOPBACK_HOSTS:
        raise _wrong("must be a loopback address: the server speaks plain HTTP and belongs behind a TLS terminator")
    return value


Key = Annotated[SecretBytes, BeforeValidator(_parse_key)]
PayloadKeys = Annotated[tuple[tuple[str, SecretBytes], ...], NoDecode, BeforeValidator(_parse_payload_keys)]
DatabaseUrl = Annotated[SecretStr, AfterValidator(_check_database_url)]
AgeRecipient = Annotated[str, AfterValidator(_check_age_recipient)]
AgeIdentity = Annotated[SecretStr, AfterValidator(_check_age_identity)]
Url = Annotated[str, AfterValidator(_check_url)]
Origin = Annotated[str, AfterValidator(_check_origin)]
BindHost = Annotated[str, AfterValidator(_check_bind_host)]
Port = Annotated[int, Field(ge=1, le=65535)]

_NEEDS_TLS = ("simulator_url", "ui_origin", "codec_origin", "ops_url")
_DATABASES = (
    "database_url", "key_database_url", "erasure_database_url", "retention_database_url",
    "owner_database_url", "key_owner_database_url", "erasure_owner_database_url", "admin_database_url",
)  # fmt: skip


class ProcessSettings(BaseSettings):
    """What every process has."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid", hide_input_in_errors=True)

    environment: Literal["local", "production"] = "production"
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    @model_validator(mode="after")
    def _transport_is_protected(self) -> ProcessSettings:
        """Encrypted transport (A4.2b): no plain HTTP off this machine, and none in production."""
        for name in _NEEDS_TLS:
            self._check_address(name, getattr(self, name, None))
        if self.environment == "production":
            for name in _DATABASES:
                self._check_database(name, getattr(self, name, None))
        return self

    def _check_address(self, name: str, address: str | None) -> None:
        if address is None or address.startswith("https://"):
            return
        if self.environment == "production":
            raise _wrong(f"{PREFIX}{name.upper()} must be an https:// address in production")
        if urlsplit(address).hostname not in LOOPBACK_HOSTS:
            raise _wrong(f"{PREFIX}{name.upper()} may be plain http:// only for a loopback address")

    @staticmethod
    def _check_database(name: str, url: SecretStr | None) -> None:
        parts = urlsplit(url.get_secret_value()) if url else None
        if parts is None or parts.hostname in LOOPBACK_HOSTS:
            return
        if parse_qs(parts.query).get("ssl", [""])[0] not in {"require", "verify-ca", "verify-full"}:
            raise _wrong(f"{PREFIX}{name.upper()} must ask for TLS (ssl=verify-full) when its host is not this machine")


class CodecServerSettings(ProcessSettings):
    """The codec server: payload keys and nothing else that is secret; operators are known to the ops API only.

    `codec_origin` is where browsers find it, `ui_origin` where they find the Temporal UI, `ops_url` the operators' API.
    """

    payload_keys: PayloadKeys
    codec_port: Port
    codec_origin: Origin
    ui_origin: Origin
    ops_url: Url

    @model_validator(mode="after")
    def _cookie_reaches_it(self) -> CodecServerSettings:
        """Browsers send a SameSite cookie from the UI's page only if both are of one site.

        On a developer's machine the UI may be a cluster's far away; command lines can use the server all the same.
        """
        if self.environment == "production" and _site(self.codec_origin) != _site(self.ui_origin):
            raise _wrong(
                f"{PREFIX}CODEC_ORIGIN and {PREFIX}UI_ORIGIN must be of one site, as in https://codec.ops.example and "
                "https://temporal.ops.example, or browsers will not send the operator's session"
            )
        return self


class StoreSettings(ProcessSettings):
    """What opens the books, the vault and the processes; the owner roles are not among it.

    `retention_public_key` seals what the law has us keep; whoever has it can open none of it.
    """

    database_url: DatabaseUrl
    key_database_url: DatabaseUrl
    erasure_database_url: DatabaseUrl
    retention_public_key: AgeRecipient
    master_key: Key
    index_key: Key
    payload_keys: PayloadKeys


class ApplicationSettings(StoreSettings):
    """What the API, the worker and the institution's commands share: also the key that instructs banks."""

    bank_signing_key: Key
    simulator_url: Url
    simulator_public_key: Key


class ApiSettings(ApplicationSettings):
    """The merchant API; `webhook_key` seals the secrets by which webhooks are signed."""

    webhook_key: Key
    api_host: BindHost = "127.0.0.1"
    api_port: Port
    webhook_private_networks: bool = False


class WorkerSettings(ApplicationSettings):
    """The worker. What has not moved for `unfinished_after_seconds` is seen to by its sweeper."""

    worker_health_port: Port
    unfinished_after_seconds: Annotated[int, Field(ge=5, le=86_400)] = 600


class OpsSettings(StoreSettings):
    """The operators' API: `database_url` is that of the ops role; `operator_key` seals second-factor secrets.

    It calls no bank, so it has no key for one: what it wants of a bank it asks of a process. It alone opens what is
    retained, by a role of its own (`retention_database_url`) and with `retention_key`, for an order and two people.
    """

    operator_key: Key
    retention_database_url: DatabaseUrl
    retention_key: AgeIdentity
    ops_port: Port


class WebhookSettings(ProcessSettings):
    """The webhook sender: `database_url` is that of the webhooks role; no key of the vault or of a bank.

    `webhook_private_networks` lets it call loopback and private addresses; for local stacks and closed networks only.
    """

    database_url: DatabaseUrl
    webhook_key: Key
    webhook_health_port: Port
    webhook_private_networks: bool = False


class MigrationSettings(ProcessSettings):
    """Migrations only: the roles that own the tables."""

    owner_database_url: DatabaseUrl
    key_owner_database_url: DatabaseUrl
    erasure_owner_database_url: DatabaseUrl


class BackupSettings(MigrationSettings):
    """`liushui backup`: it seals to `backup_public_key` and can open no backup."""

    backup_public_key: AgeRecipient


class RestoreSettings(MigrationSettings):
    """`liushui restore`: `backup_key` opens backups; `admin_database_url` is of a role with CREATEDB and CREATEROLE.

    The other keys are those of the stores, for what is forgotten again and for what the law has us keep of it.
    """

    backup_key: AgeIdentity
    admin_database_url: DatabaseUrl
    master_key: Key
    index_key: Key
    retention_public_key: AgeRecipient


def load(settings: type[AnySettings], **overrides: Any) -> AnySettings:
    """Reads the environment. Raises SettingsError; `overrides` win over the environment."""
    try:
        return settings(**overrides)
    except ValidationError as error:
        lines = [
            _sentence(tuple(map(str, item["loc"])), item["type"], item["msg"])
            for item in error.errors(include_input=False)
        ]
        raise SettingsError("\n".join(lines)) from None


def load_or_exit(settings: type[AnySettings]) -> AnySettings:
    """For entry points: prints what is wrong, one sentence a line, and ends the process with code 2."""
    try:
        return load(settings)
    except SettingsError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None


def _sentence(location: tuple[str, ...], kind: str, message: str) -> str:
    if not location:
        return f"{message}."
    variable = f"{PREFIX}{location[0].upper()}"
    if kind == "missing":
        return f"{variable} is not set; the process cannot start without it."
    return f"{variable} is wrong: {message[0].lower()}{message[1:]}."
