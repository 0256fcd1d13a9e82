"""Looking for traces of a person on a local stack, as its owner and with all of its keys: nothing is out of reach."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import asyncpg
from asyncpg.exceptions import PostgresError
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from temporalio.service import RPCError

from cli.backing_up import back_up
from cli.backup_site import Site, site_of_stack
from cli.backups import KEYS, plan_of, retention_rules
from cli.needles import Needles
from cli.opened_histories import opened_histories
from cli.restoring import Restoring
from demo.traces import Found, TracesError
from runtime.backup_streams import Programs
from runtime.backups import Backup, BackupError, Kind
from runtime.clock import SystemClock
from runtime.postgres import PostgresStartError
from runtime.stack import application_environment
from storage.database import create_engine
from storage.provision import ProvisioningError, plain_url
from vault.errors import UserErasedError, UserKeyMissingError
from vault.sealing import MasterKeys, SealedItem, open_item
from vault.user_keys import UserKeys

Result = TypeVar("Result")
_PIECE_BYTES = 4 << 20
# The simulator's log is the bank's, as its database is: it has to know its customers.
_OF_THE_BANK = "simulator.log"
_SEALED = "SELECT * FROM vault.item WHERE user_id = $1 AND ciphertext IS NOT NULL ORDER BY token"


class LocalTraces:
    """`demo.traces.Traces`; backups are taken to the stack's folder."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._backups = folder, folder / "backups"
        self._made: dict[Kind, Backup] = {}
        self._copied: list[SealedItem] = []

    async def back_up(self) -> str:
        plan = plan_of(self._backups, self._backups / KEYS)
        self._made = (await self._at_site(lambda site: back_up(site, plan, _quietly))).made
        return str(self._made["main"].folder)

    async def before(self, user_id: str, planted: Mapping[str, str]) -> Found:
        def look(site: Site) -> Found:
            self._copied = asyncio.run(_sealed_items(site.owner_url, user_id))
            return self._found(site, self._dumps(site), planted, site.key_owner_url)

        return await self._at_site(look)

    async def in_what_is_kept(self, user_id: str, planted: Mapping[str, str]) -> Found:
        histories = await self._histories(user_id)

        def look(site: Site) -> Found:
            return self._found(site, self._dumps(site) | histories | self._files(site), planted, site.key_owner_url)

        return await self._at_site(look)

    async def in_the_backup_restored(self, planted: Mapping[str, str]) -> Found:
        def look(site: Site) -> Found:
            found: list[Found] = []

            def inspect(*urls: str) -> None:
                dumps = {_database(url): self._dump(site, url) for url in urls}
                found.append(self._found(site, dumps, planted, urls[1]))

            pair = (self._made["main"], self._made["keys"])
            Restoring(site, pair, retention_rules(), _quietly, SystemClock().now).rehearse(inspect)
            return found[0]

        return await self._at_site(look)

    async def _at_site(self, work: Callable[[Site], Result]) -> Result:
        """In a thread, because all of this blocks."""
        return await asyncio.to_thread(self._worked, work)

    def _worked(self, work: Callable[[Site], Result]) -> Result:
        try:
            with site_of_stack(self._folder) as site:
                return work(site)
        except (BackupError, PostgresStartError, ProvisioningError) as error:
            raise TracesError(str(error)) from None
        except (OSError, PostgresError, DBAPIError) as error:
            kind = type(error.orig if isinstance(error, DBAPIError) else error).__name__
            # A stack on somebody else's server tells only who starts it which server that is.
            raise TracesError(f"{kind}; if make up was given a DATABASE_URL, give it to make demo too") from None

    def _found(self, site: Site, places: Mapping[str, Iterable[bytes]], planted: Mapping[str, str], keys: str) -> Found:
        needles = Needles(planted)
        readable = {place: frozenset(needles.among(pieces)) for place, pieces in places.items()}
        return Found(readable, len(self._copied), asyncio.run(_opened(keys, site.master_key, self._copied)))

    def _dumps(self, site: Site) -> dict[str, Iterable[bytes]]:
        urls = (site.owner_url, site.key_owner_url, site.erasure_owner_url)
        return {_database(url): self._dump(site, url) for url in urls}

    def _dump(self, site: Site, url: str) -> Iterator[bytes]:
        programs = Programs(self._made["main"].manifest.server_version, site.embedded)
        return programs.plain(plain_url(url), _PIECE_BYTES)

    def _files(self, site: Site) -> dict[str, Iterable[bytes]]:
        """Temporal's database with what is not written into it yet, if it is ours; logs; the backup as it lies."""
        logs = [file for file in sorted((self._folder / "log").glob("*")) if not file.name.startswith(_OF_THE_BANK)]
        if site.embedded is not None and (server_log := site.embedded.folder / "server.log").is_file():
            logs.append(server_log)
        temporal = sorted((self._folder / "temporal").glob("temporal.sqlite*"))
        found: dict[str, Iterable[bytes]] = {"Temporal's database": _pieces(temporal)} if temporal else {}
        sealed = [made.file for made in self._made.values()]
        return found | {f"{len(logs)} logs": _pieces(logs), "the sealed backup": _pieces(sealed)}

    async def _histories(self, user_id: str) -> dict[str, Iterable[bytes]]:
        try:
            found = await opened_histories(application_environment(self._folder), user_id)
        except (RPCError, RuntimeError) as error:
            raise TracesError(f"Temporal cannot be asked ({type(error).__name__})") from None
        # Where the user's own id is not to be read, nothing was opened.
        if not found or not all(user_id.encode() in content for content in found.values()):
            raise TracesError("Temporal does not show the processes of the user")
        return {f"{len(found)} opened histories": found.values()}


def _pieces(files: Iterable[Path]) -> Iterator[bytes]:
    for path in files:
        if path.is_file():
            with path.open("rb") as file:
                while piece := file.read(_PIECE_BYTES):
                    yield piece


def _database(url: str) -> str:
    return str(make_url(url).database)


async def _sealed_items(owner_url: str, user_id: str) -> list[SealedItem]:
    connection = await asyncpg.connect(plain_url(owner_url))
    try:
        rows = [dict(row) for row in await connection.fetch(_SEALED, user_id)]
    finally:
        await connection.close()
    names = SealedItem.model_fields
    return [
        SealedItem(**{name: row[name] for name in names} | {"ciphertext": base64.b64encode(row["ciphertext"]).decode()})
        for row in rows
    ]


async def _opened(key_owner_url: str, master_key: bytes, items: list[SealedItem]) -> int:
    """How many of one user's sealed values the keys of a database open."""
    engine = create_engine(key_owner_url, pool_size=1, application_name="liushui-demo")
    try:
        keys = UserKeys(engine, MasterKeys([master_key]))
        return sum([bool(open_item(await keys.get(item.user_id), item.user_id, item)) for item in items])
    except (UserErasedError, UserKeyMissingError):
        return 0
    finally:
        await engine.dispose()


def _quietly(_title: str, _total_bytes: int | None) -> Callable[[int], None]:
    return lambda _done: None
