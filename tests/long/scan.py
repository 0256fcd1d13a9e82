"""The scan of the demo, for thousands of values at once, and in two forms more: UTF-16 big end first, and backwards."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import groupby

from cli import needles

__all__ = ["Needles"]


class Needles(needles.Needles):
    """What is planted is looked for in one way everywhere; in one pass, for there is much of it and many gigabytes."""

    def __init__(self, planted: Mapping[str, str | bytes]) -> None:
        super().__init__(planted)
        for name, value in planted.items():
            if isinstance(value, str):
                self._names[value.encode("utf-16-be")] = name
                if any(character.isdigit() for character in value):
                    self._names[value[::-1].encode()] = name
        self._longest = max(map(len, self._names))
        self._pattern = re.compile(_tree(sorted(self._names)))

    def _hits(self, content: bytes) -> set[str]:
        streams = (content, *needles._inflated(content))
        return {self._names[hit.group()] for some in streams for hit in self._pattern.finditer(some)}


def _tree(forms: Sequence[bytes], depth: int = 0) -> bytes:
    """An expression for any of these sorted forms from `depth` on, the longest first, told apart byte by byte."""
    branches = []
    ended = bool(forms) and len(forms[0]) == depth
    for _, group in groupby(forms[1:] if ended else forms, key=lambda form: form[depth]):
        some = list(group)
        common = _prefix_of_both(some[0], some[-1])
        rest = _tree(some, len(common)) if len(some) > 1 else b""
        branches.append(re.escape(common[depth:]) + rest)
    if not branches:
        return b""
    return b"(?:" + b"|".join(branches) + (b")?" if ended else b")")


def _prefix_of_both(first: bytes, last: bytes) -> bytes:
    length = next((at for at, (one, other) in enumerate(zip(first, last, strict=False)) if one != other), len(first))
    return first[:length]
