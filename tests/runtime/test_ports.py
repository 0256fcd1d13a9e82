"""Ports of the local stack."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from runtime.ports import PortBook


def test_ports_are_remembered_and_one_that_somebody_took_is_replaced(tmp_path: Path) -> None:
    book = PortBook(tmp_path / "ports.json")
    first = book.reserve(["a", "b"])
    book.release()
    with socket.create_server(("127.0.0.1", first["a"])):
        again = PortBook(tmp_path / "ports.json")
        second = again.reserve(["a", "b"])
        again.release()
    assert second["b"] == first["b"]
    assert second["a"] != first["a"]
    third = PortBook(tmp_path / "ports.json")
    assert third.reserve(["a", "b"]) == second
    third.release()


def test_two_stacks_never_get_the_same_port_though_neither_listens_yet(tmp_path: Path) -> None:
    one, other = PortBook(tmp_path / "one.json"), PortBook(tmp_path / "other.json")
    mine = one.reserve(["a"])
    (tmp_path / "other.json").write_text(json.dumps(mine))
    assert other.reserve(["a"]) != mine
    one.release()
    other.release()


def test_a_port_lost_after_it_was_reserved_is_replaced(tmp_path: Path) -> None:
    book = PortBook(tmp_path / "ports.json")
    ports = book.reserve(["a", "b"])
    with socket.create_server(("127.0.0.1", ports["a"])):
        assert book.lost(["a", "b"]) == ["a"]
        replaced = book.reserve(["a", "b"])
    assert replaced["a"] != ports["a"]
    assert replaced["b"] == ports["b"]
    book.release()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"a": "x"}', '{"a": 99999}', '{"a": -1}'])
def test_a_broken_memory_of_ports_is_no_obstacle(tmp_path: Path, content: str) -> None:
    (tmp_path / "ports.json").write_text(content)
    book = PortBook(tmp_path / "ports.json")
    assert book.reserve(["a"])["a"] > 0
    book.release()
