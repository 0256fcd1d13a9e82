"""What the vault refuses or cannot do. No message holds a value; `reason` is a stable word for the record."""

from __future__ import annotations

from collections.abc import Iterable

from domain.errors import DomainError, ErrorCode


class VaultError(DomainError):
    """Anything that goes wrong in the vault; trying the same again does not help."""

    code_of_kind = ErrorCode.SERVICE_UNAVAILABLE

    def __init__(self, reason: str, *, field: str | None = None) -> None:
        super().__init__(self.code_of_kind, field=field)
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.reason} ({self.field})" if self.field else self.reason


class UserErasedError(VaultError):
    """The user's data key was destroyed, or the items were erased: they can never be read again."""

    code_of_kind = ErrorCode.USER_NOT_ACTIVE

    def __init__(self) -> None:
        super().__init__("user_erased")


class UserKeyDestroyedError(UserErasedError):
    """The user's data key was destroyed: not some items are gone, but all that was ever sealed under it."""


class UserKeyMissingError(VaultError):
    """The user has no data key yet: `ensure_user_key` comes first."""

    def __init__(self) -> None:
        super().__init__("user_key_missing")


class MasterKeyMissingError(VaultError):
    """A data key is wrapped by a master key that this process was not given."""

    def __init__(self, master_key_id: str) -> None:
        super().__init__("master_key_missing", field=master_key_id)


class SealBrokenError(VaultError):
    """A ciphertext or a wrapped key does not belong where it was found, or was changed."""

    def __init__(self) -> None:
        super().__init__("seal_broken")


class TokenNotFoundError(VaultError):
    """A token is not one of this user's."""

    def __init__(self) -> None:
        super().__init__("token_not_found")


class PurposeNotAllowedError(VaultError):
    """A field is not held for the purpose it was to be read for (P1.2.1); `field` lists the fields."""

    def __init__(self, fields: Iterable[str]) -> None:
        super().__init__("purpose_not_allowed", field=",".join(sorted(fields)))


class DisclosureRefusedError(VaultError):
    """Not exactly the fields that the recipient gets for this operation, or no field at all (P2.1.3)."""

    def __init__(self, fields: Iterable[str]) -> None:
        super().__init__("disclosure_not_allowed", field=",".join(sorted(fields)))
