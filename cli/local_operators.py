"""People to work with, on a local stack only: enrolled once, their credentials where only their owner may read them."""

from __future__ import annotations

import asyncio
import base64
import json
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy.ext.asyncio import AsyncEngine

from cli.institution import local_owner_url
from domain.errors import ConflictError
from ops.direct_enrolment import DirectCredentials, enrol_directly, renew_directly
from runtime.clock import SystemClock
from runtime.id_source import UlidSource
from runtime.secrets import load_or_create, write_private
from runtime.stack import application_environment
from storage.database import create_engine
from storage.operators import Operators

FILE = "operators.json"
# One of each role; two who may decide about risk, because nobody approves what they asked for.
PEOPLE = {
    "ada": ("administrator",),
    "rui": ("risk",),
    "ren": ("risk",),
    "tian": ("treasury",),
    "tao": ("treasury",),
    "chen": ("compliance",),
    "cai": ("compliance",),
    "su": ("support",),
    "audrey": ("auditor",),
}


class LocalOperator(BaseModel):
    """Everything with which somebody logs in; the secret of the second factor in base 32."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    operator_id: str
    login: str
    roles: tuple[str, ...]
    password: str = Field(repr=False)
    totp_secret: str = Field(repr=False)

    def code(self, now: datetime) -> str:
        """What the person's authenticator shows."""
        return DirectCredentials(self.operator_id, self.login, self.password, self.totp_secret).code(now)


def keep_some(folder: Path) -> Path:
    """The file with the folder's operators; on the first call they are enrolled and it is written, mode 0600."""
    asyncio.run(_keep(folder))
    return folder / FILE


def read_operators(folder: Path) -> dict[str, LocalOperator]:
    """By login; nobody if there is no file that can be read."""
    try:
        stored = json.loads((folder / FILE).read_text())
        return {login: LocalOperator.model_validate(person) for login, person in stored.items()}
    except (OSError, ValueError, AttributeError, ValidationError):
        return {}


async def _keep(folder: Path) -> None:
    url = local_owner_url(folder, application_environment(folder)["LIUSHUI_DATABASE_URL"])
    key = base64.b64decode(load_or_create(folder / "secrets.json", data_exist=True).operator_key)
    engine = create_engine(url, pool_size=1, application_name="liushui-setup")
    try:
        kept = read_operators(folder)
        active = {person["id"] for person in await Operators(engine).everybody() if person["state"] == "active"}
        found = {login: person for login, person in kept.items() if person.operator_id in active}
        missing = [login for login in PEOPLE if login not in found]
        for login in missing:
            found[login] = await _enrol(engine, key, login)
    finally:
        await engine.dispose()
    if missing:
        write_private(
            folder / FILE, json.dumps({name: one.model_dump() for name, one in found.items()}, indent=2) + "\n"
        )


async def _enrol(engine: AsyncEngine, key: bytes, login: str) -> LocalOperator:
    now, roles = SystemClock().now(), PEOPLE[login]
    try:
        made = await enrol_directly(engine, key, login, roles, ulid=UlidSource().ulid(), now=now)
    except ConflictError:
        # The data are older than the file, which got lost.
        made = await renew_directly(engine, key, login, now=now)
    return LocalOperator(
        operator_id=made.operator_id, login=login, roles=roles, password=made.password, totp_secret=made.totp_secret
    )
