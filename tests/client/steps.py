"""Plays the world for a flow: each request gets the next answer, each pause moves the time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import httpx

from client.core import Core, Flow, Pause, Send, Settings, World
from client.retries import Retries
from client.signing import SigningKey

API_KEY = "lsk_01KB5N3E4H6Q8Z2T7V9W0X1Y2R_verysecretverysecretverysecret"
START = datetime(2026, 11, 20, 4, 0, tzinfo=UTC)
Answer = httpx.Response | httpx.TransportError | Callable[[httpx.Request], httpx.Response]


@dataclass
class Stepper:
    """What was sent and how long was waited, with a clock that only pauses move."""

    signing_key: SigningKey | None = None
    retries: Retries = field(default_factory=Retries)
    seconds_an_attempt: float = 0.0
    sent: list[httpx.Request] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)
    passed: float = 0.0

    def core(self) -> Core:
        numbers = count(1)
        world = World(
            monotonic=lambda: self.passed,
            now=lambda: START + timedelta(seconds=self.passed),
            chance=lambda: 1.0,
            token=lambda length: f"{next(numbers):0{2 * length}x}",
        )
        settings = Settings(
            "https://api.example", API_KEY, signing_key=self.signing_key, retries=self.retries, world=world
        )
        return Core(settings)

    def play(self, flow: Flow[Any], answers: Iterable[Answer]) -> Any:
        """Carries a flow out with these answers, one a request."""
        given = iter(answers)
        try:
            step = next(flow)
            while True:
                step = self._take(flow, step, given)
        except StopIteration as end:
            return end.value

    def _take(self, flow: Flow[Any], step: Send | Pause, given: Any) -> Send | Pause:
        if isinstance(step, Pause):
            self.pauses.append(step.seconds)
            self.passed += step.seconds
            return flow.send(None)
        self.sent.append(step.request)
        self.passed += self.seconds_an_attempt
        answer = next(given)
        if isinstance(answer, httpx.TransportError):
            return flow.throw(answer)
        return flow.send(answer(step.request) if callable(answer) else answer)

    @property
    def keys(self) -> set[str]:
        """The different Idempotency-Keys that were sent."""
        return {request.headers["idempotency-key"] for request in self.sent}


def problem(status: int, code: str, **headers: str) -> httpx.Response:
    """A refusal as the API words it."""
    body = {"code": code, "title": "No", "title_zh": "不", "action": "Do otherwise.", "request_id": "req_1"}
    return httpx.Response(status, json=body, headers={"content-type": "application/problem+json", **headers})
