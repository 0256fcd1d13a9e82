"""Seals what a merchant signed: evidence for a dispute, which may hold personal data that does not belong there."""

from __future__ import annotations

from collections.abc import Sequence

from vault.errors import MasterKeyMissingError
from vault.sealing import decrypt, derive_key, encrypt


class EvidenceSeal:
    """Under a subkey of the master keys: the first seals, all of them open, so that the master key can be rotated."""

    def __init__(self, master_keys: Sequence[bytes]) -> None:
        """`master_keys` are 32 bytes each, the current one first. Raises ValueError."""
        if not master_keys:
            raise ValueError("at least one master key is needed")
        self._keys = {_key_id(key): derive_key(key, "signature evidence") for key in master_keys}
        self.current_id = _key_id(master_keys[0])

    def seal(self, request_id: str, text: str) -> bytes:
        """Ciphertext that opens only as this request's."""
        return encrypt(self._keys[self.current_id], text.encode(), ("signature base", self.current_id, request_id))

    def open(self, request_id: str, sealed: bytes, key_id: str) -> str:
        """What was sealed. Raises MasterKeyMissingError, SealBrokenError."""
        key = self._keys.get(key_id)
        if key is None:
            raise MasterKeyMissingError(key_id)
        return decrypt(key, sealed, ("signature base", key_id, request_id)).decode()


def _key_id(key: bytes) -> str:
    return "se_" + derive_key(key, "signature evidence id")[:8].hex()
