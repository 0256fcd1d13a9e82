"""`liushui backup` and `liushui restore`: books and keys, sealed, and never the erasure list.

What to do when, and before processes start on restored data: docs/operators/backups.md.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer
from asyncpg.exceptions import PostgresError
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TextColumn, TransferSpeedColumn
from sqlalchemy.exc import DBAPIError

from cli.backing_up import BackupPlan, Taken, back_up
from cli.backup_site import prepare, site_to_back_up, site_to_restore
from cli.restoring import Restored, Restoring
from cli.stack import DEFAULT_FOLDER
from cli.terminal import end, say
from config.policy import read_policy
from domain.retention import RetentionRules
from runtime.backups import BackupError, Manifest, find
from runtime.clock import SystemClock
from runtime.postgres import PostgresStartError
from runtime.secrets import LocalSecretsError
from storage.provision import ProvisioningError

KEYS = "keys"
Folder = Annotated[Path, typer.Option(help="Of the local stack, unless the environment names databases.")]


def backup(
    to: Annotated[Path, typer.Option(help="A folder; each backup gets one of its own in it.")],
    keys_to: Annotated[
        Path | None, typer.Option(help="Another folder for the keys, best on another machine; else in the first.")
    ] = None,
    folder: Folder = DEFAULT_FOLDER,
) -> None:
    """Takes a sealed backup of the books and one of the keys, while everything runs, and deletes expired ones."""
    plan = plan_of(to, keys_to or to / KEYS)
    with _sentences(), site_to_back_up(folder) as site, _shown() as stage:
        taken = back_up(site, plan, stage)
    _tell(taken)


def restore(  # noqa: PLR0917 - options of a command
    from_: Annotated[Path, typer.Option("--from", help="A backup's folder, or that of several: then the newest.")],
    keys_from: Annotated[
        Path | None, typer.Option(help="The same for the keys; if left out, those beside the books.")
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Also if the databases hold newer data, which are then gone.")
    ] = False,
    rehearse: Annotated[
        bool, typer.Option("--rehearse", help="Does all but the last step, while everything runs, and drops it again.")
    ] = False,
    accept_loss: Annotated[
        bool, typer.Option("--accept-loss", help="Also if what the law keeps of forgotten users is lost by it.")
    ] = False,
    folder: Folder = DEFAULT_FOLDER,
) -> None:
    """Puts a backup of books and keys back, and forgets again all that was forgotten since, before anything starts."""
    with _sentences():
        main = find(from_, "main")
        keys = find(keys_from or _beside(from_), "keys")
        with site_to_restore(folder, rehearsal=rehearse) as site, _shown() as stage:
            clock = SystemClock().now
            restoring = Restoring(site, (main, keys), retention_rules(), stage, clock, accept_loss=accept_loss)
            if rehearse:
                done = restoring.rehearse()
            else:
                asyncio.run(prepare(site, folder))
                done = restoring.run(replace=replace)
    _say(main.manifest, done, rehearsed=rehearse)


def _say(manifest: Manifest, done: Restored, *, rehearsed: bool) -> None:
    where, then = "are in place", "What happened since is gone: see docs/operators/backups.md before processes start."
    if rehearsed:
        where, then = "would be fit to be put into place", "This was a rehearsal: nothing was changed."
    say(
        f"Books and keys of {manifest.taken_at:%Y-%m-%d %H:%M:%S}Z {where}; {done.forgotten} entries of the erasure"
        f" list were carried out on them, {done.transfers} transfers verified.{_kept(done)} {then}",
        rehearsed=rehearsed,
        restored=manifest.taken_at,
        forgotten=done.forgotten,
        transfers=done.transfers,
        carried_over=done.carried_over,
        unreadable=done.unreadable,
        lost=dict(done.lost),
    )


def _kept(done: Restored) -> str:
    """What became of what the law keeps, if there is something to say."""
    said = f" {done.carried_over} retained records were carried over from the database in place." * bool(
        done.carried_over
    )
    if done.unreadable:
        said += f" Not all of what the law keeps could be read there: {done.unreadable}."
    if done.lost:
        said += (
            f" What the law keeps of {len(done.lost)} people is LOST, {sum(done.lost.values())} copies at least; each"
            f" is a case: {', '.join(done.lost)}."
        )
    return said


def _beside(path: Path) -> Path:
    """From the folder of backups, from that of the books in it, or from one of those."""
    for level in (path, path.parent, path.parent.parent):
        if (level / KEYS).is_dir():
            return level / KEYS
    raise BackupError(f"There is no backup of the keys beside {path}: say where they are with --keys-from.")


def _tell(taken: Taken) -> None:
    for name, made in taken.made.items():
        until = f"{made.manifest.expires_at:%Y-%m-%d}"
        typer.echo(f"{name}: {made.file} ({made.manifest.size_bytes / 1e6:.1f} MB, until {until})", err=True)
    for gone in taken.removed:
        typer.echo(f"deleted, for it had expired: {gone.folder}", err=True)
    say(
        "The backup is complete. The erasure list is not in it: it has to outlive the backups.",
        **{name: made.folder for name, made in taken.made.items()},
        deleted=[gone.folder for gone in taken.removed],
    )


def plan_of(to: Path, keys_to: Path) -> BackupPlan:
    """Backups of now, which last as long as the rules say."""
    rules = retention_rules()
    return BackupPlan(
        folders={"main": to / "main", "keys": keys_to},
        lasts={"main": timedelta(days=rules.backup_days), "keys": timedelta(days=rules.key_backup_days)},
        at=SystemClock().now(),
    )


def retention_rules() -> RetentionRules:
    """Those of config/retention.toml."""
    return RetentionRules.model_validate(read_policy()["retention"])


@contextmanager
def _sentences() -> Iterator[None]:
    """Whatever cannot be done is a sentence and exit code 1."""
    try:
        yield
    except (BackupError, LocalSecretsError, PostgresStartError, ProvisioningError) as error:
        end(str(error))
    except (OSError, PostgresError, DBAPIError) as error:
        kind = type(error.orig if isinstance(error, DBAPIError) else error).__name__
        end(f"The database or a file cannot be used ({kind}).")


@contextmanager
def _shown() -> Iterator[Callable[[str, int | None], Callable[[int], None]]]:
    """Progress: a line a stage, and on a terminal how far it is."""
    console = Console(stderr=True, highlight=False)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, disable=not sys.stderr.isatty()) as progress:

        def stage(title: str, total_bytes: int | None) -> Callable[[int], None]:
            if progress.disable:
                typer.echo(f"{title} …", err=True)
            task = progress.add_task(title, total=total_bytes)
            return lambda done: progress.update(task, completed=done)

        yield stage
