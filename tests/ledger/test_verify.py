"""The proof of the ledger finds nothing in a sound one, and each kind of damage in one that was tampered with."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from ledger.verify import VerificationReport, verify
from tests.conftest import Database
from tests.ledger.conftest import ALICE, BOB, Books, end, hold, pay_in, post

_MOVES_ACCOUNT = "SET debit_account_id = (SELECT id FROM ledger.account WHERE code = 'merchant_available:mch_shop:CNY')"


async def history(books: Books) -> None:
    await books.must(pay_in("in", 100), pay_in("in2", 50, BOB), post("a", 10), hold("h", 20), hold("g", 30))
    await books.must(end("post_hold", "p", "h", 15), post("b", 5, BOB, ALICE))


async def tampered(database: Database, *statements: str) -> VerificationReport:
    """Edits as somebody with all rights would, past triggers and constraints."""
    async with database.owner_engine.begin() as connection:
        for table in ("account", "balance", "transfer"):
            await connection.execute(sa.text(f"ALTER TABLE ledger.{table} DISABLE TRIGGER USER"))
        for statement in statements:
            await connection.execute(sa.text(statement))
    return await verify(database.app_engine)


async def test_a_sound_ledger_is_found_sound_by_the_app_role(books: Books, database: Database) -> None:
    await history(books)
    report = await verify(database.app_engine)
    assert report.is_sound
    assert (report.transfers, report.open_holds, report.findings) == (7, 1, ())
    assert report.trial_balance_difference["CNY"] == 0


async def test_an_empty_ledger_is_sound(books: Books, database: Database) -> None:
    assert (await verify(database.app_engine)).is_sound


@pytest.mark.parametrize(
    ("statements", "code"),
    [
        (["UPDATE ledger.balance SET posted = posted + 1 WHERE version > 0"], "balance_wrong"),
        (["UPDATE ledger.balance SET version = version + 1 WHERE version > 0"], "balance_wrong"),
        (["UPDATE ledger.transfer SET amount = 99 WHERE key = 'in'"], "fingerprint_wrong"),
        (["UPDATE ledger.transfer SET amount = 99 WHERE key = 'in'"], "balance_after_wrong"),
        (["UPDATE ledger.transfer SET instruction = 'pay_other' WHERE key = 'a'"], "fingerprint_wrong"),
        (["UPDATE ledger.transfer SET kind = 'suspense' WHERE key = 'a'"], "fingerprint_wrong"),
        ([f"UPDATE ledger.transfer {_MOVES_ACCOUNT} WHERE key = 'a'"], "version_wrong"),
        (["UPDATE ledger.transfer SET debit_posted_after = 1000 WHERE key = 'a'"], "balance_after_wrong"),
        (["DELETE FROM ledger.transfer WHERE key = 'a'"], "version_wrong"),
        (["DELETE FROM ledger.transfer WHERE key = 'b'"], "balance_wrong"),
        (["UPDATE ledger.transfer SET credit_version = 77 WHERE key = 'b'"], "version_wrong"),
        (["UPDATE ledger.transfer SET recorded_at = recorded_at - interval '1 day' WHERE key = 'b'"], "time_goes_back"),
        (["UPDATE ledger.transfer SET amount = 21 WHERE key = 'p'"], "hold_exceeded"),
        (
            ["UPDATE ledger.transfer SET hold_id = (SELECT id FROM ledger.transfer WHERE key = 'in') WHERE key = 'p'"],
            "hold_not_open",
        ),
        (
            [
                "DROP INDEX ledger.transfer_hold_ends_once",
                "UPDATE ledger.transfer SET action = 'post_hold', hold_id = o.hold_id "
                "FROM (SELECT hold_id FROM ledger.transfer WHERE key = 'p') o WHERE key = 'b'",
            ],
            "hold_not_open",
        ),
        (["DELETE FROM ledger.balance WHERE version = 0"], "balance_missing"),
        (
            [
                "ALTER TABLE ledger.account DROP CONSTRAINT account_check1",
                "UPDATE ledger.account SET normal_side = 'debit' WHERE code = 'user:usr_bob:CNY'",
            ],
            "account_wrong",
        ),
        (["UPDATE ledger.balance SET posted = posted - 1 WHERE posted = 135"], "trial_balance_not_zero"),
    ],
)
async def test_each_kind_of_damage_is_found(books: Books, database: Database, statements: list[str], code: str) -> None:
    await history(books)
    report = await tampered(database, *statements)
    assert code in {finding.code for finding in report.findings}
    assert not report.is_sound
