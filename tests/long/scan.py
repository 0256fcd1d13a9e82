"""Looks for planted values wherever something is kept: plain, and as base64, hex or percent-encoded text."""

from __future__ import annotations

import base64
import contextlib
import re
import zlib
from collections.abc import Iterable, Mapping
from urllib.parse import quote

_COMPRESSED = (b"\x78\x01", b"\x78\x9c", b"\x78\xda", b"\x1f\x8b")


class Needles:
    """Values by name. Every form that a careless program would leave behind is looked for in one pass."""

    def __init__(self, planted: Mapping[str, str | bytes]) -> None:
        self._names: dict[bytes, str] = {}
        for name, value in planted.items():
            for form in _forms(value):
                self._names[form] = name
        longest_first = sorted(self._names, key=len, reverse=True)
        self._pattern = re.compile(b"|".join(re.escape(form) for form in longest_first))

    def found_in(self, place: str, content: bytes) -> list[str]:
        """`name in place` for each planted value; compressed streams inside are opened."""
        hits = {self._names[hit.group()] for hit in self._pattern.finditer(content)}
        for inner in _inflated(content):
            hits |= {self._names[hit.group()] for hit in self._pattern.finditer(inner)}
        return [f"{name} in {place}" for name in sorted(hits)]


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


def _inflated(content: bytes) -> Iterable[bytes]:
    for magic in _COMPRESSED:
        position = content.find(magic)
        while position >= 0:
            with contextlib.suppress(zlib.error):
                yield zlib.decompressobj(47).decompress(content[position : position + 262_144], 1_048_576)
            position = content.find(magic, position + 2)
