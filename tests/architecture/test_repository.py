"""What a clone must be: complete, consistent, and of no particular machine."""

from __future__ import annotations

import ast
import re
import tomllib
from collections import Counter

from tests.architecture.project import PROJECT, files, python

_ABSOLUTE_PATH = re.compile(r"(?<![\w.\"'/-])/(?:root|home|Users|work|mnt|opt|srv)/[\w.-]+")
_REGISTRY_HOST = re.compile(r"https?://[^\s\"'<>)]*(?:pypi|pythonhosted|artifactory|nexus|proxy\.golang|registry\.npm)")
_INDEX_OPTION = re.compile(r"^\s*(--index-url|--extra-index-url|--find-links|-i)\b", re.MULTILINE)
_LOCKED = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==(\S+)", re.MULTILINE)
_CLAUSE = re.compile(r"[APQL]\d+(?:\.\d+)*(?:[a-z]?(?:-[a-z0-9]+)*)?")
_NODE = re.compile(r"`(tests/[\w/.]+\.py)(?:::(\w+))?`")


def _texts() -> list[tuple[str, str]]:
    found = []
    for path in files():
        content = path.read_bytes()
        if b"\0" not in content[:8000]:
            found.append((path.relative_to(PROJECT).as_posix(), content.decode("utf-8")))
    return found


def test_no_file_names_a_path_of_one_machine_or_a_host_of_a_package_registry() -> None:
    own = "tests/architecture/test_repository.py"
    found = [
        f"{name}: {hit.group()}"
        for name, text in _texts()
        if name != own
        for pattern in (_ABSOLUTE_PATH, _REGISTRY_HOST)
        for hit in pattern.finditer(text)
    ]
    assert found == []


def test_the_lock_pins_everything_that_the_project_asks_for_with_hashes() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    lock = (PROJECT / "requirements.lock").read_text(encoding="utf-8")
    locked = {_normal(name): version for name, version in _LOCKED.findall(lock)}
    asked = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]
    for requirement in asked:
        name, _, least = re.sub(r"\[[^\]]*\]", "", requirement).partition(">=")
        assert _normal(name) in locked, f"{name} is not in requirements.lock"
        assert _version(locked[_normal(name)]) >= _version(least or "0"), f"{name} is locked below {least}"
    assert not _INDEX_OPTION.search(lock)
    blocks = re.split(r"\n(?=[A-Za-z0-9])", "\n".join(line for line in lock.splitlines() if not line.startswith("#")))
    assert [block.split("\n")[0] for block in blocks if "==" in block and "--hash=sha256:" not in block] == []


def test_third_party_imports_are_asked_for_and_not_only_found_by_chance() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    asked = {_normal(re.split(r"[\[>=<]", name)[0]) for name in project["project"]["dependencies"]}
    # By import name, where it is another than the package's.
    known = {
        "chinese_calendar": "chinesecalendar", "pythonjsonlogger": "python-json-logger", "stdnum": "python-stdnum",
        "ulid": "python-ulid",
    }  # fmt: skip
    known |= {"google": "temporalio", "starlette": "fastapi", "pydantic_core": "pydantic"}
    own = {path.relative_to(PROJECT).parts[0].removesuffix(".py") for path in files()}
    imported: set[str] = set()
    for name, tree in python():
        if not name.startswith(("tests/", "bench/")):
            imported |= _imports(tree)
    from sys import stdlib_module_names

    strange = imported - own - set(stdlib_module_names)
    assert {name for name in strange if _normal(known.get(name, name)) not in asked} == set()


def test_every_row_of_the_agreement_names_clauses_by_their_form_and_tests_that_exist() -> None:
    text = (PROJECT / "docs" / "agreement.md").read_text(encoding="utf-8")
    rows = [line.split("|") for line in text.splitlines() if re.match(r"\|\s*[A-Z]\d", line)]
    assert len(rows) > 20
    for row in rows:
        for clause in row[1].split(","):
            assert _CLAUSE.fullmatch(clause.strip()), f"{clause} is not a clause"
        assert _NODE.search(row[4]), f"{row[1].strip()} names no test"
    assert [clause for clause, times in Counter(row[1].strip() for row in rows).items() if times > 1] == []
    missing = [f"{path}::{test}" for path, test in _NODE.findall(text) if not _exists(path, test)]
    assert missing == []


def test_every_file_that_a_document_links_to_is_there() -> None:
    missing = []
    for path in files():
        if path.suffix == ".md":
            for target in re.findall(r"\]\((?!https?://|mailto:|#)([^)#\s]+)", path.read_text(encoding="utf-8")):
                if not (path.parent / target).exists():
                    missing.append(f"{path.relative_to(PROJECT)} -> {target}")
    assert missing == []


def test_the_rules_would_notice() -> None:
    assert _ABSOLUTE_PATH.search("cd /root/project")
    assert _REGISTRY_HOST.search("https://pypi.example/simple")
    assert all(_CLAUSE.fullmatch(clause) for clause in ("A0.1", "A3.11c", "P1.1.1-1", "P2.1.3-1a", "Q7", "L6"))
    assert not _CLAUSE.fullmatch("A")
    assert not _exists("tests/architecture/test_repository.py", "test_that_nobody_wrote")


def _exists(path: str, test: str) -> bool:
    file = PROJECT / path
    if not file.is_file():
        return False
    tree = ast.parse(file.read_text(encoding="utf-8"))
    functions = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    # Of a state machine Hypothesis makes the test, which is assigned and not defined.
    functions |= {t.id for node in tree.body if isinstance(node, ast.Assign) for t in node.targets if hasattr(t, "id")}
    return not test or test in functions


def _imports(tree: ast.Module) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).strip().lower()


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])
