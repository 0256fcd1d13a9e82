"""The banks' own durable books, in one SQLite file. Instants are Unix milliseconds; amounts are minor
units.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    Column,
    Connection,
    Engine,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    create_engine,
    event,
    text,
)

metadata = MetaData()

# kind: payer (a card), reserve (the institution's money), payees (what was paid out to accounts elsewhere), issue
# (where opening balances come from; may go below zero). Of the last three a bank has one for each currency.
accounts = Table(
    "accounts",
    metadata,
    Column("account_id", Integer, primary_key=True),
    Column("bank_code", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("card_number", String),
    Column("card_type", String),
    Column("name", String),
    Column("id_number", String),
    Column("mobile", String),
    Column("currency", String, nullable=False),
    Column("balance_minor", Integer, nullable=False, server_default="0"),
    CheckConstraint("kind = 'issue' OR balance_minor >= 0", name="balance_not_negative"),
    Index("account_of_card", "bank_code", "card_number", unique=True),
)

movements = Table(
    "movements",
    metadata,
    Column("movement_id", Integer, primary_key=True),
    Column("bank_code", String, nullable=False),
    Column("bank_reference", String, nullable=False, unique=True),
    Column("kind", String, nullable=False),  # opening, funding, or an operation (payout-returns, fx-deliveries)
    Column("request_number", String),
    Column("amount_minor", Integer, CheckConstraint("amount_minor > 0"), nullable=False),
    Column("currency", String, nullable=False),
    Column("from_account", Integer, ForeignKey("accounts.account_id"), nullable=False),
    Column("to_account", Integer, ForeignKey("accounts.account_id"), nullable=False),
    Column("booked_at", Integer, nullable=False),
    Index("movements_by_day", "bank_code", "booked_at"),
)

applications = Table(
    "applications",
    metadata,
    Column("application_id", Integer, primary_key=True),
    Column("bank_code", String, nullable=False),
    Column("request_number", String, nullable=False, index=True),
    Column("account_id", Integer, ForeignKey("accounts.account_id"), nullable=False),
    Column("code", String, nullable=False),
    Column("expires_at", Integer, nullable=False),
    Column("attempts_left", Integer, nullable=False),
    Column("agreement_number", String),
)

agreements = Table(
    "agreements",
    metadata,
    Column("agreement_number", String, primary_key=True),
    Column("bank_code", String, nullable=False),
    Column("account_id", Integer, ForeignKey("accounts.account_id"), nullable=False),
    Column("signed_at", Integer, nullable=False),
    Column("ended_at", Integer),
)

payment_codes = Table(
    "payment_codes",
    metadata,
    Column("payment_code_id", Integer, primary_key=True),
    Column("bank_code", String, nullable=False),
    Column("request_number", String, nullable=False, index=True),
    Column("debit_request_number", String, nullable=False, index=True),
    Column("agreement_number", String, nullable=False),
    Column("amount_minor", Integer, nullable=False),
    Column("currency", String, nullable=False),
    Column("payee", String, nullable=False),
    Column("code", String, nullable=False),
    Column("expires_at", Integer, nullable=False),
    Column("attempts_left", Integer, nullable=False),
    Column("used", Integer, nullable=False, server_default="0"),
)

authorisations = Table(
    "authorisations",
    metadata,
    Column("authorisation", String, primary_key=True),
    Column("payment_code_id", Integer, ForeignKey("payment_codes.payment_code_id"), nullable=False, unique=True),
    Column("expires_at", Integer, nullable=False),
    Column("spent_by", String),
)

# One row a debit or refund that was taken in; status as in the protocol. `debit_id` is set for refunds.
instructions = Table(
    "instructions",
    metadata,
    Column("instruction_id", Integer, primary_key=True),
    Column(
        "request_id",
        Integer,
        ForeignKey("requests.request_id", deferrable=True, initially="DEFERRED"),
        nullable=False,
        unique=True,
    ),
    Column("bank_code", String, nullable=False),
    Column("operation", String, nullable=False),
    Column("request_number", String, nullable=False, index=True),
    Column("account_id", Integer, ForeignKey("accounts.account_id"), nullable=False),
    Column("debit_id", Integer, ForeignKey("instructions.instruction_id"), index=True),
    Column("amount_minor", Integer, nullable=False),
    Column("currency", String, nullable=False),
    Column("status", String, nullable=False),
    Column("due_at", Integer),  # while PROCESSING: when it becomes final
    Column("due_code", String),  # and with which code it then ends
    Index("instructions_due", "due_at", sqlite_where=text("due_at IS NOT NULL")),
)

# One row a payout, also a declined one; status as in the protocol.
payouts = Table(
    "payouts",
    metadata,
    Column("payout_id", Integer, primary_key=True),
    Column(
        "request_id",
        Integer,
        ForeignKey("requests.request_id", deferrable=True, initially="DEFERRED"),
        nullable=False,
        unique=True,
    ),
    Column("bank_code", String, nullable=False),
    Column("request_number", String, nullable=False, index=True),
    Column("name", String, nullable=False),
    Column("account_number", String, nullable=False),
    Column("region", String, nullable=False),
    Column("bank_id_kind", String, nullable=False),
    Column("bank_id", String, nullable=False),
    Column("amount_minor", Integer, CheckConstraint("amount_minor > 0"), nullable=False),
    Column("currency", String, nullable=False),
    Column("status", String, nullable=False),
    Column("code", String, nullable=False),
    Column("received_at", Integer, nullable=False),
    Column("due_at", Integer),  # while PROCESSING: when it becomes final
    Column("due_code", String),  # and with which code it then ends
    Column("bank_reference", String),
    Column("booked_at", Integer),
    Column("return_due_at", Integer),  # when the payee's bank will send the money back
    Column("return_reference", String, unique=True),
    Column("returned_at", Integer),
    CheckConstraint("(status = 'RETURNED') = (return_reference IS NOT NULL)", name="returned_with_reference"),
    CheckConstraint("(status IN ('SUCCESS', 'RETURNED')) = (bank_reference IS NOT NULL)", name="booked_with_reference"),
    Index("payouts_due", "due_at", sqlite_where=text("due_at IS NOT NULL")),
    Index("payouts_to_return", "return_due_at", sqlite_where=text("return_due_at IS NOT NULL")),
)

# What the desks have quoted; a deal names one of these.
fx_quotes = Table(
    "fx_quotes",
    metadata,
    Column("quote_id", String, primary_key=True),
    Column("bank_code", String, nullable=False),
    Column("currency", String, nullable=False),
    Column("side", String, nullable=False),  # buys, sells
    Column("rate_e8", Integer, nullable=False),
    Column("publisher", String, nullable=False),
    Column("published_at", Integer, nullable=False),
    Column("valid_until", Integer, nullable=False),
)

# One row a deal, also a declined one; status as in the protocol.
fx_deals = Table(
    "fx_deals",
    metadata,
    Column("deal_id", Integer, primary_key=True),
    Column(
        "request_id",
        Integer,
        ForeignKey("requests.request_id", deferrable=True, initially="DEFERRED"),
        nullable=False,
        unique=True,
    ),
    Column("bank_code", String, nullable=False),
    Column("request_number", String, nullable=False, index=True),
    Column("kind", String, nullable=False),  # conversion, reversal
    Column("quote_id", String, nullable=False),
    Column("rate_e8", Integer, nullable=False),
    Column("foreign_minor", Integer, CheckConstraint("foreign_minor > 0"), nullable=False),
    Column("foreign_currency", String, nullable=False),
    Column("foreign_at", String, nullable=False),
    Column("cny_minor", Integer, nullable=False),
    Column("purpose_code", String, nullable=False),
    Column("is_trade", Integer, nullable=False),
    Column("residency", String, nullable=False),
    Column("name", String),
    Column("id_number", String),
    Column("reverses", String),
    Column("status", String, nullable=False),
    Column("code", String, nullable=False),
    Column("received_at", Integer, nullable=False),
    Column("due_at", Integer),  # while PROCESSING: when it becomes final
    Column("due_code", String),  # and with which code it then ends
    Column("bank_reference", String, unique=True),
    Column("dealt_at", Integer),
    Column("delivery_due_at", Integer),  # when both currencies move
    Column("delivered_at", Integer),
    Column("delivery_reference", String, unique=True),
    Column("excess_minor", Integer, nullable=False, server_default="0"),
    CheckConstraint("(status = 'SUCCESS') = (bank_reference IS NOT NULL)", name="dealt_with_reference"),
    CheckConstraint("excess_minor BETWEEN 0 AND foreign_minor", name="excess_within_deal"),
    Index("fx_deals_due", "due_at", sqlite_where=text("due_at IS NOT NULL")),
    Index("fx_deals_to_deliver", "delivery_due_at", sqlite_where=text("delivery_due_at IS NOT NULL")),
)

# What the desks know of a person's settlement in a calendar year. mode: strict, or late (an excess is dealt, and found
# afterwards).
fx_quotas = Table(
    "fx_quotas",
    metadata,
    Column("id_number", String, primary_key=True),
    Column("year", Integer, primary_key=True),
    Column("used_usd_minor", Integer, CheckConstraint("used_usd_minor >= 0"), nullable=False, server_default="0"),
    Column("mode", String, nullable=False, server_default="strict"),
)

receiving_accounts = Table(
    "receiving_accounts",
    metadata,
    Column("account_number", String, primary_key=True),
    Column("bank_code", String, nullable=False),
    Column("request_number", String, nullable=False),
    Column("currency", String, nullable=False),
    Column("name", String, nullable=False),
    Column("opened_at", Integer, nullable=False),
)

inbound_remittances = Table(
    "inbound_remittances",
    metadata,
    Column("bank_code", String, primary_key=True),
    Column("reference", String, primary_key=True),
    Column("amount_minor", Integer, CheckConstraint("amount_minor > 0"), nullable=False),
    Column("currency", String, nullable=False),
    Column("value_date", String, nullable=False),
    Column("booked_at", Integer, nullable=False),
    Column("bank_reference", String, nullable=False, unique=True),
    Column("account_number", String, nullable=False),
    Column("receiver_name", String, nullable=False),
    Column("remitter_name", String, nullable=False),
    Column("remitter_country", String, nullable=False),
    Column("purpose_code", String, nullable=False),
)

# One row a return of a remittance, also a declined one.
inbound_returns = Table(
    "inbound_returns",
    metadata,
    Column("return_id", Integer, primary_key=True),
    Column(
        "request_id",
        Integer,
        ForeignKey("requests.request_id", deferrable=True, initially="DEFERRED"),
        nullable=False,
        unique=True,
    ),
    Column("bank_code", String, nullable=False),
    Column("request_number", String, nullable=False, index=True),
    Column("inbound_reference", String, nullable=False, index=True),
    Column("amount_minor", Integer, CheckConstraint("amount_minor > 0"), nullable=False),
    Column("currency", String, nullable=False),
    Column("status", String, nullable=False),
    Column("due_at", Integer),
    Column("due_code", String),
    Index("inbound_returns_due", "due_at", sqlite_where=text("due_at IS NOT NULL")),
)

# One row a notice of erasure that was taken in; status as in the protocol. Without `due_at` a PROCESSING one waits for
# the reply that it is ordered to be given.
erasure_notices = Table(
    "erasure_notices",
    metadata,
    Column("erasure_id", Integer, primary_key=True),
    Column(
        "request_id",
        Integer,
        ForeignKey("requests.request_id", deferrable=True, initially="DEFERRED"),
        nullable=False,
        unique=True,
    ),
    Column("bank_code", String, nullable=False),
    Column("request_number", String, nullable=False, index=True),
    Column("scope", String, nullable=False),
    Column("disclosed_under", String, nullable=False),  # a JSON list of request numbers
    Column("received_at", Integer, nullable=False),
    Column("status", String, nullable=False),
    Column("due_at", Integer),  # while PROCESSING: when it is replied to
    Column("due_code", String),  # and with which code
    Column("erasure", String),  # erased, kept
    Column("kept_reason", String),
    Column("kept_count", Integer),
    Column("replied_at", Integer),
    CheckConstraint("(status = 'SUCCESS') = (erasure IS NOT NULL)", name="replied_with_what_was_done"),
    CheckConstraint("(erasure IS NOT NULL AND erasure = 'kept') = (kept_reason IS NOT NULL)", name="kept_with_reason"),
    Index("erasure_notices_due", "due_at", sqlite_where=text("due_at IS NOT NULL")),
)

requests = Table(
    "requests",
    metadata,
    Column("request_id", Integer, primary_key=True),
    Column("bank_code", String, nullable=False),
    Column("request_number", String, nullable=False),
    Column("operation", String, nullable=False),
    Column("content_hash", String, nullable=False),
    Column("answer", String, nullable=False),
    Column("received_at", Integer, nullable=False),
    Column("forgotten", Integer, nullable=False, server_default="0"),
    Index("request_remembered", "bank_code", "request_number", unique=True, sqlite_where=text("forgotten = 0")),
)

nonces = Table(
    "nonces",
    metadata,
    Column("nonce", String, primary_key=True),
    Column("seen_at", Integer, nullable=False, index=True),
)

messages = Table(
    "messages",
    metadata,
    Column("message_id", Integer, primary_key=True),
    Column("bank_code", String, nullable=False),
    Column("mobile", String, nullable=False, index=True),
    Column("purpose", String, nullable=False),  # sign, payment
    Column("request_number", String, nullable=False),
    Column("code", String, nullable=False),
    Column("text", String, nullable=False),
    Column("sent_at", Integer, nullable=False),
    Column("expires_at", Integer, nullable=False),
)

notices = Table(
    "notices",
    metadata,
    Column("delivery_id", Integer, primary_key=True),
    Column("bank_code", String, nullable=False),
    Column("body", String, nullable=False),
    Column("forged", Integer, nullable=False, server_default="0"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("next_at", Integer),  # NULL once delivered or given up
    Column("ended", String),  # delivered, gave_up
    Index("notices_due", "next_at", sqlite_where=text("next_at IS NOT NULL")),
)


def open_books(path: Path) -> tuple[Engine, Connection]:
    """Opens (or creates) the file for one process and one connection; every commit reaches the disk before
    it returns.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    engine = create_engine(f"sqlite:///{path}", hide_parameters=True, connect_args={"timeout": 5})
    event.listen(engine, "connect", _make_durable)
    connection = engine.connect()
    metadata.create_all(connection)
    connection.commit()
    return engine, connection


def _make_durable(connection: Any, _: object) -> None:
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")
