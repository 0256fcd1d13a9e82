"""What the bank simulator is told from outside: its keys, its file, its port, and how patiently it behaves."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from banks.signatures import read_private_key, read_public_key
from domain.rates import WrittenRate


class Behaviour(BaseSettings):
    """Times (seconds), sizes (minor units) and caps; each can be changed while the simulator runs (`POST
    /control/settings`).
    """

    model_config = SettingsConfigDict(env_prefix="SIMULATOR_", extra="ignore", validate_assignment=True)

    remembers_request_numbers_seconds: int = Field(default=7 * 86_400, ge=0)
    request_validity_seconds: int = Field(default=60, ge=0, le=3600)
    code_validity_seconds: float = Field(default=300, ge=0)
    code_attempts: int = Field(default=3, ge=1, le=10)
    authorisation_validity_seconds: float = Field(default=600, ge=0)
    # What the faults wait for.
    processing_seconds: float = Field(default=5, ge=0)
    late_success_seconds: float = Field(default=120, ge=0)
    hang_seconds: float = Field(default=30, ge=0, le=600)
    slow_seconds: float = Field(default=3, ge=0, le=600)
    arrives_late_seconds: float = Field(default=15, ge=0, le=600)
    return_seconds: float = Field(default=10, ge=0)
    # How long after a notice of erasure the banks reply to it (0: at once).
    erasure_reply_seconds: float = Field(default=0, ge=0)
    # Callbacks are retried at doubling intervals from `notice_retry_seconds` and given up after
    # `notice_attempts`.
    notice_delay_seconds: float = Field(default=0.2, ge=0)
    notice_retry_seconds: float = Field(default=0.5, gt=0)
    notice_attempts: int = Field(default=14, ge=1, le=50)
    # The FX desk: how long a quote is good for, how long after the deal both currencies move (0: at once), what it lets
    # an individual settle in a year, and how many USD it takes one unit of a currency for when it counts that.
    fx_quote_valid_seconds: float = Field(default=60, ge=0)
    fx_delivery_seconds: float = Field(default=0, ge=0)
    fx_quota_usd_minor: int = Field(default=5_000_000, ge=0, le=10**13)
    fx_usd_per_hkd: WrittenRate = 12_821_000
    fx_usd_per_jpy: WrittenRate = 663_000
    opening_balance_minor: int = Field(default=1_000_000, ge=0, le=10**13)
    per_transaction_limit_minor: int = Field(default=5_000_000, gt=0, le=10**13)
    payout_limit_minor: int = Field(default=500_000_000, gt=0, le=10**13)


class SimulatorSettings(Behaviour):
    """All of `SIMULATOR_*`. The two keys are required: the simulator does not run unsigned."""

    database: Path = Path("var/simulator.sqlite")
    port: int = Field(default=8810, ge=0, le=65_535)
    signing_key: SecretStr
    institution_public_key: str
    notify_url: str = ""

    @field_validator("notify_url")
    @classmethod
    def _notify_url_is_http(cls, value: str) -> str:
        parts = urlsplit(value)
        if value and (parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment):
            raise ValueError("must be an http(s) address without a query, or empty for no callbacks")
        return value

    @field_validator("signing_key")
    @classmethod
    def _private_key_is_readable(cls, value: SecretStr) -> SecretStr:
        read_private_key(value.get_secret_value())
        return value

    @field_validator("institution_public_key")
    @classmethod
    def _public_key_is_readable(cls, value: str) -> str:
        read_public_key(value)
        return value
