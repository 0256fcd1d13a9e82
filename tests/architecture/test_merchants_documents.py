"""What is written for merchants says what the program does."""

from __future__ import annotations

import re

import pytest

from api import error_table, state_tables
from api.problems import status_of
from banks.simulator import card_table
from banks.simulator.cards import FAULT_CARDS
from domain.error_codes import OPERATOR_CODES, ErrorCode
from domain.states import BindingState, PaymentState, RefundState, WaitReason
from tests.architecture.project import PROJECT

DOCUMENTS = PROJECT / "docs" / "merchants"


def test_the_table_of_codes_is_that_of_the_program() -> None:
    document = error_table.DOCUMENT.read_text(encoding="utf-8")
    assert error_table.with_table(document) == document, "run: python -m api.error_table"
    listed = dict(re.findall(r"^\| `([A-Z_]+)` \| (\d{3})", document, re.MULTILINE))
    assert listed == {code.value: str(status_of(code)) for code in set(ErrorCode) - OPERATOR_CODES}


def test_the_test_cards_are_those_of_the_simulator() -> None:
    document = card_table.DOCUMENT.read_text(encoding="utf-8")
    assert card_table.with_tables(document) == document, "run: python -m banks.simulator.card_table"
    explained = set()
    for first, last in re.findall(
        r"\b(\d\d)(?:–(\d\d))?\b", document.partition("What you see of it")[2].partition("<!--")[0]
    ):
        explained |= set(range(int(first), int(last or first) + 1))
    assert set(FAULT_CARDS) <= explained


def test_the_states_are_those_of_the_rules() -> None:
    document = state_tables.DOCUMENT.read_text(encoding="utf-8")
    assert state_tables.with_pictures(document) == document, "run: python -m api.state_tables"
    for words in (BindingState, PaymentState, RefundState, WaitReason):
        assert [word for word in words if not re.search(rf"\b{word.value}\b", document)] == []


@pytest.mark.parametrize("path", sorted(DOCUMENTS.glob("*.md")), ids=lambda path: path.name)
def test_links_between_the_documents_lead_somewhere(path) -> None:  # type: ignore[no-untyped-def]
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8"))
    local = [link for link in links if not link.startswith("http")]
    assert [link for link in local if not (path.parent / link).exists()] == []


def test_every_code_in_the_documents_exists() -> None:
    known = {code.value for code in ErrorCode}
    for path in DOCUMENTS.glob("*.md"):
        named = set(re.findall(r"`([A-Z]+(?:_[A-Z]+)+)`", path.read_text(encoding="utf-8")))
        assert named - known - {"NO_ANSWER", "WEBHOOK_SECRET", "UNEXPECTED_ANSWER"} == set(), path.name
