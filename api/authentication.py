"""Who asks: `Authorization: Bearer lsk_{ULID}_{secret}`. Only the SHA-256 of the secret goes further."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field

from starlette.datastructures import Headers

from domain.errors import ErrorCode, NotAllowedError
from domain.identifiers import ULID_PATTERN, IdPrefix, identifier

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
