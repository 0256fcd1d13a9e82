"""Applications that tests use one after the other: to make the routes of one takes as long as many a test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from fastapi import FastAPI


class Applications:
    """All of one kind. An application holds nothing of a test but its services, which are put into it at its start."""

    def __init__(self, build: Callable[[Callable[[], AbstractAsyncContextManager[Any]]], FastAPI]) -> None:
        self._build = build
        self._idle: list[_Application] = []

    @asynccontextmanager
    async def started(self, services: Any) -> AsyncIterator[FastAPI]:
        """One that nobody else uses meanwhile. What a test has ended with an error is not used again."""
        application = self._idle.pop() if self._idle else _Application(self._build)
        application.services = services
        async with application.app.router.lifespan_context(application.app):
            yield application.app
        application.services = None
        del application.app.state.services
        self._idle.append(application)


class _Application:
    def __init__(self, build: Callable[[Callable[[], AbstractAsyncContextManager[Any]]], FastAPI]) -> None:
        self.services: Any = None
        self.app = build(self._open)

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[Any]:
        yield self.services
