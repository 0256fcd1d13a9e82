"""Registers the rules of `config/fx.toml` in the database, where its functions need them; as the owner."""

from __future__ import annotations

from datetime import date, datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from domain import chart
from domain.fx_rules import FxRules

_RULE = sa.text(
    "INSERT INTO app.fx_rule AS r (version, yearly_quota_usd_minor, longest_quote_age, authority_rates_valid_days)"
    " VALUES (:version, :quota, make_interval(secs => :age), :days) ON CONFLICT (only_one) DO UPDATE SET"
    " version = excluded.version, yearly_quota_usd_minor = excluded.yearly_quota_usd_minor,"
    " longest_quote_age = excluded.longest_quote_age,"
    " authority_rates_valid_days = excluded.authority_rates_valid_days"
    " WHERE (r.version, r.yearly_quota_usd_minor, r.longest_quote_age, r.authority_rates_valid_days) <>"
    " (excluded.version, excluded.yearly_quota_usd_minor, excluded.longest_quote_age,"
    " excluded.authority_rates_valid_days)"
)
_OFFICE = sa.text(
    "INSERT INTO app.fx_office AS o (code, kind, bank_code, currencies)"
    " VALUES (:code, :kind, :bank, CAST(:currencies AS text[])) ON CONFLICT (code) DO UPDATE SET"
    " bank_code = excluded.bank_code, currencies = excluded.currencies"
    " WHERE (o.bank_code, o.currencies) IS DISTINCT FROM (excluded.bank_code, excluded.currencies)"
)
_CONTRACT = sa.text(
    "INSERT INTO app.export_contract AS c"
    " (bank_code, recipient, contract, ground, purpose, fields, encryption, access, valid_until)"
    " VALUES (:bank, :recipient, :contract, :ground, :purpose, CAST(:fields AS text[]), :encryption,"
    " CAST(:access AS text[]), :until)"
    " ON CONFLICT (bank_code) DO UPDATE SET recipient = excluded.recipient, contract = excluded.contract,"
    " ground = excluded.ground, purpose = excluded.purpose, fields = excluded.fields,"
    " encryption = excluded.encryption, access = excluded.access, valid_until = excluded.valid_until"
    " WHERE (c.recipient, c.contract, c.ground, c.purpose, c.fields, c.encryption, c.access, c.valid_until)"
    " <> (excluded.recipient, excluded.contract, excluded.ground, excluded.purpose, excluded.fields,"
    " excluded.encryption, excluded.access, excluded.valid_until)"
)
_GONE = sa.text("DELETE FROM app.export_contract WHERE bank_code <> ALL (CAST(:kept AS text[]))")
_KNOWN_RATE = sa.text("SELECT usd_e8 FROM app.authority_rate WHERE currency = :currency AND month = :month")
_RATE = sa.text(
    "INSERT INTO app.authority_rate (currency, month, usd_e8, source, loaded_at)"
    " VALUES (:currency, :month, :rate, :source, :now)"
)


class RateChangedError(Exception):
    """A published rate of the authority is never changed: what it was counted by has to stay known."""


async def register_fx_rules(connection: AsyncConnection, rules: FxRules, now: datetime) -> int:
    """Writes what differs; answers how many rows did. Raises RateChangedError."""
    given = {
        "version": rules.version, "quota": rules.yearly_quota_usd_minor, "age": rules.longest_quote_age_seconds,
        "days": rules.authority_rates_valid_days,
    }  # fmt: skip
    changed = (await connection.execute(_RULE, given)).rowcount
    offices: list[dict[str, object]] = [
        {"code": rules.authority.code, "kind": "authority", "bank": None, "currencies": []}
    ]
    for bank, desk in rules.desks.items():
        dealt = [currency for currency, rule in rules.currencies.items() if bank in rule.desks]
        offices.append({"code": desk.code, "kind": "desk", "bank": bank, "currencies": dealt})
    for office in offices:
        changed += (await connection.execute(_OFFICE, office)).rowcount
    return changed + await _register_contracts(connection, rules) + await _register_rates(connection, rules, now)


async def _register_contracts(connection: AsyncConnection, rules: FxRules) -> int:
    kept = [contract.bank for contract in rules.export_contracts]
    changed = (await connection.execute(_GONE, {"kept": kept})).rowcount
    for contract in rules.export_contracts:
        given = contract.model_dump(exclude={"valid_until", "fields", "access"})
        given |= {"fields": list(contract.fields), "access": list(contract.access), "until": contract.valid_until}
        changed += (await connection.execute(_CONTRACT, given)).rowcount
    return changed


async def _register_rates(connection: AsyncConnection, rules: FxRules, now: datetime) -> int:
    added = 0
    for published in rules.authority_rates:
        month = date.fromisoformat(f"{published.month}-01")
        for currency, rate_e8 in published.rates.items():
            known = await connection.scalar(_KNOWN_RATE, {"currency": currency, "month": month})
            if known is None:
                given = {"currency": currency, "month": month, "rate": rate_e8, "source": published.source, "now": now}
                await connection.execute(_RATE, given)
                added += 1
            elif known != rate_e8:
                raise RateChangedError(
                    f"fx.toml: the authority's rate of {currency} for {published.month} is registered with another"
                    " value; rows are only added"
                )
    return added


def accounts_of_fx(rules: FxRules) -> list[str]:
    """The institution's accounts in foreign currency: where it lies, the desks' positions, what is nobody's yet."""
    codes = []
    for currency, rule in rules.currencies.items():
        codes += [chart.reserve(bank, currency) for bank in rule.banks]
        codes += [chart.fx_position(desk, each) for desk in rule.desks for each in (currency, "CNY")]
        codes += [chart.suspense(currency)]
    return list(dict.fromkeys(codes))
