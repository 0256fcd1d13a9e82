"""Loopback ports of the local stack: remembered over restarts, replaced when somebody else has them.

A reservation is a lock on a file for the port in a folder that all stacks of the user share, so that two
stacks which start at the same moment never choose the same one. Ports lie below the range from which systems
number outgoing connections.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import random
import socket
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TextIO

_FIRST, _LAST = 20_000, 31_999
_ATTEMPTS = 500


class NoFreePortError(Exception):
    """Hundreds of ports were tried and all are taken."""


class PortBook:
    """Ports by name, kept in a JSON file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._ports: dict[str, int] = {}
        self._locks: dict[str, TextIO] = {}

    def reserve(self, names: Iterable[str]) -> dict[str, int]:
        """The remembered port of each name where it is free, else a new one; keeps them until `release`."""
        remembered = self._remembered()
        for name in names:
            if name not in self._ports:
                self._ports[name] = self._reserve_one(name, remembered.get(name))
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text(json.dumps({**remembered, **self._ports}, indent=2) + "\n")
        return dict(self._ports)

    def lost(self, names: Iterable[str]) -> list[str]:
        """Those of these names whose port somebody took; they get other ports at the next `reserve`."""
        taken = [name for name in names if not is_free(self._ports[name])]
        for name in taken:
            del self._ports[name]
            self._locks.pop(name).close()
        return taken

    def release(self) -> None:
        """Lets other stacks have the ports; they stay remembered."""
        for lock in self._locks.values():
            lock.close()
        self._locks.clear()
        self._ports.clear()

    def _reserve_one(self, name: str, remembered: int | None) -> int:
        chance = random.SystemRandom()
        for attempt in range(_ATTEMPTS):
            port = remembered if attempt == 0 and remembered else chance.randint(_FIRST, _LAST)
            lock = _lock(port)
            if lock is None:
                continue
            if is_free(port):
                self._locks[name] = lock
                return port
            lock.close()
        raise NoFreePortError(f"none of {_ATTEMPTS} loopback ports between {_FIRST} and {_LAST} is free")

    def _remembered(self) -> dict[str, int]:
        try:
            found = json.loads(self._path.read_text())
        except (OSError, ValueError):
            return {}
        if not isinstance(found, dict):
            return {}
        return {name: port for name, port in found.items() if isinstance(port, int) and 0 < port < 65_536}


def is_free(port: int) -> bool:
    """Whether nobody listens at the loopback port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen()
        except OSError as error:
            if error.errno not in {errno.EADDRINUSE, errno.EACCES}:
                raise
            return False
        return True


def _lock(port: int) -> TextIO | None:
    folder = Path(tempfile.gettempdir()) / f"liushui-ports-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    file = (folder / str(port)).open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return None
    return file
