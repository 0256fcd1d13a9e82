"""Who asks: `Authorization: Bearer lsk_{ULID}_{secret}`. Only the SHA-256 of the secret goes further."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections import OrderedDict
from dataclasses import dataclass, field
from weakref import WeakValueDictionary

from starlette.datastructures import Headers

from domain.errors import ErrorCode, NotAllowedError
from domain.identifiers import ULID_PATTERN, IdPrefix, identifier

_REMEMBERED = 10_000
_Pair = tuple[str, str]
_KEY = re.compile(rf"lsk_({ULID_PATTERN})_([A-Za-z0-9_-]{{20,120}})")


@dataclass(frozen=True)
class Credentials:
    """The claimed key, and the proof of it."""

    key_id: str
    secret_hash: str = field(repr=False)


def read_credentials(headers: Headers) -> Credentials:
    """Raises NotAllowedError: API_KEY_MISSING without a bearer token, API_KEY_INVALID for one that is no key."""
    given = headers.getlist("authorization")
    if len(given) != 1 or given[0][:7].lower() != "bearer ":
        raise NotAllowedError(ErrorCode.API_KEY_MISSING)
    found = _KEY.fullmatch(given[0][7:].strip())
    if found is None:
        raise NotAllowedError(ErrorCode.API_KEY_INVALID)
    ulid, secret = found.groups()
    return Credentials(identifier(IdPrefix.API_KEY, ulid), hashlib.sha256(secret.encode()).hexdigest())


class Callers:
    """Keys and secrets that were found true in this process, and whose they are.

    It chooses a quota and nothing else: the first commit of each request asks again whether the key is valid.
    """

    def __init__(self) -> None:
        self._merchants: OrderedDict[_Pair, str] = OrderedDict()
        self._turns: WeakValueDictionary[_Pair, asyncio.Lock] = WeakValueDictionary()

    def merchant_of(self, pair: _Pair) -> str | None:
        """Whose key it is, if that is known."""
        return self._merchants.get(pair)

    def learn(self, pair: _Pair, merchant_id: str | None) -> None:
        """The first commit's word on a key; None: it is not valid, or no longer."""
        if merchant_id is None:
            self._merchants.pop(pair, None)
            return
        self._merchants[pair] = merchant_id
        self._merchants.move_to_end(pair)
        if len(self._merchants) > _REMEMBERED:
            self._merchants.popitem(last=False)

    def turn(self, pair: _Pair) -> asyncio.Lock:
        """One at a time asks whether an unknown key is true: the others of a burst then know."""
        return self._turns.setdefault(pair, asyncio.Lock())
