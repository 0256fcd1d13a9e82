"""The bank simulator as a process of its own, for tests: same port, books and keys over stops, kills and
restarts.
"""

from __future__ import annotations

import base64
import os
import select
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from banks.agreement_pay.config import BankConnection
from banks.trust import trusted_authorities

PROJECT = Path(__file__).resolve().parent.parent
_READY = "bank simulator ready"


def free_port() -> int:
    """A loopback port that nobody holds now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def encoded(raw: bytes) -> str:
    """Base64 as the settings take keys."""
    return base64.b64encode(raw).decode()


class SimulatorProcess:
    """`start` waits until it is ready. Keys are made once, so that a restart recognises what came before."""

    def __init__(
        self,
        folder: Path,
        *,
        notify_url: str = "",
        port: int | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.port = port if port is not None else free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.database = folder / "simulator.sqlite"
        self.log_file = folder / "simulator.log"
        self.institution_key = Ed25519PrivateKey.generate()
        self.bank_key = Ed25519PrivateKey.generate()
        self._process: subprocess.Popen[str] | None = None
        self._log: IO[str] | None = None
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("SIMULATOR_")},
            "SIMULATOR_DATABASE": str(self.database),
            "SIMULATOR_PORT": str(self.port),
            "SIMULATOR_SIGNING_KEY": encoded(self.bank_key.private_bytes_raw()),
            "SIMULATOR_INSTITUTION_PUBLIC_KEY": encoded(self.institution_key.public_key().public_bytes_raw()),
            "SIMULATOR_NOTIFY_URL": notify_url,
            **(environment or {}),
        }

    @property
    def signing_key_encoded(self) -> str:
        """`LIUSHUI_BANK_SIGNING_KEY` of an institution that this simulator trusts."""
        return encoded(self.institution_key.private_bytes_raw())

    @property
    def public_key_encoded(self) -> str:
        """`LIUSHUI_SIMULATOR_PUBLIC_KEY`: what the simulator signs can be verified with it."""
        return encoded(self.bank_key.public_key().public_bytes_raw())

    @property
    def connection(self) -> BankConnection:
        """What a connector needs to reach it."""
        return BankConnection(self.url, self.institution_key, self.bank_key.public_key())

    @property
    def is_running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.poll() is None

    @property
    def process_id(self) -> int:
        """Its process id; only while it runs."""
        assert self._process is not None
        return self._process.pid

    def start(self, within_seconds: float = 20) -> None:
        """Starts it and returns when it says that it is ready."""
        self._log = self.log_file.open("a")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "banks.simulator"],
            cwd=PROJECT,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        assert self._process.stdout is not None
        readable, _, _ = select.select([self._process.stdout], [], [], within_seconds)
        line = self._process.stdout.readline() if readable else ""
        if not line.startswith(_READY):
            self.kill()
            raise RuntimeError(f"the bank simulator did not start; see {self.log_file}")

    def stop(self, within_seconds: float = 10) -> int:
        """Asks it to stop (SIGTERM) and answers its exit code."""
        return self._end("terminate", within_seconds)

    def kill(self) -> int:
        """Ends it at once (SIGKILL), in the middle of whatever it does."""
        return self._end("kill", 10)

    def restart(self) -> None:
        """A clean stop and a start."""
        self.stop()
        self.start()

    def _end(self, how: str, within_seconds: float) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        try:
            getattr(process, how)()
            return process.wait(within_seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait(10)
        finally:
            if process.stdout is not None:
                process.stdout.close()
            if self._log is not None:
                self._log.close()

    def client(self, **options: Any) -> httpx.AsyncClient:
        """To speak with it over HTTP; the caller closes it."""
        return httpx.AsyncClient(base_url=self.url, trust_env=False, verify=trusted_authorities(), **options)

    async def change_settings(self, **changes: float) -> None:
        """Changes times and caps until the next restart."""
        await self._post("settings", changes)

    async def order_fault(self, operation: str, kind: str, **narrowing: Any) -> None:
        """Makes the next requests of an operation go wrong; `count`, `code`, `bank_code`, `card_number`,
        `request_number`.
        """
        await self._post("faults", {"operation": operation, "kind": kind, **narrowing})

    async def go_down(self, seconds: float, bank_code: str | None = None) -> None:
        """503 for everything, of one bank or of all, for a while; 0 ends it."""
        await self._post("down", {"seconds": seconds, **({} if bank_code is None else {"bank_code": bank_code})})

    async def open_bank(self, bank_code: str) -> None:
        """Payouts are taken."""
        await self._post("hours", {"bank_code": bank_code, "open": True})

    async def close_bank(self, bank_code: str, seconds: float | None = None) -> None:
        """Payouts are declined with BANK_CLOSED, for so long or until `open_bank`."""
        ending = {} if seconds is None else {"seconds": seconds}
        await self._post("hours", {"bank_code": bank_code, "open": False, **ending})

    async def send_back(self, bank_code: str, request_number: str, callbacks: str = "ordinary") -> None:
        """The payee's bank sends a paid payout back now; see `POST /control/returns`."""
        order = {"bank_code": bank_code, "request_number": request_number, "callbacks": callbacks}
        await self._post("returns", order)

    async def fund(self, bank_code: str, amount_minor: int, currency: str = "CNY") -> None:
        """Money of its own comes onto the institution's reserve."""
        await self._post("funds", {"bank_code": bank_code, "amount_minor": amount_minor, "currency": currency})

    async def control(self, path: str, **content: Any) -> dict[str, Any]:
        """Any other order to `/control`; answers what it answers."""
        async with self.client() as client:
            answer = await client.post(f"/control/{path}", json=content)
            answer.raise_for_status()
            read: dict[str, Any] = answer.json()
            return read

    async def first_rates(self) -> None:
        """All FX desks deal at their first rates again."""
        async with self.client() as client:
            (await client.delete("/control/fx-rates")).raise_for_status()

    async def clear_faults(self) -> None:
        """Takes ordered faults back."""
        async with self.client() as client:
            (await client.delete("/control/faults")).raise_for_status()

    async def books(self) -> dict[str, Any]:
        """`GET /control/books`."""
        async with self.client(timeout=30) as client:
            answer = await client.get("/control/books")
            answer.raise_for_status()
            read: dict[str, Any] = answer.json()
            return read

    async def _post(self, path: str, content: Mapping[str, Any]) -> None:
        async with self.client() as client:
            (await client.post(f"/control/{path}", json=dict(content))).raise_for_status()
