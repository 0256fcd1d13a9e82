"""Backups on disk: folders, manifests and expiry. What is in them is sealed (`backup_streams`).

One folder holds the backups of one database, each in a folder of its own that appears when it is complete. The keys
have theirs apart from the books: they expire within days, so that what is destroyed is soon gone everywhere (P3.3).
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

MANIFEST = "manifest.json"
UNFINISHED = ".unfinished"
_PRIVATE_FOLDER, _PRIVATE_FILE = 0o700, 0o600
_LARGEST_MANIFEST = 64 * 1024

Kind = Literal["main", "keys"]
NAMES: dict[Kind, str] = {"main": "the books", "keys": "the keys"}


class BackupError(Exception):
    """A backup cannot be made or used; the message is a sentence for the person at the terminal."""


class Manifest(BaseModel):
    """What lies beside a sealed dump: what it is, of whom, since when and until when. It holds no secret."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    kind: Kind
    # The erasure list that belongs to it, and how far that went: it is put back beside that list and no shorter one.
    institution_id: UUID
    erasure_position: int = Field(ge=0)
    taken_at: AwareDatetime
    expires_at: AwareDatetime
    revision: str = Field(min_length=1, max_length=80)
    server_version: int = Field(ge=16)
    recipient: str = Field(pattern=r"^age1[0-9a-z]{58}$")
    file: str = Field(pattern=r"^[a-z]+\.dump\.age$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size_bytes: int = Field(gt=0)

    @property
    def what(self) -> str:
        """For sentences."""
        return f"the backup of {NAMES[self.kind]} of {self.taken_at:%Y-%m-%d %H:%M:%S}Z"


class Backup(BaseModel):
    """A finished one: where it lies, and its manifest."""

    model_config = ConfigDict(frozen=True)

    folder: Path
    manifest: Manifest

    @property
    def file(self) -> Path:
        return self.folder / self.manifest.file


def stamp(at: datetime) -> str:
    """The name of a backup's folder; names sort by time."""
    return f"{at:%Y%m%dT%H%M%S}Z"


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """The folder of one database's backups, made if need be; one command at a time writes there. Raises BackupError."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=_PRIVATE_FOLDER)
        lock = (folder / ".lock").open("a")
    except OSError as error:
        raise BackupError(f"{folder} cannot be used for backups: {error.strerror or error}.") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise BackupError(f"Another backup to {folder} is under way.") from None
        yield


def begin(folder: Path, at: datetime) -> Path:
    """A fresh folder for a backup under way; what a killed command left behind is removed."""
    for left in folder.glob(f"*{UNFINISHED}"):
        shutil.rmtree(left)
    path = folder / f"{stamp(at)}{UNFINISHED}"
    path.mkdir(mode=_PRIVATE_FOLDER)
    return path


def finish(unfinished: Path, manifest: Manifest) -> Backup:
    """Writes the manifest, then gives the folder its name: whatever has a name is complete."""
    path = unfinished / MANIFEST
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE_FILE), "w") as file:
        file.write(manifest.model_dump_json(indent=2) + "\n")
        file.flush()
        os.fsync(file.fileno())
    folder = unfinished.with_name(unfinished.name.removesuffix(UNFINISHED))
    if folder.exists():
        raise BackupError(f"{folder} is there already.")
    unfinished.rename(folder)
    _write_out(folder.parent)
    return Backup(folder=folder, manifest=manifest)


def find(path: Path, kind: Kind) -> Backup:
    """The backup in a folder, or the newest of those in the folders in it. Raises BackupError."""
    if (path / MANIFEST).exists():
        return _read(path, kind)
    for folder in (path, path / kind):
        found = sorted(each.parent for each in folder.glob(f"*/{MANIFEST}") if each.parent.suffix != UNFINISHED)
        if found and folder.name not in set(NAMES) - {kind}:
            return _read(found[-1], kind)
    raise BackupError(f"There is no backup of {NAMES[kind]} in {path}.")


def sealed_file(path: Path) -> int:
    """A descriptor of a new file that only its owner may read."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE_FILE)


def remove_expired(folder: Path, institution_id: UUID, now: datetime) -> list[Backup]:
    """Deletes the institution's expired backups there, and answers them. What cannot be read is left to people."""
    removed = []
    for path in sorted(each.parent for each in folder.glob(f"*/{MANIFEST}") if each.parent.suffix != UNFINISHED):
        try:
            manifest = _manifest(path)
        except BackupError:
            continue
        if manifest.institution_id == institution_id and manifest.expires_at <= now:
            # Without its manifest first: half of a deletion is no backup.
            (path / MANIFEST).unlink()
            shutil.rmtree(path)
            removed.append(Backup(folder=path, manifest=manifest))
    _write_out(folder)
    return removed


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read(folder: Path, kind: Kind) -> Backup:
    manifest = _manifest(folder)
    if manifest.kind != kind:
        raise BackupError(f"{folder} holds a backup of {NAMES[manifest.kind]}, not of {NAMES[kind]}.")
    return Backup(folder=folder, manifest=manifest)


def _manifest(folder: Path) -> Manifest:
    path = folder / MANIFEST
    try:
        if path.stat().st_size > _LARGEST_MANIFEST:
            raise ValueError
        return Manifest.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, ValidationError):
        raise BackupError(f"{path} cannot be read as the manifest of a backup.") from None


def _write_out(folder: Path) -> None:
    """What a folder lists is on disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
