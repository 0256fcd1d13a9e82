"""Looks for known values wherever something is kept: plain, in UTF-16, and as base64, hex or percent-encoded text."""

from __future__ import annotations

import base64
import contextlib
import zlib
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import quote

_COMPRESSED = (b"\x78\x01", b"\x78\x9c", b"\x78\xda", b"\x1f\x8b")
_DEFLATED_BYTES, _INFLATED_BYTES = 262_144, 1_048_576


class Needles:
    """Values by name. Every form that a careless program would leave behind is looked for."""

    def __init__(self, planted: Mapping[str, str | bytes]) -> None:
        self._names: dict[bytes, str] = {}
        for name, value in planted.items():
            for form in _forms(value):
                self._names[form] = name
        self._longest = max(map(len, self._names))

    def found_in(self, place: str, content: bytes) -> list[str]:
        """`name in place` for each planted value; compressed streams inside are opened."""
        return [f"{name} in {place}" for name in sorted(self._hits(content))]

    def among(self, pieces: Iterable[bytes]) -> set[str]:
        """The names of the values in something that comes in pieces, also where one goes over from piece to piece."""
        found: set[str] = set()
        end = b""
        for piece in pieces:
            content = end + piece
            found |= self._hits(content)
            end = content[-self._longest :]
        return found

    def _hits(self, content: bytes) -> set[str]:
        # Some forms in turn are found faster than any of them by a pattern.
        return {name for some in (content, *_inflated(content)) for form, name in self._names.items() if form in some}


def _forms(value: str | bytes) -> Iterable[bytes]:
    raw = value.encode() if isinstance(value, str) else value
    yield raw
    yield raw.hex().encode()
    yield raw.hex().upper().encode()
    for offset in range(3):
        yield from _as_base64(raw, offset)
    if isinstance(value, str):
        yield from _forms_of_text(value)


def _forms_of_text(value: str) -> Iterable[bytes]:
    yield value.encode("utf-16-le")
    yield quote(value, safe="").encode()
    yield value.encode("unicode_escape")
    yield "".join(f"\\u{ord(character):04X}" if ord(character) > 127 else character for character in value).encode()


def _as_base64(raw: bytes, offset: int) -> Iterable[bytes]:
    """What of the value is certain in base64 of a text that holds it `offset` bytes after a multiple of three."""
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        text = encode(b"\0" * offset + raw)
        start = -(-offset * 4 // 3) if offset else 0
        certain = text[start : (offset + len(raw)) // 3 * 4]
        if len(certain) >= 7:
            yield certain


def _inflated(content: bytes) -> Iterator[bytes]:
    for magic in _COMPRESSED:
        position = content.find(magic)
        while position >= 0:
            with contextlib.suppress(zlib.error):
                yield zlib.decompressobj(47).decompress(content[position : position + _DEFLATED_BYTES], _INFLATED_BYTES)
            position = content.find(magic, position + 2)
