"""What one bank behind this connector is: its declared behaviour and how to reach and recognise it."""

from __future__ import annotations

from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from banks.signatures import read_private_key, read_public_key

MAX_ANSWER_BYTES = 64 * 1024
MAX_STATEMENT_BYTES = 64 * 1024 * 1024
MAX_CALLBACK_BYTES = 16 * 1024
STATEMENT_TIMEOUT_SECONDS = 120.0


@dataclass(frozen=True)
class BankConnection:
    """Where a bank is and both sides' keys; keys never show in a repr.

    `base_url` has scheme and host only. `signing_key` signs what we send, `bank_key` verifies what the bank
    sends.
    """

    base_url: str
    signing_key: Ed25519PrivateKey = field(repr=False)
    bank_key: Ed25519PublicKey = field(repr=False)

    @classmethod
    def from_encoded(cls, base_url: str, signing_key: str, bank_key: str) -> BankConnection:
        """From base64 raw keys, as the settings hold them. Raises `ValueError` without repeating a key."""
        return cls(base_url, read_private_key(signing_key), read_public_key(bank_key))
