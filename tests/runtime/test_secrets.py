"""Secrets of the local stack."""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path

import pytest

from runtime.secrets import LocalSecretsError, age_recipient, load_or_create


def test_local_secrets_are_made_once_and_only_their_owner_may_read_them(tmp_path: Path) -> None:
    path = tmp_path / "secrets.json"
    made = load_or_create(path, data_exist=False)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o644)
    assert load_or_create(path, data_exist=True) == made
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert made.master_key not in repr(made)


def test_lost_secrets_are_not_replaced_while_there_are_data_that_only_they_can_read(tmp_path: Path) -> None:
    with pytest.raises(LocalSecretsError, match=re.escape("secrets.json is missing, and the data")):
        load_or_create(tmp_path / "secrets.json", data_exist=True)
    assert not (tmp_path / "secrets.json").exists()


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"master_key": 5}'])
def test_secrets_that_cannot_be_read_are_reported_and_left_alone(tmp_path: Path, content: str) -> None:
    path = tmp_path / "secrets.json"
    path.write_text(content)
    with pytest.raises(LocalSecretsError, match="cannot be read"):
        load_or_create(path, data_exist=False)
    assert path.read_text() == content


def test_a_stack_of_an_older_release_goes_on_and_gets_what_was_added_since(tmp_path: Path) -> None:
    path = tmp_path / "secrets.json"
    made = load_or_create(path, data_exist=False)
    added = {"retention_key", "backup_key", "retention_password", "erasure_owner_password", "erasure_app_password"}
    path.write_text(json.dumps({name: value for name, value in made.model_dump().items() if name not in added}))
    found = load_or_create(path, data_exist=True)
    assert found.master_key == made.master_key
    assert age_recipient(found.retention_key).startswith("age1")
    assert found.retention_key != found.backup_key
    assert load_or_create(path, data_exist=True) == found
