"""What is written for merchants says what the program does."""

from __future__ import annotations

import ast
import re

import pytest

from api import error_table, state_tables
from api.problems import status_of
from banks.simulator import card_table
from banks.simulator.cards import FAULT_CARDS
from client import Liushui
from client.nouns import Noun
from domain.closing import ClosureState, DisputeState, ObstacleKind
from domain.error_codes import OPERATOR_CODES, ErrorCode
from domain.states import (
    BindingState,
    FxState,
    PaymentState,
    PayoutState,
    ReceivingAccountState,
    RefundState,
    WaitReason,
)
from domain.webhooks import EVENT_TYPES
from tests.api.document import api_document
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
    of_fx, of_closing = (ReceivingAccountState, FxState), (ClosureState, DisputeState)
    for words in (BindingState, PaymentState, RefundState, PayoutState, *of_fx, *of_closing, WaitReason):
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


def test_every_event_and_address_in_the_pictures_exists() -> None:
    text = "".join((DOCUMENTS / name).read_text(encoding="utf-8") for name in ("flows.md", "fx.md", "closing.md"))
    pictures = "".join(re.findall(r"^```mermaid\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    pictures += "".join(line for line in text.splitlines() if line.startswith("| `"))
    families = "payment|refund|binding|payout|receiving_account|inbound|fx_mandate|fx|closure|dispute"
    named = set(re.findall(rf"\b((?:{families})\.[a-z_]+)\b", pictures))
    assert {"fx.settled", "closure.completed"} <= named
    assert named - set(EVENT_TYPES) == set()
    paths = {re.sub(r"\{\w+\}", "{id}", path) for path in _addresses()}
    shown = set(re.findall(r"(?:GET|POST|DELETE) (/v1/[a-z_/{}]*[a-z}])", text))
    assert len(shown) > 8
    assert shown - paths == set()


def _addresses() -> set[str]:
    return set(api_document()["paths"])


def test_everything_that_can_be_in_the_way_of_a_closure_is_explained() -> None:
    text = (DOCUMENTS / "closing.md").read_text(encoding="utf-8")
    rows = "".join(line for line in text.splitlines() if line.startswith("| `"))
    assert [kind for kind in ObstacleKind if f"`{kind}`" not in rows] == []


def test_every_method_of_the_client_is_in_its_document() -> None:
    text = (DOCUMENTS / "client.md").read_text(encoding="utf-8")
    client = Liushui("https://api.example", "lsk_x")
    for name, noun in vars(client).items():
        if isinstance(noun, Noun):
            row = re.search(rf"^\| `{name}` \| `([a-z_ ]+)` \|$", text, re.MULTILINE)
            assert row is not None, name
            assert set(row[1].split()) == {found for found in vars(type(noun)) if not found.startswith("_")}, name


def test_the_python_in_the_documents_is_python() -> None:
    for path in DOCUMENTS.glob("*.md"):
        for block in re.findall(r"^```python\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
            compile(block, path.name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


@pytest.mark.parametrize("page", ["docs/merchants/states.md", "docs/operators.md"])
@pytest.mark.parametrize("reason", WaitReason)
def test_every_reason_to_wait_is_explained_to_merchants_and_operators(page: str, reason: WaitReason) -> None:
    assert f"\n| `{reason}` |" in (PROJECT / page).read_text(encoding="utf-8")
