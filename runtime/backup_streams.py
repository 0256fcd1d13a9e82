"""A dump on its way: from `pg_dump` through age into a file, and from there into `pg_restore`; never open on disk."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol
from urllib.parse import parse_qs, unquote, urlsplit

import pyrage
from pyrage import x25519

from runtime.backups import Backup, BackupError, sealed_file
from runtime.postgres import EmbeddedPostgres, PostgresStartError

Progress = Callable[[int], None]
_PROGRAMS = ("pg_dump", "pg_restore")
_TLS = {"require": "require", "verify-ca": "verify-ca", "verify-full": "verify-full", "true": "require"}
_LONGEST_COMPLAINT = 300


class Sealed(NamedTuple):
    """A finished file: its digest and how long it is."""

    sha256: str
    size_bytes: int


class _Source(Protocol):
    def read(self, size: int = -1) -> bytes: ...


class _Counted:
    """A file that tells how far it is read, and knows the digest of what was."""

    def __init__(self, file: _Source, progress: Progress) -> None:
        self._file, self._progress, self.digest, self.bytes = file, progress, hashlib.sha256(), 0

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self.digest.update(data)
        self.bytes += len(data)
        self._progress(self.bytes)
        return data


class _Digested:
    """A file that knows the digest of what was written to it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.digest, self.bytes = file, hashlib.sha256(), 0

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        self.bytes += len(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()


class _Nowhere:
    """Takes everything and keeps nothing."""

    @staticmethod
    def write(data: bytes) -> int:
        return len(data)

    @staticmethod
    def flush() -> None:
        return


class Programs:
    """`pg_dump` and `pg_restore` of the server's own version: of the embedded server, or from the PATH."""

    def __init__(self, server_version: int, embedded: EmbeddedPostgres | None) -> None:
        """Raises BackupError."""
        self._found = {name: _fitting(name, server_version, embedded) for name in _PROGRAMS}

    def dump(self, url: str, recipient: str, target: Path, progress: Progress) -> Sealed:
        """The database as a sealed file. Raises BackupError; the file is then not to be used."""
        command = [str(self._found["pg_dump"]), "--format=custom", "--no-owner", "--no-password"]
        with _running(command, url, stdout=subprocess.PIPE) as program, os.fdopen(sealed_file(target), "wb") as file:
            assert program.process.stdout is not None  # noqa: S101
            written = _Digested(file)
            pyrage.encrypt_io(
                _Counted(program.process.stdout, progress), written, [x25519.Recipient.from_str(recipient)]
            )
            program.expect_success("The database could not be dumped")
            file.flush()
            os.fsync(file.fileno())
        return Sealed(written.digest.hexdigest(), written.bytes)

    def plain(self, url: str, piece_bytes: int) -> Iterator[bytes]:
        """The database as the text that makes it anew, piece by piece, for whoever looks for something in it.

        Raises BackupError.
        """
        command = [str(self._found["pg_dump"]), "--format=plain", "--no-owner", "--no-password"]
        with _running(command, url, stdout=subprocess.PIPE) as program:
            assert program.process.stdout is not None  # noqa: S101
            while piece := program.process.stdout.read(piece_bytes):
                yield piece
            program.expect_success("The database could not be dumped")

    def load(self, url: str, backup: Backup, identity: str, progress: Progress) -> None:
        """A sealed dump into an empty database. Raises BackupError; the database is then not to be used."""
        # Rights are part of the dump. The owner is whoever restores.
        command = [str(self._found["pg_restore"]), "--no-owner", "--exit-on-error", "--no-password"]
        command += ["--dbname", _names(url)["PGDATABASE"]]
        with _running(command, url, stdin=subprocess.PIPE) as program, backup.file.open("rb") as file:
            assert program.process.stdin is not None  # noqa: S101
            try:
                pyrage.decrypt_io(_Counted(file, progress), program.process.stdin, [x25519.Identity.from_str(identity)])
                program.process.stdin.close()
            except BrokenPipeError:
                pass  # it has ended, and says why
            except (pyrage.DecryptError, OSError):
                raise BackupError(f"{backup.file} is damaged.") from None
            program.expect_success(f"{backup.file} could not be loaded")


def check(backup: Backup, identity: str, progress: Progress) -> None:
    """Reads and opens the whole file. Raises BackupError if it is not whole, or sealed to another key."""
    manifest, key = backup.manifest, x25519.Identity.from_str(identity)
    if str(key.to_public()) != manifest.recipient:
        raise BackupError(f"LIUSHUI_BACKUP_KEY is not the key to {manifest.what}.")
    try:
        if backup.file.stat().st_size != manifest.size_bytes:
            raise BackupError(f"{backup.file} is not as long as its manifest says: it is damaged.")
        with backup.file.open("rb") as file:
            read = _Counted(file, progress)
            pyrage.decrypt_io(read, _Nowhere(), [key])
            while read.read(1 << 20):
                pass
    except (pyrage.DecryptError, OSError):
        raise BackupError(f"{backup.file} is damaged or cannot be read.") from None
    if read.digest.hexdigest() != manifest.sha256:
        raise BackupError(f"{backup.file} is not what its manifest says.")


class _Program:
    def __init__(self, process: subprocess.Popen[bytes], words: IO[bytes]) -> None:
        self.process, self._words = process, words

    def expect_success(self, sentence: str) -> None:
        """Raises BackupError with the first that the program complained of."""
        if self.process.wait() != 0:
            self._words.seek(0)
            said = self._words.read().decode(errors="replace").splitlines()
            first = next((line for line in said if "error:" in line), f"exit code {self.process.returncode}")
            raise BackupError(f"{sentence}: {first[:_LONGEST_COMPLAINT]}")


@contextmanager
def _running(command: Sequence[str], url: str, **pipes: Any) -> Iterator[_Program]:
    """A program that is over, or killed, when the block is left. Its password is in its environment alone."""
    environment = {name: os.environ[name] for name in ("PATH", "HOME", "LD_LIBRARY_PATH") if name in os.environ}
    environment |= {"LC_ALL": "C", **_names(url)}
    with tempfile.TemporaryFile() as words:
        process = subprocess.Popen(  # noqa: S603
            command, env=environment, stderr=words, **{"stdin": subprocess.DEVNULL, **pipes}
        )
        try:
            yield _Program(process, words)
        finally:
            if process.poll() is None:
                process.kill()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None and not pipe.closed:
                    _close(pipe)
            process.wait()


def _close(pipe: IO[bytes]) -> None:
    with suppress(BrokenPipeError):  # what was still to be written has no reader
        pipe.close()


def _names(url: str) -> Mapping[str, str]:
    """A URL as the variables that PostgreSQL's programs read."""
    parts = urlsplit(url)
    found = {
        "PGHOST": parts.hostname or "",
        "PGPORT": str(parts.port or 5432),
        "PGUSER": unquote(parts.username or ""),
        "PGPASSWORD": unquote(parts.password or ""),
        "PGDATABASE": parts.path.removeprefix("/"),
    }
    asked = parse_qs(parts.query).get("ssl", [""])[0]
    return {**found, "PGSSLMODE": _TLS[asked]} if asked in _TLS else found


def _fitting(name: str, server_version: int, embedded: EmbeddedPostgres | None) -> Path:
    for path in _candidates(name, embedded):
        if _version(path) == server_version:
            return path
    raise BackupError(
        f"{name} of PostgreSQL {server_version} is needed, the server's own version: put it into the PATH."
    )


def _candidates(name: str, embedded: EmbeddedPostgres | None) -> list[Path]:
    in_path = shutil.which(name)
    found = [Path(in_path)] if in_path else []
    try:
        return [embedded.binary(name), *found] if embedded else found
    except PostgresStartError:
        return found


def _version(program: Path) -> int | None:
    try:
        said = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=20, check=False)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(r"\) (\d+)", said.stdout)
    return int(found.group(1)) if found else None
