"""No route of either API is reached without an operation that says who may ask it (P3.1b)."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator

import pytest

from api.calls import Operation as MerchantOperation
from domain.roles import PERMISSIONS
from ops.calls import Operation as OperatorOperation
from storage.administration import SCOPES
from tests.architecture.project import python

RUNNERS = frozenset({"run_command", "run_read", "run_preview"})
METHODS = frozenset({"get", "post", "put", "patch", "delete", "head", "options", "api_route", "route"})
# Who knows no key yet, banks, and the machine's own probes; tests/api and tests/ops try each of them.
WITHOUT_AN_OPERATION = {
    "api/callbacks.py take_callback",
    "api/documentation.py show_documents",
    "api/health.py health",
    "api/health.py ready",
    "ops/sessions.py open_session",
    "ops/sessions.py redeem_enrolment",
}


def endpoints() -> Iterator[tuple[str, ast.AsyncFunctionDef | ast.FunctionDef]]:
    for name, tree in python("api", "ops"):
        for node in tree.body:
            if isinstance(node, ast.AsyncFunctionDef | ast.FunctionDef) and any(map(_is_route, node.decorator_list)):
                yield f"{name} {node.name}", node


def _is_route(decorator: ast.expr) -> bool:
    made = decorator.func if isinstance(decorator, ast.Call) else decorator
    return isinstance(made, ast.Attribute) and made.attr in METHODS and ast.unparse(made.value) == "router"


def _runs(node: ast.AST) -> list[ast.Call]:
    calls = (inner for inner in ast.walk(node) if isinstance(inner, ast.Call))
    return [call for call in calls if isinstance(call.func, ast.Name) and call.func.id in RUNNERS]


def test_every_endpoint_runs_one_operation_or_is_known_to_need_none() -> None:
    found = dict(endpoints())
    assert len(found) > 70
    assert {name for name, node in found.items() if len(_runs(node)) != 1} == WITHOUT_AN_OPERATION


def test_every_endpoint_is_run_as_the_operation_that_its_document_shows() -> None:
    other = []
    for name, node in endpoints():
        for call in _runs(node):
            shown = ast.unparse(node.decorator_list[0])
            ran = ast.unparse(call.args[1])
            if f"{ran}.scope" not in shown and f" {ran}," not in shown:
                other.append(f"{name} runs {ran}")
    assert other == []


@pytest.mark.parametrize("room", ["api", "ops"])
def test_every_operation_names_a_right_that_can_be_given_and_no_other_operations_action(room: str) -> None:
    operations = [
        value
        for name, _ in python(room)
        if name != f"{room}/app.py"
        for value in vars(
            importlib.import_module(name.removesuffix(".py").replace("/", ".").removesuffix(".__init__"))
        ).values()
        if isinstance(value, MerchantOperation | OperatorOperation)
    ]
    assert operations
    for operation in operations:
        if isinstance(operation, MerchantOperation):
            assert operation.scope in SCOPES, operation.action
        elif operation.permission is not None:
            assert operation.permission in PERMISSIONS, operation.action
    rights: dict[str, set[str | None]] = {}
    for operation in operations:
        right = operation.scope if isinstance(operation, MerchantOperation) else operation.permission
        rights.setdefault(operation.action, set()).add(right)
    assert {action: asked for action, asked in rights.items() if len(asked) > 1} == {}
