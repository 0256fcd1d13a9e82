"""What a call does, without doing any input or output itself: sync and async clients carry out the same steps.

A flow is a generator. It asks for a request to be sent or for a pause, is given the response or the connection's error,
and returns the answer. So requests, signatures, retries and errors are written once.
"""

from __future__ import annotations

import json
import random
import secrets
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any, Generic, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from .errors import LiushuiError, NoAnswerError, UnexpectedAnswerError, error_class
from .retries import Retries, is_unsettled, may_be_repeated, settles
from .signing import SigningKey

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)

DEFAULT_TIMEOUT = httpx.Timeout(connect=5.0, read=20.0, write=10.0, pool=10.0)
_AGENT = "liushui-client/1"


@dataclass(frozen=True)
class Send:
    """A request to send; the flow goes on with its response, or with the httpx.TransportError."""

    request: httpx.Request


@dataclass(frozen=True)
class Pause:
    """So many seconds in which nothing is to be done."""

    seconds: float


Flow = Generator[Send | Pause, Any, T]


@dataclass(frozen=True)
class Ask(Generic[M]):
    """One request and the model of its answer. A command goes under an Idempotency-Key, and is signed."""

    method: str
    path: str
    answer: type[M]
    # Bodies hold one-time codes and personal data: they show nowhere.
    body: Mapping[str, Any] | None = field(default=None, repr=False)
    query: Mapping[str, Any] = field(default_factory=dict)
    is_command: bool = False
    idempotency_key: str | None = None
    # For what is also there in another shape.
    accept: str = "application/json"


@dataclass(frozen=True)
class Outcome:
    """The last response, or the kind of failure if there was none; `unsettled` if an attempt was left open."""

    response: httpx.Response | None
    failure: str
    unsettled: bool


@dataclass(frozen=True)
class World:
    """Time and chance, as a test may replace them."""

    monotonic: Callable[[], float] = time.monotonic
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    chance: Callable[[], float] = random.random
    token: Callable[[int], str] = secrets.token_hex


@dataclass(frozen=True)
class Settings:
    """What both clients are made of."""

    base_url: str
    api_key: str = field(repr=False)
    signing_key: SigningKey | None = None
    retries: Retries = field(default_factory=Retries)
    timeout: httpx.Timeout = field(default_factory=lambda: DEFAULT_TIMEOUT)
    world: World = field(default_factory=World)


