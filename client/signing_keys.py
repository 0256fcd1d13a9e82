"""Your signing keys at the institution: which there are, and replacing one without a pause."""

from __future__ import annotations

from datetime import datetime

from .core import Ask
from .models import Page, Resource
from .nouns import Mode, Noun, asks, lists, path


class RegisteredKey(Resource):
    """A public key of yours. `fingerprint` is SHA-256 of its SubjectPublicKeyInfo, hex."""

    id: str
    algorithm: str
    label: str
    fingerprint: str
    registered_by: str
    created_at: datetime
    not_before: datetime
    revoked_at: datetime | None = None


class SigningKeys(Noun[Mode]):
    """`client.signing_keys`"""

    @asks
    def create(
        self,
        public_key: str,
        *,
        label: str,
        algorithm: str = "ed25519",
        not_before: datetime | None = None,
        idempotency_key: str | None = None,
    ) -> Ask[RegisteredKey]:
        """Registers another public key (PEM), signed with one in use; the institution registers the first."""
        body = {"public_key": public_key, "algorithm": algorithm, "label": label}
        if not_before is not None:
            body["not_before"] = not_before.isoformat()
        where = path("signing_keys")
        return Ask("POST", where, RegisteredKey, body, is_command=True, idempotency_key=idempotency_key)

    @lists
    def list(self) -> Ask[Page[RegisteredKey]]:
        """Your keys, the newest first, those that have ended too."""
        return Ask("GET", path("signing_keys"), Page[RegisteredKey])

    @asks
    def revoke(self, key_id: str, *, idempotency_key: str | None = None) -> Ask[RegisteredKey]:
        """Ends a key at once and for good; the last one that works stays."""
        where = path("signing_keys", key_id, "revoke")
        return Ask("POST", where, RegisteredKey, is_command=True, idempotency_key=idempotency_key)
