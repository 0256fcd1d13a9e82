"""What is opened for an authority, in a file that the authority alone can read (P2.4c, P4.5e).

An archive of records and a manifest, sealed with age to the public key that the authority has given by another way. The
plain content goes from the retention store into it and to nobody else.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from pyrage import RecipientError, encrypt, x25519

from vault.retention import RetainedRecord

FORMAT = "liushui-retained/1"
_MANIFEST = "manifest.json"


class Authority(BaseModel):
    """For whom it is, as decided: the order, and the decision of two people."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    decision_id: str
    order_id: str
    user_id: str
    opened_at: datetime


class SealedArchive(BaseModel):
    """The sealed bytes, and what may be said of them in the open: how much of which kinds."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    content: bytes = Field(repr=False)
    sha256: str
    manifest: dict[str, Any]


def check_recipient(public_key: str) -> x25519.Recipient:
    """The authority's key as age reads it. Raises ValueError, before anything is opened."""
    try:
        return x25519.Recipient.from_str(public_key)
    except RecipientError:
        raise ValueError("not a public key of age, as in age1…") from None


def seal_archive(records: Sequence[RetainedRecord], authority: Authority, recipient: x25519.Recipient) -> SealedArchive:
    """A tar with a file a record, and `manifest.json` with the digest of each; sealed to the recipient."""
    files = {f"{record.kind.value}/{record.record_id}.json": _plain(record) for record in records}
    shown = {
        "format": FORMAT,
        **authority.model_dump(mode="json"),
        "records": len(records),
        "entries": [_entry(record) for record in records],
    }
    # A digest could be guessed back into what it is of: it stands inside alone.
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    inside = shown | {"sha256": digests}
    sealed = encrypt(_tar({_MANIFEST: _json(inside), **files}, authority.opened_at), [recipient])
    return SealedArchive(content=sealed, sha256=hashlib.sha256(sealed).hexdigest(), manifest=shown)


def _entry(record: RetainedRecord) -> dict[str, Any]:
    return record.model_dump(mode="json", include={"record_id", "kind", "source_id", "event_on"})


def _plain(record: RetainedRecord) -> bytes:
    return _json(record.model_dump(mode="json", exclude={"person_index"}))


def _json(value: dict[str, Any]) -> bytes:
    return (json.dumps(value, ensure_ascii=False, sort_keys=True, indent=1) + "\n").encode("utf-8")


def _tar(files: dict[str, bytes], at: datetime) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode, entry.mtime = len(content), 0o600, int(at.timestamp())
            archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()