class Core:
    """Turns what is asked into requests, and responses into answers."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._base = httpx.URL(settings.base_url.rstrip("/"))
        self.monotonic = settings.world.monotonic

    def perform(self, ask: Ask[M]) -> Flow[M]:
        """The answer as a value. Raises LiushuiError."""
        key = self.key_of(ask)
        response = yield from self.exchange(ask, key)
        return _value(ask, response, key)

    def key_of(self, ask: Ask[Any]) -> str | None:
        """The caller's Idempotency-Key, or a new one for a command that was given none."""
        return (ask.idempotency_key or f"ls-{self.settings.world.token(16)}") if ask.is_command else None

    def raw(self, ask: Ask[Any]) -> Flow[httpx.Response]:
        """The response as it came, a refusal too. Raises NoAnswerError if none came at all."""
        key = self.key_of(ask)
        outcome = yield from self.attempts(ask, key)
        if outcome.response is None:
            raise _nothing_came(outcome, key)
        return outcome.response

    def exchange(self, ask: Ask[Any], key: str | None) -> Flow[httpx.Response]:
        """A successful response. Raises LiushuiError."""
        outcome = yield from self.attempts(ask, key)
        if outcome.response is None:
            raise _nothing_came(outcome, key)
        if not outcome.response.is_success:
            raise _refusal(outcome.response, outcome, key)
        return outcome.response

    def attempts(self, ask: Ask[Any], key: str | None) -> Flow[Outcome]:
        """What came of it, whatever it is, after as many attempts as the retries allow."""
        retries, deadline = self.settings.retries, self.monotonic() + self.settings.retries.total_seconds
        unsettled, attempt = False, 0
        while True:
            attempt += 1
            response, failure = None, ""
            try:
                response = yield Send(self.request(ask, key))
            except httpx.TransportError as error:
                failure = type(error).__name__
                # A connection that never was has carried nothing.
                unsettled = unsettled or not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
            if response is not None:
                code = (_problem(response) or {}).get("code")
                unsettled = unsettled or is_unsettled(response.status_code, code)
                if response.is_success or not may_be_repeated(response.status_code, code):
                    return Outcome(response, failure, ask.is_command and unsettled)
            pause = retries.pause(attempt, _retry_after(response), self.settings.world.chance())
            if self.monotonic() + pause > deadline:
                return Outcome(response, failure, ask.is_command and unsettled)
            yield Pause(pause)

    def request(self, ask: Ask[Any], key: str | None) -> httpx.Request:
        """One attempt: a signed one carries a nonce of its own, under the same Idempotency-Key."""
        headers = {
            "Authorization": f"Bearer {self.settings.api_key}",
            "Accept": f"{ask.accept}, application/problem+json",
            "User-Agent": _AGENT,
        }
        content = None
        if ask.body is not None:
            content = json.dumps(ask.body, ensure_ascii=False, allow_nan=False).encode()
            headers["Content-Type"] = "application/json"
        if key is not None:
            headers["Idempotency-Key"] = key
        request = httpx.Request(
            ask.method,
            self._url(ask),
            headers=headers,
            content=content,
            extensions={"timeout": self.settings.timeout.as_dict()},
        )
        if self.settings.signing_key is not None and ask.is_command:
            self.settings.signing_key.sign(
                request, created=self.settings.world.now(), nonce=self.settings.world.token(16)
            )
        return request

    def _url(self, ask: Ask[Any]) -> httpx.URL:
        query = {name: value for name, value in ask.query.items() if value is not None}
        url = self._base.copy_with(raw_path=self._base.raw_path.rstrip(b"/") + ask.path.encode())
        return url.copy_merge_params(query) if query else url


def check_line(base_url: str) -> None:
    """Raises ValueError for an address over which a key would travel unencrypted to another machine."""
    url = httpx.URL(base_url)
    if url.scheme == "https" or (url.scheme == "http" and _is_this_machine(url.host)):
        return
    raise ValueError("base_url has to be an https:// address; http:// is for 127.0.0.1 only")


def _is_this_machine(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _value(ask: Ask[M], response: httpx.Response, key: str | None) -> M:
    try:
        return ask.answer.model_validate_json(response.content or b"{}")
    except ValidationError:
        raise UnexpectedAnswerError(
            "UNEXPECTED_ANSWER", status=response.status_code, idempotency_key=key, may_have_been_done=ask.is_command
        ) from None


def _problem(response: httpx.Response | None) -> Mapping[str, Any] | None:
    if response is None:
        return None
    try:
        found = json.loads(response.content)
    except ValueError:
        return None
    return found if isinstance(found, dict) and isinstance(found.get("code"), str) else None


def _retry_after(response: httpx.Response | None) -> float | None:
    given = response.headers.get("retry-after", "") if response is not None else ""
    return float(given) if given.isascii() and given.isdecimal() and len(given) < 7 else None


def _nothing_came(outcome: Outcome, key: str | None) -> NoAnswerError:
    said = {"code": "NO_ANSWER", "title": f"No answer ({outcome.failure})"}
    return NoAnswerError("NO_ANSWER", problem=said, idempotency_key=key, may_have_been_done=outcome.unsettled)


def _refusal(response: httpx.Response, outcome: Outcome, key: str | None) -> LiushuiError:
    status, problem = response.status_code, _problem(response)
    kind = error_class(status) if problem is not None or status >= 500 else UnexpectedAnswerError
    settled = problem is not None and settles(status) and not is_unsettled(status, problem["code"])
    return kind(
        "NO_ANSWER" if status >= 500 else "UNEXPECTED_ANSWER",
        status=status,
        problem=problem,
        retry_after=_retry_after(response),
        idempotency_key=key,
        may_have_been_done=outcome.unsettled and not settled,
    )
