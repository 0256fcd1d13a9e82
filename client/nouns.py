"""How one definition of a method serves both clients: plain answers with `Liushui`, awaitable ones with `AsyncLiushui`.

A noun's method only says what is asked; these descriptors have the client that the noun belongs to carry it out.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from functools import update_wrapper
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, Self, TypeVar, overload
from urllib.parse import quote

from .core import Ask, Core, Flow
from .models import Page, Resource
from .states import Origin

P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R", bound=Resource)
PAGE_SIZE = 100


class Sync:
    """Marks what answers at once."""


class Async:
    """Marks what has to be awaited."""


Mode = TypeVar("Mode")


class Carrier(Protocol):
    """The client behind a noun: it carries flows out, in its own way."""

    core: Core

    def carry_out(self, flow: Flow[Any]) -> Any: ...

    def pages(self, ask: Ask[Any]) -> Any: ...


class Noun(Generic[Mode]):
    """What can be asked about one kind of thing."""

    def __init__(self, carrier: Carrier) -> None:
        self._carrier = carrier
        self._core = carrier.core


class asks(Generic[P, R]):  # noqa: N801 - a decorator
    """A method of one request."""

    def __init__(self, build: Callable[Concatenate[Any, P], Ask[R]]) -> None:
        self._build = build
        self.__doc__ = build.__doc__

    @overload
    def __get__(self, noun: None, owner: Any) -> Self: ...
    @overload
    def __get__(self, noun: Noun[Sync], owner: Any) -> Callable[P, R]: ...
    @overload
    def __get__(self, noun: Noun[Async], owner: Any) -> Callable[P, Coroutine[Any, Any, R]]: ...
    def __get__(self, noun: Noun[Any] | None, owner: Any) -> Any:
        if noun is None:
            return self

        def call(*args: P.args, **kwargs: P.kwargs) -> Any:
            return noun._carrier.carry_out(noun._core.perform(self._build(noun, *args, **kwargs)))

        return update_wrapper(call, self._build)


class flows(Generic[P, T]):  # noqa: N801 - a decorator
    """A method of several requests: a generator of steps."""

    def __init__(self, build: Callable[Concatenate[Any, P], Flow[T]]) -> None:
        self._build = build
        self.__doc__ = build.__doc__

    @overload
    def __get__(self, noun: None, owner: Any) -> Self: ...
    @overload
    def __get__(self, noun: Noun[Sync], owner: Any) -> Callable[P, T]: ...
    @overload
    def __get__(self, noun: Noun[Async], owner: Any) -> Callable[P, Coroutine[Any, Any, T]]: ...
    def __get__(self, noun: Noun[Any] | None, owner: Any) -> Any:
        if noun is None:
            return self

        def call(*args: P.args, **kwargs: P.kwargs) -> Any:
            return noun._carrier.carry_out(self._build(noun, *args, **kwargs))

        return update_wrapper(call, self._build)


class lists(Generic[P, R]):  # noqa: N801 - a decorator
    """A method that goes through all items of all pages, and fetches a page when it gets there."""

    def __init__(self, build: Callable[Concatenate[Any, P], Ask[Page[R]]]) -> None:
        self._build = build
        self.__doc__ = build.__doc__

    @overload
    def __get__(self, noun: None, owner: Any) -> Self: ...
    @overload
    def __get__(self, noun: Noun[Sync], owner: Any) -> Callable[P, Iterator[R]]: ...
    @overload
    def __get__(self, noun: Noun[Async], owner: Any) -> Callable[P, AsyncIterator[R]]: ...
    def __get__(self, noun: Noun[Any] | None, owner: Any) -> Any:
        if noun is None:
            return self

        def call(*args: P.args, **kwargs: P.kwargs) -> Any:
            return noun._carrier.pages(self._build(noun, *args, **kwargs))

        return update_wrapper(call, self._build)


def path(*parts: str) -> str:
    """`/v1/…` of these parts; what a part holds can never become another part."""
    # Dots alone mean another part to whoever tidies an address up on the way.
    return "/v1/" + "/".join(quote(part, safe="") if part.strip(".") else part.replace(".", "%2E") for part in parts)


def mandate(reference: str | None) -> dict[str, str]:
    """Who asks: with a reference it is you, under a standing arrangement with the user; else the user through you."""
    return {} if reference is None else {"origin": Origin.STANDING_MANDATE.value, "mandate_reference": reference}


def named_evidence(references: Mapping[str, str] | None) -> list[dict[str, str]]:
    """Your references by the kind of what you keep, as the API takes them."""
    return [{"kind": kind, "reference": reference} for kind, reference in (references or {}).items()]
