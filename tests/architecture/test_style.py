"""The rules of the house about size and names."""

from __future__ import annotations

import ast
import re

from tests.architecture.project import PROJECT, files, python

LONGEST_FUNCTION, LONGEST_FILE = 60, 400
# A catalogue: one entry a code, and whoever looks one up wants them all in one place.
CATALOGUES = {"domain/error_codes.py"}
_BARRED_NAME = re.compile(r"(^|_)(utils?|common|helpers?|managers?|misc)(_|$)")


def test_no_function_is_longer_than_sixty_lines() -> None:
    found = [
        f"{name}:{node.lineno} {node.name} has {lines} lines"
        for name, tree in python()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (lines := (node.end_lineno or 0) - node.lineno + 1) > LONGEST_FUNCTION
    ]
    assert found == []


def test_no_file_outside_tests_and_migrations_is_longer_than_four_hundred_lines() -> None:
    found = {}
    for path in files():
        name = path.relative_to(PROJECT).as_posix()
        if path.suffix == ".py" and not name.startswith("tests/") and "/migrations/" not in name:
            found[name] = len(path.read_text(encoding="utf-8").splitlines())
    assert {name: lines for name, lines in found.items() if lines > LONGEST_FILE and name not in CATALOGUES} == {}


def test_no_file_folder_class_or_function_has_a_name_that_says_nothing() -> None:
    parts = {part for path in files() for part in path.relative_to(PROJECT).with_suffix("").parts}
    named = {
        node.name
        for _, tree in python()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    }
    snake = {re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower(): name for name in parts | named}
    assert [name for form, name in snake.items() if _BARRED_NAME.search(form)] == []


def test_the_rules_would_notice() -> None:
    assert _BARRED_NAME.search("payment_helpers")
    assert _BARRED_NAME.search("misc")
    assert not _BARRED_NAME.search("commonwealth")
