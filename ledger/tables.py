"""The ledger's tables as SQLAlchemy Core sees them, for reading only. `ledger/sql` defines them."""

from __future__ import annotations

import sqlalchemy as sa

_metadata = sa.MetaData(schema="ledger")
_instant = sa.DateTime(timezone=True)

account = sa.Table(
    "account",
    _metadata,
    sa.Column("id", sa.BigInteger, primary_key=True),
    sa.Column("code", sa.Text),
    sa.Column("kind", sa.Text),
    sa.Column("owner_reference", sa.Text),
    sa.Column("currency", sa.Text),
    sa.Column("normal_side", sa.Text),
    sa.Column("opened_at", _instant),
)

balance = sa.Table(
    "balance",
    _metadata,
    sa.Column("account_id", sa.BigInteger, primary_key=True),
    sa.Column("posted", sa.BigInteger),
    sa.Column("held", sa.BigInteger),
    sa.Column("version", sa.BigInteger),
    sa.Column("changed_at", _instant),
    sa.Column("closed_at", _instant),
)

transfer = sa.Table(
    "transfer",
    _metadata,
    sa.Column("id", sa.BigInteger, primary_key=True),
    sa.Column("recorded_at", _instant),
    sa.Column("booked_at", _instant),
    sa.Column("amount", sa.BigInteger),
    sa.Column("hold_id", sa.BigInteger),
    sa.Column("debit_account_id", sa.BigInteger),
    sa.Column("debit_version", sa.BigInteger),
    sa.Column("debit_posted_after", sa.BigInteger),
    sa.Column("debit_held_after", sa.BigInteger),
    sa.Column("credit_account_id", sa.BigInteger),
    sa.Column("credit_version", sa.BigInteger),
    sa.Column("credit_posted_after", sa.BigInteger),
    sa.Column("credit_held_after", sa.BigInteger),
    sa.Column("action", sa.Text),
    sa.Column("kind", sa.Text),
    sa.Column("direction", sa.Text),
    sa.Column("currency", sa.Text),
    sa.Column("key", sa.Text),
    sa.Column("instruction", sa.Text),
    sa.Column("reference", sa.Text),
    sa.Column("fingerprint", sa.LargeBinary),
)
