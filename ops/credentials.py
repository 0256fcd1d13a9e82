"""What proves who an operator is: passwords (Argon2id), a second factor (TOTP, RFC 6238), and tokens."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import quote, urlencode

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.twofactor.hotp import HOTP

from domain.identifiers import ULID_PATTERN
from vault.sealing import decrypt, derive_key, encrypt

SHORTEST_PASSWORD, LONGEST_PASSWORD, DIFFERENT_CHARACTERS = 12, 128, 8
TOTP_DIGITS, TOTP_STEP_SECONDS, TOTP_SECRET_BYTES = 6, 30, 20
# With several lanes OpenSSL 3's threads fail or hang as soon as two hashes are computed at once in a process.
_LANES = 1
# What is hashed at once: each takes memory, and a crowd that logs in must not take all of it.
_AT_ONCE = 4
_TOKEN = re.compile(rf"(lso|lse)_({ULID_PATTERN})_([A-Za-z0-9_-]{{43}})")


@dataclass(frozen=True)
class PasswordCost:
    """Argon2id's parameters: well above what OWASP asks at least (19 MiB, twice). Memory in KiB."""

    iterations: int = 2
    memory_kib: int = 64 * 1024


class Passwords:
    """Hashes and verifies in threads, a few at once. To verify against nobody's hash takes as long as somebody's."""

    def __init__(self, cost: PasswordCost | None = None) -> None:
        self._cost = cost or PasswordCost()
        self._decoy = self.hash_now(secrets.token_urlsafe(32))
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def hash(self, password: str) -> str:
        """A PHC string."""
        async with self._turns:
            return await asyncio.to_thread(self.hash_now, password)

    async def verify(self, password: str, phc: str | None) -> bool:
        """Whether it is this password; False for None, after the same work."""
        async with self._turns:
            right = await asyncio.to_thread(_verify, password, phc or self._decoy)
        return right and phc is not None

    def hash_now(self, password: str) -> str:
        """The same without a thread, for commands."""
        cost = self._cost
        kdf = Argon2id(
            salt=secrets.token_bytes(16),
            length=32,
            iterations=cost.iterations,
            lanes=_LANES,
            memory_cost=cost.memory_kib,
        )
        return kdf.derive_phc_encoded(password.encode())


def _verify(password: str, phc: str) -> bool:
    try:
        Argon2id.verify_phc_encoded(password.encode(), phc)
    except InvalidKey:
        return False
    return True


def is_strong(password: str, login: str) -> bool:
    """12 to 128 characters, at least 8 of them different, without the login."""
    fits = SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD
    return fits and len(set(password)) >= DIFFERENT_CHARACTERS and login.lower() not in password.lower()


class SecondFactors:
    """Time-based codes; their secrets are stored sealed, each for one person only."""

    def __init__(self, operator_key: bytes) -> None:
        self._key = derive_key(operator_key, "operators' second factors")
        self._decoy = self.seal("nobody", self.new_secret())

    @staticmethod
    def new_secret() -> bytes:
        return secrets.token_bytes(TOTP_SECRET_BYTES)

    def seal(self, operator_id: str, secret: bytes) -> str:
        """Hexadecimal ciphertext that opens for this person only."""
        return encrypt(self._key, secret, ("totp", operator_id)).hex()

    def matching_step(self, operator_id: str | None, sealed: str | None, code: str, now: datetime) -> int | None:
        """The step of the counter whose code this is: the present one, or one beside it, because clocks differ.

        None for a wrong code, and for nobody after the same work. Raises SealBrokenError.
        """
        known = operator_id is not None and sealed is not None
        place, text = (operator_id, sealed) if known else ("nobody", self._decoy)
        secret = decrypt(self._key, bytes.fromhex(text or ""), ("totp", place or ""))
        step = _matching_step(secret, code, now)
        return step if known else None


def _matching_step(secret: bytes, code: str, now: datetime) -> int | None:
    present, found = int(now.timestamp()) // TOTP_STEP_SECONDS, None
    for step in (present - 1, present, present + 1):
        # All three are compared, so that the time tells nothing.
        if hmac.compare_digest(totp(secret, step), code.encode()):
            found = step
    return found


def totp(secret: bytes, step: int) -> bytes:
    """The code of a step, six ASCII digits (RFC 4226 with the counter of RFC 6238)."""
    return HOTP(secret, TOTP_DIGITS, SHA1()).generate(step)  # noqa: S303 - what authenticators speak


def code_at(secret: bytes, now: datetime) -> str:
    """What an authenticator shows at an instant."""
    return totp(secret, int(now.timestamp()) // TOTP_STEP_SECONDS).decode()


def otpauth_uri(login: str, secret_base32: str, issuer: str = "Liushui") -> str:
    """What an authenticator reads from a picture."""
    query = urlencode({"secret": secret_base32, "issuer": issuer, "digits": TOTP_DIGITS, "period": TOTP_STEP_SECONDS})
    return f"otpauth://totp/{quote(f'{issuer}:{login}')}?{query}"


@dataclass(frozen=True)
class Token:
    """`lso_{ULID}_{secret}` of a session, `lse_{ULID}_{secret}` of an enrolment; only its hash is stored."""

    kind: str
    ulid: str
    secret: str = field(repr=False)

    @classmethod
    def new(cls, kind: str, ulid: str) -> Token:
        return cls(kind, ulid, secrets.token_urlsafe(32))

    @classmethod
    def read(cls, kind: str, text: str) -> Token | None:
        """None unless it has the shape of a token of this kind."""
        found = _TOKEN.fullmatch(text)
        return cls(*found.groups()) if found and found.group(1) == kind else None

    @property
    def text(self) -> str:
        """The whole of it, to be shown once."""
        return f"{self.kind}_{self.ulid}_{self.secret}"

    @property
    def hash(self) -> str:
        """SHA-256 of the secret, in hexadecimal digits."""
        return hashlib.sha256(self.secret.encode()).hexdigest()
