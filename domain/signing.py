"""The profile under which merchants sign their instructions (RFC 9421), and which public keys are good enough.

A3.3b, L14. Docs for merchants: `docs/merchants/signing.md`.
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import NamedTuple

LABEL = "liushui"
TAG = "liushui-v1"
# Always covered; the others where the request has them.
COVERED = ("@method", "@authority", "@path", "@query")
COVERED_OF_A_BODY = ("content-type", "content-digest")
COVERED_OF_A_COMMAND = ("idempotency-key",)
CLOCK_DIFFERENCE = timedelta(seconds=300)
# A nonce is remembered for as long as its signature could be in time at any of several servers.
NONCE_MEMORY = 2 * CLOCK_DIFFERENCE
MIN_NONCE_CHARACTERS, MAX_NONCE_CHARACTERS = 16, 64
# So that a new key can be tried while the old one is in use.
MAX_KEYS = 5
# What is signed whether or not the merchant signs everything: what moves money out, what ends an account or says where
# its money came from, and what decides who may sign.
SIGNED_ACTIONS = frozenset(
    {
        "accept_refund",
        "accept_payout",
        "confirm_payout",
        "accept_payee",
        "accept_fx",
        "accept_fx_mandate",
        "dispose_of_fx",
        "accept_closure",
        "hand_over_records",
        "propose_settlement_account",
        "register_signing_key",
        "revoke_signing_key",
    }
)


class SigningAlgorithm(StrEnum):
    """What a key signs with."""

    ED25519 = "ed25519"
    ECDSA_P256_SHA256 = "ecdsa-p256-sha256"


class SigningKey(NamedTuple):
    """A registered public key (SubjectPublicKeyInfo, DER); it never changes, it only ever ends."""

    id: str
    merchant_id: str
    algorithm: SigningAlgorithm
    public_key: bytes
