"""The operators' API as the commands use it: who is logged in here, asking it, and plain sentences for its refusals."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import httpx

from cli.local_operators import LocalOperator, read_operators
from cli.terminal import choices, end
from config.settings import ProcessSettings, Url, load_or_exit
from runtime.secrets import write_private
from runtime.stack import running_stack

Result = TypeVar("Result")
DEFAULT_FOLDER = Path(__file__).resolve().parent.parent / "var"
_SECONDS = 30.0
_TOTP_STEP = timedelta(seconds=30)


@dataclass
class Sessions:
    """Who is logged in at an address, kept in a file that only its owner may read."""

    path: Path
    address: str
    current: str | None = None
    tokens: dict[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def read(cls, path: Path, address: str) -> Sessions:
        """Nobody, if there is no file, or it is of another address."""
        try:
            kept = json.loads(path.read_text())
            if kept["address"] == address:
                return cls(path, address, kept["current"], dict(kept["tokens"]))
        except (OSError, ValueError, KeyError, TypeError):
            pass
        return cls(path, address)

    def keep(self, login: str, token: str, *, as_current: bool) -> None:
        self.tokens[login] = token
        self.current = login if as_current else self.current
        self._write()

    def forget(self, login: str) -> None:
        self.tokens.pop(login, None)
        self.current = None if self.current == login else self.current
        self._write()

    def _write(self) -> None:
        kept = {"address": self.address, "current": self.current, "tokens": self.tokens}
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_private(self.path, json.dumps(kept) + "\n")


class OpsAddress(ProcessSettings):
    """Where the operators' API is; on a local stack it is known without."""

    ops_url: Url | None = None


class OpsRefusedError(Exception):
    """A problem document of the operators' API."""

    def __init__(self, problem: Mapping[str, Any]) -> None:
        super().__init__(str(problem.get("code", "")))
        self.problem = problem


def connect(address: str) -> httpx.Client:
    """Redirects are not followed: a token goes to this address only."""
    return httpx.Client(base_url=address, timeout=_SECONDS, trust_env=False)


class OpsClient:
    """One address of the operators' API, and the sessions here."""

    def __init__(
        self, address: str, sessions: Sessions, local: Mapping[str, LocalOperator], login: str | None = None
    ) -> None:
        self._login = login
        self._http = connect(address)
        self._sessions = sessions
        self._local = local

    def __enter__(self) -> OpsClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    @property
    def who(self) -> str | None:
        """As whom it is asked: the one chosen for this, or who logged in last."""
        return self._login or self._sessions.current

    def log_in(self, login: str, password: str, totp: str, *, as_current: bool = True) -> dict[str, Any]:
        """Keeps the session. Raises OpsRefusedError."""
        body = {"login": login, "password": password, "totp": totp}
        session = self._send("POST", "/login", None, body)
        self._sessions.keep(login, session["token"], as_current=as_current)
        return session

    def log_out(self) -> str | None:
        """Ends the session here and there; answers whose it was."""
        login = self.who
        if login is None or login not in self._sessions.tokens:
            return None
        with suppress(OpsRefusedError):  # it was over already
            self._send("POST", "/logout", self._sessions.tokens[login], {})
        self._sessions.forget(login)
        return login

    def forget_session(self) -> None:
        """It was ended over there."""
        if self.who is not None:
            self._sessions.forget(self.who)

    def get(self, path: str, **query: Any) -> dict[str, Any]:
        given = {name.rstrip("_"): value for name, value in query.items() if value is not None}
        return self._ask("GET", path, None, given)

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        given = {name: value for name, value in (body or {}).items() if value is not None}
        return self._ask("POST", path, given, None)

    def page(self, path: str) -> str:
        """What comes as a page of HTML."""
        return str(self._ask("GET", path, None, None)["page"])

    def open_post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """For who has no session."""
        return self._send("POST", path, None, body)

    def log_in_locally(self, login: str) -> None:
        """On a local stack, with the credentials that `make up` wrote down. Raises OpsRefusedError."""
        person, now = self._local[login], datetime.now(UTC)
        # A code works once, and a neighbour's is taken too: at the third try the clock has to go on.
        for instant in (now, now + _TOTP_STEP):
            try:
                self.log_in(login, person.password, person.code(instant), as_current=False)
            except OpsRefusedError as refused:
                if str(refused) != "LOGIN_FAILED":
                    raise
            else:
                return
        time.sleep(30 - time.time() % 30)
        self.log_in(login, person.password, person.code(datetime.now(UTC) + _TOTP_STEP), as_current=False)

    def _ask(
        self, method: str, path: str, body: Mapping[str, Any] | None, query: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        login = self.who
        may_log_in = login is not None and login in self._local and login == self._login
        if login is None or (login not in self._sessions.tokens and not may_log_in):
            nobody = "Nobody is logged in here: bin/liushui login LOGIN."
            end(nobody if login is None else f"{login} is not logged in here: bin/liushui login {login}")
        if login not in self._sessions.tokens:
            self.log_in_locally(login)
        try:
            return self._send(method, path, self._sessions.tokens[login], body, query)
        except OpsRefusedError as refused:
            if str(refused) != "SESSION_INVALID" or not may_log_in:
                raise
        self.log_in_locally(login)
        return self._send(method, path, self._sessions.tokens[login], body, query)

    def _send(
        self,
        method: str,
        path: str,
        token: str | None,
        body: Mapping[str, Any] | None,
        query: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        answer = self._http.request(method, f"/ops/v1{path}", json=body, params=query, headers=headers)
        try:
            is_page = answer.is_success and answer.headers.get("content-type", "").startswith("text/html")
            document = {"page": answer.text} if is_page else answer.json()
        except ValueError:
            document = {}
        if not answer.is_success or not isinstance(document, dict):
            raise OpsRefusedError(document if isinstance(document, dict) else {})
        return document


def open_client() -> OpsClient:
    """To the address in LIUSHUI_OPS_URL, else to the stack that runs in this checkout."""
    address = load_or_exit(OpsAddress).ops_url
    if address is not None and address != _local_address():
        home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "liushui"
        return OpsClient(address, Sessions.read(home / "session.json", address), {}, choices.login)
    address = _local_address() or address
    if address is None:
        end("No operators' API is known: start the local stack (make up), or set LIUSHUI_OPS_URL.", 2)
    sessions = Sessions.read(DEFAULT_FOLDER / "session.json", address)
    return OpsClient(address, sessions, read_operators(DEFAULT_FOLDER), choices.login)


def _local_address() -> str | None:
    address = running_stack(DEFAULT_FOLDER).get("addresses", {}).get("ops")
    return str(address) if address else None


def ask(work: Callable[[OpsClient], Result]) -> Result:
    """Runs work as the person who is logged in; what is refused or away is one sentence and exit code 1."""
    try:
        with open_client() as client:
            return work(client)
    except OpsRefusedError as refused:
        end(sentence_of(refused.problem))
    except httpx.HTTPError as error:
        end(f"The operators' API cannot be reached ({type(error).__name__}). Does the stack run here (make up)?")


def sentence_of(problem: Mapping[str, Any]) -> str:
    """What was refused, which fields were wrong, and what to do."""
    if not problem.get("code"):
        return "The operators' API did not answer as it should."
    fields = "".join(f" {error['field']}: {error['code']}." for error in problem.get("errors", ()))
    subject = f" ({problem['subject_id']})" if problem.get("subject_id") else ""
    return f"{problem['detail']}{subject}{fields} {problem['action']} [{problem['code']}, {problem['request_id']}]"
