"""What the demo and the long tests look for traces with has to find what is there, in whatever form."""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from urllib.parse import quote

import pytest

from cli.needles import Needles
from demo.traces import Found

PLANTED = {"name": "欧阳知秋", "card": "9901010000077880005", "mobile": "13977441122"}


@pytest.mark.parametrize("name", PLANTED)
def test_a_value_is_found_in_every_form_that_a_careless_program_leaves_behind(name: str) -> None:
    value, needles = PLANTED[name], Needles(PLANTED)
    raw = value.encode()
    forms = [raw, raw.hex().encode(), quote(value).encode(), json.dumps(value).encode(), value.encode("utf-16-le")]
    forms += [base64.b64encode(b"x" * offset + raw + b"tail") for offset in range(3)]
    forms += [zlib.compress(b"before" + raw), gzip.compress(raw)]
    assert [needles.found_in("here", b"\x00" + form + b"\x01") for form in forms] == [[f"{name} in here"]] * len(forms)


def test_a_value_that_goes_over_from_piece_to_piece_is_found() -> None:
    content = b"a" * 1000 + PLANTED["card"].encode() + b"z" * 1000
    for size in (7, 64, 1009, 5000):
        pieces = (content[start : start + size] for start in range(0, len(content), size))
        assert Needles(PLANTED).among(pieces) == {"card"}


def test_where_nothing_is_nothing_is_found() -> None:
    assert Needles(PLANTED).among([b"", b"9901010000077880006", b"13977441123"]) == set()


def test_what_was_found_is_said_with_its_place() -> None:
    places = {"liushui": frozenset({"name", "card"}), "logs": frozenset[str]()}
    assert Found(places, sealed=7, opened=0).readable == "the card, name in liushui"
    assert Found({"logs": frozenset()}, sealed=7, opened=0).readable == "nothing"
