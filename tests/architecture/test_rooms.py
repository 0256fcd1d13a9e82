"""Which room imports which, written down: the contracts of pyproject.toml leave no room out."""

from __future__ import annotations

import ast
import tomllib

from tests.architecture.project import PROJECT, files, python

# By room, what its files import directly. Entry points, which wire everything, are not asked, and migrations neither:
# there is one history of the database, and the vault's tables are part of it.
IMPORTS: dict[str, set[str]] = {
    "domain": set(),
    "config": set(),
    "client": set(),
    "runtime": {"config"},
    "ledger": {"domain"},
    "banks": {"domain"},
    "calendars": {"domain"},
    "documents": {"domain"},
    "workflows": {"domain", "activities"},
    "activities": {"domain"},
    "storage": {"domain", "ledger"},
    "vault": {"domain", "storage"},
    "screening": {"domain", "storage"},
    "api": {"domain", "storage", "vault", "workflows", "documents"},
    "ops": {"domain", "storage", "vault", "workflows", "api", "calendars", "documents"},
    "webhooks": {"domain", "storage", "vault"},
    "demo": {"domain", "banks", "client"},
}
ENTRY_POINTS = (
    "api/app.py",
    "ops/app.py",
    "webhooks/__main__.py",
    "storage/migrations/",
    "cli/",
    "bench/",
    "tests/",
)


def test_every_room_imports_what_it_may_and_nothing_else() -> None:
    rooms = {*IMPORTS, "cli", "bench", "tests"}
    found = []
    for name, tree in python(*IMPORTS):
        if not name.startswith(ENTRY_POINTS):
            own = name.partition("/")[0]
            strange = (_imported(tree) & rooms) - IMPORTS[own] - {own}
            found += [f"{name} imports {room}" for room in sorted(strange)]
    assert found == []


def test_every_room_is_known_here_and_to_the_import_contracts() -> None:
    rooms = {name.partition("/")[0] for name in _modules() if "/" in name} - {"bench", "tests"}
    assert rooms == {*IMPORTS, "cli"}
    linter = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    assert set(linter["root_packages"]) == rooms
    restricted = {source for contract in linter["contracts"] for source in contract["source_modules"]}
    assert rooms - restricted == set()


def test_every_room_is_type_checked() -> None:
    mypy = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mypy"]
    assert {*IMPORTS, "cli", "bench"} <= set(mypy["files"])


def _modules() -> list[str]:
    return [name for name in (path.relative_to(PROJECT).as_posix() for path in files()) if name.endswith(".py")]


def _imported(tree: ast.Module) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found
