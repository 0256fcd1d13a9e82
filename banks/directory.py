"""From a bank's code to its record and its connector. A bank that is not registered or not enabled is never
called (A0.4).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal, Protocol, Self

from pydantic import Field, model_validator

from banks.agreement_pay.client import AgreementPayConnector
from banks.agreement_pay.config import BankConnection
from domain.banking import BankCapabilities, BankConnector, Frozen
from domain.disclosure import PartnerRole
from domain.errors import ErrorCode, RefusedError
from domain.fx_banking import FxConnector
from domain.money import MINOR_DIGITS, AmountMinor, Currency


class PartnerConnector(BankConnector, FxConnector, Protocol):
    """Both ports to one bank: payments, and foreign currency."""


ConnectorBuilder = Callable[[BankCapabilities, BankConnection], PartnerConnector]

# One line a connector folder.
CONNECTORS: Mapping[str, ConnectorBuilder] = {"agreement_pay": AgreementPayConnector}


class IssuerLimits(Frozen):
    """What the issuer allows one card, in minor units."""

    per_transaction_minor: AmountMinor
    per_day_minor: AmountMinor
    per_month_minor: AmountMinor

    @model_validator(mode="after")
    def _longer_periods_allow_no_less(self) -> Self:
        if not self.per_transaction_minor <= self.per_day_minor <= self.per_month_minor:
            raise ValueError("limits must not fall from transaction to day to month")
        return self


Region = Literal["CN", "HK", "MO", "TW"]


class BankRecord(Frozen):
    """One registered partner bank, as `config/banks.toml` states it."""

    code: str = Field(pattern=r"^[A-Z]{4}$")
    name_zh: str = Field(min_length=1, max_length=60)
    name_en: str = Field(min_length=1, max_length=60)
    role: PartnerRole
    connector: str
    enabled: bool
    currencies: tuple[Currency, ...] = ("CNY",)
    timeout_seconds: float = Field(gt=0, le=60)
    requests_per_second: int = Field(gt=0)
    # How fast a backlog of payouts is let go after a closure.
    payout_requests_per_second: int = Field(gt=0)
    # Where it pays out to, and in which currencies (A2.5a); a region that is not here it does not reach.
    pays_out: Mapping[Region, tuple[Currency, ...]] = Field(default_factory=dict)
    remembers_request_numbers_seconds: int = Field(gt=0)
    request_validity_seconds: int = Field(gt=0)
    # None: it issues no cards.
    limits: IssuerLimits | None = None
    # Foreign currencies in which the institution has a reserve there; those that its FX desk converts into CNY.
    holds: tuple[Currency, ...] = ()
    desk: tuple[Currency, ...] = ()
    # Whether it opens account numbers under which remittances reach one user.
    opens_receiving_accounts: bool = False
    # Whether it answers what is left of a person's quota (A5.2a).
    offers_official_quota: bool = False

    @model_validator(mode="after")
    def _currencies_of_fx_are_foreign(self) -> Self:
        for name, currencies in (("holds", self.holds), ("desk", self.desk)):
            if "CNY" in currencies or len(set(currencies)) < len(currencies):
                raise ValueError(f"{name}: foreign currencies, each once")
            if unknown := set(currencies) - MINOR_DIGITS.keys():
                raise ValueError(f"{name}: no amounts are kept in {', '.join(sorted(unknown))}")
        if self.desk and self.role is not PartnerRole.DOMESTIC_BANK:
            raise ValueError("desk: only a domestic bank converts into CNY")
        return self

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.connector not in CONNECTORS:
            raise ValueError(f"no such connector; known: {', '.join(sorted(CONNECTORS))}")
        if self.remembers_request_numbers_seconds <= self.request_validity_seconds:
            raise ValueError("a bank must remember a request number longer than a request is valid")
        if any(not currencies or len(set(currencies)) < len(currencies) for currencies in self.pays_out.values()):
            raise ValueError("pays_out: a region needs its currencies, each once")
        if self.payout_requests_per_second > self.requests_per_second:
            raise ValueError("payout_requests_per_second must not exceed requests_per_second")
        return self

    def reaches(self, region: str, currency: str) -> bool:
        """Whether it pays out to accounts of that region in that currency."""
        return any(region == reached and currency in currencies for reached, currencies in self.pays_out.items())

    @property
    def capabilities(self) -> BankCapabilities:
        """What the processes plan by."""
        return BankCapabilities(
            bank_code=self.code,
            currencies=self.currencies,
            remembers_request_numbers_seconds=self.remembers_request_numbers_seconds,
            request_validity_seconds=self.request_validity_seconds,
            timeout_seconds=self.timeout_seconds,
            requests_per_second=self.requests_per_second,
        )


class BankRegister(Frozen):
    """The whole of `config/banks.toml`. Raises pydantic's `ValidationError` with the place of what is
    wrong.
    """

    banks: tuple[BankRecord, ...] = Field(min_length=1)

    @classmethod
    def from_toml(cls, data: Mapping[str, Any]) -> BankRegister:
        """From what `tomllib` read."""
        return cls.model_validate(dict(data), strict=False)

    @model_validator(mode="after")
    def _codes_are_unique(self) -> Self:
        codes = [bank.code for bank in self.banks]
        if len(set(codes)) != len(codes):
            raise ValueError("a bank code occurs twice")
        return self

    def check_payout_route(self, route: str, banks: Iterable[str], region: str, currencies: Iterable[str]) -> None:
        """Raises ValueError that names the route if one of its banks does not pay out there (A2.5a)."""
        known, wanted = {bank.code: bank for bank in self.banks}, tuple(currencies)
        for code in banks:
            if code not in known:
                raise ValueError(f"payout route {route}: bank {code} is not registered")
            missing = [currency for currency in wanted if not known[code].reaches(region, currency)]
            if missing:
                raise ValueError(f"payout route {route}: bank {code} does not pay {', '.join(missing)} to {region}")


class BankDirectory:
    """The connectors of this process. Build one a process and `close` it at the end."""

    def __init__(self, records: Mapping[str, BankRecord], connectors: Mapping[str, PartnerConnector]) -> None:
        self._records = dict(records)
        self._connectors = dict(connectors)

    def __iter__(self) -> Iterator[BankRecord]:
        return iter(self._records.values())

    def record(self, bank_code: str) -> BankRecord:
        """The partner's record. Raises `RefusedError(PARTNER_NOT_AVAILABLE)` if it is unregistered or
        disabled.
        """
        found = self._records.get(bank_code)
        if found is None or not found.enabled:
            raise RefusedError(ErrorCode.PARTNER_NOT_AVAILABLE)
        return found

    def connector(self, bank_code: str) -> BankConnector:
        """The way to a bank for new business. Raises `RefusedError(PARTNER_NOT_AVAILABLE)` before any data
        leaves.
        """
        self.record(bank_code)
        return self._connectors[bank_code]

    def connector_for_sent(self, bank_code: str) -> BankConnector:
        """The way to ask about, and to hear of, what was sent before: open at a disabled bank too. It sends
        no personal data.

        Raises `RefusedError(PARTNER_NOT_AVAILABLE)` only for a bank that is not registered.
        """
        if bank_code not in self._connectors:
            raise RefusedError(ErrorCode.PARTNER_NOT_AVAILABLE)
        return self._connectors[bank_code]

    def fx_connector_for_sent(self, bank_code: str) -> FxConnector:
        """The same connector as an FX desk, and as where foreign currency arrives. Whether something new may go there
        is asked of `record` first.

        Raises `RefusedError(PARTNER_NOT_AVAILABLE)` only for a bank that is not registered.
        """
        if bank_code not in self._connectors:
            raise RefusedError(ErrorCode.PARTNER_NOT_AVAILABLE)
        return self._connectors[bank_code]

    def role(self, bank_code: str) -> PartnerRole:
        """What a partner is to us, also one that is switched off. Raises KeyError for one that is not registered."""
        return self._records[bank_code].role

    def longest_timeout_seconds(self) -> float:
        """Every activity that calls a bank needs a start-to-close time-out above this."""
        return max(record.timeout_seconds for record in self)

    def payout_rate(self, bank_code: str) -> int:
        """How many payouts a second a bank takes; also of one that is switched off, whose backlog is planned anew.

        Raises `RefusedError(PARTNER_NOT_AVAILABLE)` only for a bank that is not registered.
        """
        if bank_code not in self._records:
            raise RefusedError(ErrorCode.PARTNER_NOT_AVAILABLE)
        return self._records[bank_code].payout_requests_per_second

    async def close(self) -> None:
        """Closes every connector's pool."""
        for connector in self._connectors.values():
            await connector.close()


def build_directory(register: BankRegister, connections: Mapping[str, BankConnection]) -> BankDirectory:
    """One connector a bank. Raises `ValueError` that names the banks for which no connection was given."""
    missing = sorted(record.code for record in register.banks if record.code not in connections)
    if missing:
        raise ValueError(f"no connection given for bank(s) {', '.join(missing)}")
    connectors = {
        record.code: CONNECTORS[record.connector](record.capabilities, connections[record.code])
        for record in register.banks
    }
    return BankDirectory({record.code: record for record in register.banks}, connectors)
