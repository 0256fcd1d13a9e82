"""What a person without an authenticator types at a login page of the local stack."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli import local_credentials
from cli.main import app

SU = {
    "operator_id": "opr_01JD0000000000000000000001",
    "login": "su",
    "roles": ["support"],
    "password": "made-by-chance",
    "totp_secret": "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ",
}


def test_it_shows_the_code_of_now_for_somebody_of_the_local_stack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_credentials, "DEFAULT_FOLDER", tmp_path)
    (tmp_path / "operators.json").write_text(json.dumps({"su": SU}))
    shown = CliRunner().invoke(app, ["credentials", "su"])
    assert shown.exit_code == 0
    assert "made-by-chance" in shown.output
    assert re.search(r"code +\d{6}\b", shown.output)


def test_nobody_of_that_name_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_credentials, "DEFAULT_FOLDER", tmp_path)
    shown = CliRunner().invoke(app, ["credentials", "somebody"])
    assert shown.exit_code == 1
    assert "Nobody of that name" in shown.output
