"""There is no float anywhere near money."""

from __future__ import annotations

import ast
import re

from tests.architecture.project import PROJECT, files, python

ROOMS = ("domain", "ledger", "storage")
# Durations are the only thing that may be counted in fractions.
_DURATION = re.compile(r"seconds", re.IGNORECASE)
_FLOATING_SQL = re.compile(r"\b(real|float4|float8|float|double precision|money)\b|\d\.\d", re.IGNORECASE)


def floats_in(tree: ast.Module) -> list[str]:
    """Float types, float literals and true divisions that do not stand in the same statement as a duration."""
    found = []
    for statement in (node for node in ast.walk(tree) if isinstance(node, ast.stmt | ast.arg)):
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        text = ast.unparse(statement)
        for node in ast.walk(statement):
            is_type = isinstance(node, ast.Name) and node.id in ("float", "Decimal")
            is_literal = isinstance(node, ast.Constant) and isinstance(node.value, float)
            divides = isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div) and not _joins_paths(node)
            if (is_type or is_literal or divides) and not _DURATION.search(text):
                found.append(f"line {statement.lineno}: {text.splitlines()[0][:80]}")
    return found


def _joins_paths(division: ast.BinOp) -> bool:
    """`folder / "name"` is no arithmetic."""
    operands = [node for node in ast.walk(division) if isinstance(node, ast.Constant | ast.JoinedStr)]
    return any(isinstance(node, ast.JoinedStr) or isinstance(node.value, str) for node in operands)


def test_no_float_and_no_true_division_in_the_rooms_of_money() -> None:
    found = {name: wrong for name, tree in python(*ROOMS) if (wrong := floats_in(tree))}
    assert found == {}


def test_no_floating_type_and_no_fraction_in_the_sql_of_money() -> None:
    found = []
    for path in files():
        name = path.relative_to(PROJECT).as_posix()
        if path.suffix == ".sql" and name.startswith(tuple(f"{room}/" for room in ROOMS)):
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
                code = line.split("--")[0]
                if _FLOATING_SQL.search(code) and not _DURATION.search(code) and "SQLSTATE" not in code:
                    found.append(f"{name}:{number} {line.strip()}")
    # Of a remaining cool-down in whole seconds.
    assert [line for line in found if "extract(epoch" not in line] == []


def test_the_rules_would_notice() -> None:
    assert floats_in(ast.parse("fee = amount_minor * 0.006"))
    assert floats_in(ast.parse("def fee(amount: float) -> int: ..."))
    assert floats_in(ast.parse("share = amount_minor / parts"))
    assert not floats_in(ast.parse("pause_seconds: float = 0.5"))
    assert _FLOATING_SQL.search("amount double precision")
