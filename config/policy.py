"""Reads `config/policy.toml`, the files that belong to it and the text of the agreement in force.

`domain.policy.Policy` gives them their types.
"""

from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).resolve().parent


class PolicyFileError(ValueError):
    """The file and what it points to do not fit together; the message says what to do."""


def read_policy(folder: Path = _FOLDER) -> dict[str, Any]:
    """The values of these files, for `Policy.model_validate`. Raises PolicyFileError, or OSError if it is not there."""
    try:
        values = tomllib.loads((folder / "policy.toml").read_text(encoding="utf-8"))
        values["conditions"] = tomllib.loads((folder / "conditions.toml").read_text(encoding="utf-8"))
        values["decisions"] = tomllib.loads((folder / "decisions.toml").read_text(encoding="utf-8"))
        values["payout_routes"] = tomllib.loads((folder / "payout_routes.toml").read_text(encoding="utf-8"))
        values["fx"] = tomllib.loads((folder / "fx.toml").read_text(encoding="utf-8"))
        values["risk"] = tomllib.loads((folder / "risk_rules.toml").read_text(encoding="utf-8"))
        values["screening"] = values["risk"].pop("screening")
        values["reviews"] = tomllib.loads((folder / "reviews.toml").read_text(encoding="utf-8"))
        values["closing"] = tomllib.loads((folder / "closing.toml").read_text(encoding="utf-8"))
        values["retention"] = tomllib.loads((folder / "retention.toml").read_text(encoding="utf-8"))
        values["settlements"] = tomllib.loads((folder / "settlements.toml").read_text(encoding="utf-8"))
        texts = {values["agreement"]["version"]: values["agreement"]["content_hash"]}
        export = values["data_export"]
        texts[export_text(export["version"])] = export["content_hash"]
        found = {version: _text_hash(read_agreement(version, folder)) for version in texts}
    except (tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        raise PolicyFileError(f"policy.toml or a companion of it cannot be read: {error}") from None
    for version, stated in texts.items():
        if stated != found[version]:
            raise PolicyFileError(
                f"the text of agreement {version} has the hash {found[version]}, policy.toml says {stated}:"
                " publish a changed text as a new version"
            )
    return values


def export_text(version: str) -> str:
    """Under which name `read_agreement` finds the text about data that go abroad (P6)."""
    return f"data_export-{version}"


def read_agreement(version: str, folder: Path = _FOLDER) -> str:
    """The published text of a version; its content hash is SHA-256 over its UTF-8 bytes."""
    if "/" in version or version.startswith("."):
        raise PolicyFileError("a version names a file in config/agreements")
    return (folder / "agreements" / f"{version}.md").read_text(encoding="utf-8")


def _text_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
