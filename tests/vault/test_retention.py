"""What outlives an account: sealed for one key pair, counted by business, opened for an order, and gone in its time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import date, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from pydantic import ValidationError
from pyrage import x25519

from domain.errors import ErrorCode
from domain.retention import (
    HeldLine,
    KeptLine,
    PurgedLine,
    PurgeTooEarlyError,
    RetainedKind,
    RetentionGround,
    RetentionRules,
)
from tests.conftest import Database
from tests.storage.books import NOW
from tests.vault.retained import NAME, RULES, Retained, open_retained
from tests.vault.test_vault_database import dump
from vault.errors import SealBrokenError
from vault.purging import RetentionPurge
from vault.retention import RECORDS_A_KEY, RetentionStore
from vault.retention_reading import RetentionKeyMissingError, RetentionReader, RetentionRefusedError

K, G = RetainedKind, RetentionGround
BOOKED = date(2026, 12, 31)
ENDED = date(2031, 6, 30)
RECORDS = "SELECT count(*) FROM retention.record WHERE purged_at IS NULL"


@pytest.fixture
async def retained(database: Database) -> AsyncIterator[Retained]:
    async with open_retained(database) as opened:
        yield opened


# Keeping


async def test_what_is_kept_is_kept_once_and_counted_without_a_word_of_it(retained: Retained) -> None:
    records = [
        retained.record(K.TRANSACTION, BOOKED),
        retained.record(K.TRANSACTION, date(2026, 1, 1)),
        retained.record(K.IDENTITY, ENDED),
        retained.record(K.SOURCE_OF_FUNDS, BOOKED, consent_until=date(2040, 6, 30)),
    ]
    assert await retained.store.keep(records) == 4
    # After a crash the same copies are made once more, under other record ids.
    again = [record.model_copy(update={"record_id": retained.books.new_id("ret")}) for record in records]
    assert await retained.store.keep([*again, retained.record(K.IDENTITY, ENDED)]) == 1
    assert await retained.store.kept(retained.books.user_id) == [
        KeptLine(kind=K.IDENTITY, event_year=2031, records=2, until=date(2042, 1, 1), ground=G.LAW),
        KeptLine(kind=K.SOURCE_OF_FUNDS, event_year=2026, records=1, until=date(2040, 7, 1), ground=G.CONSENT),
        KeptLine(kind=K.TRANSACTION, event_year=2026, records=2, until=date(2037, 1, 1), ground=G.LAW),
    ]
    assert await retained.store.kept("usr_other") == []
    assert await retained.store.keep([]) == 0


async def test_a_source_is_never_kept_for_another_user(retained: Retained) -> None:
    await retained.kept(K.TRANSACTION, BOOKED, source_id="pay_1")
    with pytest.raises(sa.exc.IntegrityError, match="another user"):
        await retained.store.keep([retained.record(K.TRANSACTION, BOOKED, source_id="pay_1", user_id="usr_other")])
    assert await retained.books.value(RECORDS) == 1


async def test_two_that_keep_the_same_at_once_keep_it_once(retained: Retained) -> None:
    records = [retained.record(K.TRANSACTION, BOOKED) for _ in range(20)]
    again = [record.model_copy(update={"record_id": retained.books.new_id("ret")}) for record in records]
    counts = await asyncio.gather(retained.store.keep(records), retained.store.keep(again))
    assert sum(counts) == 20
    assert await retained.books.value(RECORDS) == 20


async def test_what_falls_due_together_shares_a_key_and_nothing_else_does(retained: Retained) -> None:
    many = [retained.record(K.TRANSACTION, BOOKED) for _ in range(RECORDS_A_KEY + 1)]
    others = [
        retained.record(K.TRANSACTION, date(2027, 1, 1)),
        retained.record(K.SOURCE_OF_FUNDS, BOOKED),
        retained.record(K.TRANSACTION, BOOKED, consent_until=date(2039, 1, 1)),
        retained.record(K.TRANSACTION, BOOKED, user_id="usr_other"),
    ]
    assert await retained.store.keep([*many, *others]) == RECORDS_A_KEY + 5
    assert await retained.books.value("SELECT count(DISTINCT key_id) FROM retention.record") == 6


async def test_neither_a_dump_of_both_databases_nor_a_printed_record_shows_what_is_kept(retained: Retained) -> None:
    record = retained.record(K.IDENTITY, ENDED, {"name": NAME, "id_number": "11010519491231002X"})
    await retained.store.keep([record])
    dumps = await dump(retained.database.owner_url) + await dump(retained.database.key_owner_url)
    assert record.record_id in dumps
    for value in (NAME, "11010519491231002X", str(retained.identity)):
        assert value not in dumps
        assert value not in repr(record)
    with pytest.raises(ValidationError) as refused:
        retained.record(K.IDENTITY, date(1999, 12, 31), {"name": NAME})
    assert NAME not in str(refused.value)


async def test_a_content_of_any_size_and_a_key_that_is_none_are_refused(retained: Retained) -> None:
    with pytest.raises(ValueError, match="at most"):
        await retained.store.keep([retained.record(K.TRANSACTION, BOOKED, {"x": "y" * 200_001})])
    assert await retained.books.value(RECORDS) == 0
    engines = (retained.database.app_engine, retained.database.key_app_engine)
    with pytest.raises(ValueError, match="public key") as wrong:
        RetentionStore(*engines, str(retained.identity), retained.clock)
    assert str(retained.identity) not in str(wrong.value)
    with pytest.raises(ValueError, match="secret key"):
        RetentionReader(*engines, "AGE-SECRET-KEY-1", retained.clock)


# Rights

DENIED_TO_BUSINESS = [
    "SELECT ciphertext FROM retention.record",
    "SELECT person_index FROM retention.record",
    "SELECT count(*) FROM retention.record",
    "SELECT retention.open_for_order('d', 'o', now())",
    "UPDATE retention.record SET ciphertext = NULL",
    "DELETE FROM retention.record",
    "TRUNCATE retention.record",
    "INSERT INTO retention.hold VALUES ('h')",
    "SELECT retention.place_hold('h', 'u', 'g', NULL, 'd', now())",
    "SELECT retention.lift_holds('u', 'd', now())",
    "SELECT * FROM retention.access",
]


async def test_business_and_operators_roles_read_nothing_that_is_kept_and_change_no_hold(retained: Retained) -> None:
    database = retained.database
    for engine in (database.app_engine, database.ops_engine):
        for statement in DENIED_TO_BUSINESS[: -1 if engine is database.ops_engine else None]:
            with pytest.raises(sa.exc.ProgrammingError, match="permission denied"):
                await run(engine, statement)
    with pytest.raises(sa.exc.ProgrammingError, match="permission denied"):
        await run(database.ops_engine, "SELECT retention.purge_records(ARRAY['r'], now())")


async def test_the_role_of_disclosures_does_nothing_else_and_business_reads_no_key(retained: Retained) -> None:
    for statement in (
        "SELECT * FROM retention.record",
        "SELECT * FROM retention.kept('u')",
        "SELECT * FROM app.end_user",
    ):
        with pytest.raises(sa.exc.ProgrammingError, match="permission denied"):
            await run(retained.database.retention_engine, statement)
    for statement in ("SELECT * FROM keys.retention_key", "SELECT * FROM keys.read_retention_keys(ARRAY['k'])"):
        with pytest.raises(sa.exc.ProgrammingError, match="permission denied"):
            await run(retained.database.key_app_engine, statement)
    for statement in (
        "SELECT * FROM keys.retention_key",
        "SELECT keys.keep_retention_keys('[]')",
        "SELECT keys.destroy_retention_keys(ARRAY['k'], 'x', now())",
    ):
        with pytest.raises(sa.exc.ProgrammingError, match="permission denied"):
            await run(retained.database.key_ops_engine, statement)


async def test_not_even_the_owner_changes_a_record_a_key_a_log_or_a_report(retained: Retained) -> None:
    await retained.kept(K.TRANSACTION, BOOKED)
    await retained.run_on(date(2030, 1, 1))
    owner, keys = retained.database.owner_engine, retained.database.key_owner_engine
    early = (
        "UPDATE retention.record SET ciphertext = NULL, person_index = NULL, purged_at = now(), purged_why = 'law',"
        " purge_on = DATE '2030-12-31'"
    )
    for statement in (
        early,
        "UPDATE retention.record SET event_on = DATE '2001-01-01'",
        "UPDATE retention.record SET purge_on = DATE '2037-01-01', purged_why = 'law', person_index = 'x'",
        "UPDATE retention.record SET purge_on = NULL",
        "DELETE FROM retention.record",
        "TRUNCATE retention.record",
        "DELETE FROM retention.purge_report",
        "UPDATE retention.purge_report SET purged = 1",
        "TRUNCATE retention.access",
    ):
        with pytest.raises(sa.exc.DBAPIError, match=r"append-only|only be purged|five years"):
            await run(owner, statement)
    for statement in (
        "UPDATE keys.retention_key SET wrapped_key = wrapped_key || '\\x00'",
        "DELETE FROM keys.retention_key",
        "TRUNCATE keys.retention_key",
    ):
        with pytest.raises(sa.exc.DBAPIError, match="destroyed, once"):
            await run(keys, statement)


async def run(engine: Any, statement: str) -> None:
    async with engine.begin() as connection:
        await connection.execute(sa.text(statement))


# Opening


async def test_two_people_open_for_a_registered_order_what_it_names_and_each_read_is_recorded(
    retained: Retained,
) -> None:
    identity = await retained.kept(K.IDENTITY, ENDED)
    old = await retained.kept(K.TRANSACTION, date(2026, 1, 1), content={"amount_minor": 5, "name": NAME})
    await retained.kept(K.TRANSACTION, date(2025, 12, 31))
    await retained.kept(K.SOURCE_OF_FUNDS, BOOKED)
    await retained.kept(K.IDENTITY, ENDED, user_id="usr_other")
    order_id = await retained.order()
    decision_id = await retained.disclosure(order_id, **{"from": "2026-01-01"})
    for login in ("anna", "ben"):
        opened = await retained.reader.open_for_order(decision_id, retained.deciders.people[login])
        assert [record.record_id for record in opened] == [old, identity]
        assert [record.content for record in opened] == [{"amount_minor": 5, "name": NAME}, {"name": NAME}]
        assert opened[0].person_index == "person-1"
    reads = await rows(retained, "SELECT * FROM retention.access ORDER BY recorded_at")
    assert [row["operator_id"] for row in reads] == [retained.deciders.people[login] for login in ("anna", "ben")]
    assert all(
        (row["decision_id"], row["order_id"], row["user_id"], row["outcome"], row["record_ids"])
        == (decision_id, order_id, retained.books.user_id, "opened", [old, identity])
        for row in reads
    )


async def rows(retained: Retained, statement: str) -> list[dict[str, Any]]:
    async with retained.database.owner_engine.connect() as connection:
        return [dict(row) for row in (await connection.execute(sa.text(statement))).mappings()]


async def refused(retained: Retained, decision_id: str, login: str = "anna") -> str:
    """Why nothing is opened; that it was tried is recorded, and what."""
    operator_id = retained.deciders.people[login]
    with pytest.raises(RetentionRefusedError) as error:
        await retained.reader.open_for_order(decision_id, operator_id)
    last = (await rows(retained, "SELECT * FROM retention.access ORDER BY recorded_at DESC LIMIT 1"))[0]
    assert (last["outcome"], last["reason"], last["record_ids"]) == ("refused", error.value.reason, [])
    assert (last["decision_id"], last["operator_id"]) == (decision_id, operator_id)
    return error.value.reason


async def test_an_order_that_is_over_opens_nothing_and_neither_does_one_of_another(retained: Retained) -> None:
    await retained.kept(K.IDENTITY, ENDED)
    order_id = await retained.order()
    decision_id = await retained.disclosure(order_id)
    retained.clock.now = NOW + timedelta(days=365)
    assert await refused(retained, decision_id) == "order_not_in_force"
    retained.clock.now = NOW - timedelta(seconds=1)
    assert await refused(retained, decision_id) == "decision_not_committed"


async def test_a_decision_that_was_not_committed_or_is_of_another_kind_opens_nothing(retained: Retained) -> None:
    await retained.kept(K.IDENTITY, ENDED)
    order_id = await retained.order()
    detail = {"order_id": order_id, "kinds": ["identity"]}
    asked = await retained.deciders.ask("retention.disclose", retained.books.user_id, detail=detail, ground="authority")
    assert await refused(retained, asked["id"]) == "decision_not_committed"
    assert await refused(retained, "dec_" + order_id.removeprefix("ord_")) == "decision_of_another_kind"
    assert await refused(retained, "dec_unknown") == "decision_not_found"


async def test_who_did_not_decide_or_has_lost_the_role_opens_nothing(retained: Retained) -> None:
    await retained.kept(K.IDENTITY, ENDED)
    decision_id = await retained.disclosure(await retained.order())
    await retained.deciders.enrol("carl", "compliance")
    assert await refused(retained, decision_id, "carl") == "permission_missing"
    await retained.books.run("UPDATE app.operator SET roles = ARRAY['treasury'] WHERE login = 'anna'")
    assert await refused(retained, decision_id) == "permission_missing"
    assert len(await retained.reader.open_for_order(decision_id, retained.deciders.people["ben"])) == 1


TAMPERINGS = {
    "order_of_another": ("app.authority_order", "subject_id = 'usr_other'"),
    "order_demands_no_query": ("app.authority_order", "demands = 'hold'"),
    "order_not_as_decided": ("app.authority_order", "expires_at = expires_at + interval '1 year'"),
    "order_not_found": ("app.decision", """detail = detail || '{"order_id": "ord_1"}'"""),
    "decision_unreadable": ("app.decision", """detail = detail || '{"kinds": ["all"]}'"""),
    "second_person_required": ("app.decision", "second_person = false, decided_by = requested_by"),
}


@pytest.mark.parametrize("reason", TAMPERINGS)
async def test_an_order_or_a_decision_that_was_tampered_with_opens_nothing(retained: Retained, reason: str) -> None:
    table, change = TAMPERINGS[reason]
    await retained.kept(K.IDENTITY, ENDED)
    decision_id = await retained.disclosure(await retained.order())
    # Whoever can do this is the server's own administrator.
    async with retained.database.owner_engine.begin() as connection:
        await connection.execute(sa.text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))
        which = "kind = 'retention.disclose'" if table == "app.decision" else "true"
        await connection.execute(sa.text(f"UPDATE {table} SET {change} WHERE {which}"))  # noqa: S608
    assert await refused(retained, decision_id) == reason


async def test_a_row_that_was_moved_a_wrong_key_and_a_lost_key_give_no_wrong_answer(retained: Retained) -> None:
    one, other = await retained.kept(K.IDENTITY, ENDED), await retained.kept(K.IDENTITY, ENDED)
    decision_id = await retained.disclosure(await retained.order())
    anna = retained.deciders.people["anna"]
    right, retained.identity = retained.identity, x25519.Identity.generate()
    with pytest.raises(SealBrokenError):
        await retained.reader.open_for_order(decision_id, anna)
    retained.identity = right
    async with retained.database.owner_engine.begin() as connection:
        await connection.execute(sa.text("ALTER TABLE retention.record DISABLE TRIGGER USER"))
        swapped = (
            "UPDATE retention.record r SET ciphertext = o.ciphertext, key_id = o.key_id FROM retention.record o"
            " WHERE r.record_id = :one AND o.record_id = :other"
        )
        await connection.execute(sa.text(swapped), {"one": one, "other": other})
    with pytest.raises(SealBrokenError):
        await retained.reader.open_for_order(decision_id, anna)
    async with retained.database.key_owner_engine.begin() as connection:
        await connection.execute(
            sa.text("UPDATE keys.retention_key SET wrapped_key = NULL, destroyed_at = now(), destroy_reason = 'x'")
        )
    with pytest.raises(RetentionKeyMissingError):
        await retained.reader.open_for_order(decision_id, anna)


def test_each_refusal_has_a_stable_code() -> None:
    assert RetentionRefusedError("permission_missing").code is ErrorCode.PERMISSION_MISSING
    assert RetentionRefusedError("order_of_another").code is ErrorCode.ORDER_NOT_IN_FORCE
    assert RetentionRefusedError("decision_unreadable").code is ErrorCode.DECISION_NOT_APPLICABLE


# Purging


async def test_over_ten_years_each_record_goes_on_its_day_and_not_before(retained: Retained) -> None:
    """A last transaction long before closing, one booked on 31 December and one on 1 January (Q1, L2)."""
    early = await retained.kept(K.TRANSACTION, date(2026, 3, 2))
    last_day = await retained.kept(K.TRANSACTION, BOOKED)
    next_day = await retained.kept(K.TRANSACTION, date(2027, 1, 1))
    identity = await retained.kept(K.IDENTITY, ENDED)
    everything = {early, last_day, next_day, identity}
    left = {
        date(2032, 1, 1): everything,
        date(2036, 12, 31): everything,
        date(2037, 1, 1): {next_day, identity},
        date(2037, 12, 31): {next_day, identity},
        date(2038, 1, 1): {identity},
        date(2041, 12, 31): {identity},
        date(2042, 1, 1): set(),
    }
    for day, expected in left.items():
        await retained.run_on(day)
        assert {record_id for record_id in everything if await retained.is_there(record_id)} == expected, day
    assert await retained.store.kept(retained.books.user_id) == []


async def test_with_the_agreement_alone_the_same_goes_after_five_years(retained: Retained) -> None:
    record_id = await retained.kept(K.TRANSACTION, BOOKED)
    agreement_alone = RetentionRules(agreement_years=5, law_years=0)
    await retained.run_on(date(2031, 12, 31), agreement_alone)
    assert await retained.is_there(record_id)
    report = await retained.run_on(date(2032, 1, 1), agreement_alone)
    assert not await retained.is_there(record_id)
    assert [line.why for line in report.lines] == ["agreement"]


async def test_a_purge_destroys_the_keys_is_in_the_erasure_list_and_says_what_and_why(retained: Retained) -> None:
    by_law = [await retained.kept(K.TRANSACTION, BOOKED) for _ in range(2)]
    consented = await retained.kept(K.TRANSACTION, date(2020, 5, 1), consent_until=date(2036, 12, 31))
    report = await retained.run_on(date(2037, 1, 1))
    assert (report.purged, report.held, report.unfinished) == (3, 0, 0)
    assert report.lines == (
        PurgedLine(kind=K.TRANSACTION, event_year=2020, why="consent", records=1, keys=1),
        PurgedLine(kind=K.TRANSACTION, event_year=2026, why="law", records=2, keys=2),
    )
    [entry] = await retained.erasures.after(0)
    assert set(entry.detail.record_ids) == {*by_law, consented}
    assert (entry.kind, entry.subject_id, entry.user_id) == ("retention", "purge-retained/2037-01-01", None)
    async with retained.database.key_owner_engine.connect() as connection:
        keys = (await connection.execute(sa.text("SELECT * FROM keys.retention_key"))).mappings().all()
    assert {key["key_id"] for key in keys} == set(entry.detail.key_ids)
    assert all(key["wrapped_key"] is None and key["destroy_reason"] == "purged" for key in keys)
    gone = await rows(retained, "SELECT ciphertext, person_index FROM retention.record")
    assert all(row == {"ciphertext": None, "person_index": None} for row in gone)
    assert await retained.forgetting.missing.count() == 0
    # The day's run once more changes nothing, and says the same.
    assert await retained.run_on(date(2037, 1, 1)) == report
    assert len(await retained.erasures.after(0)) == 1


async def test_a_longer_consent_is_honoured_to_its_last_day(retained: Retained) -> None:
    record_id = await retained.kept(K.IDENTITY, BOOKED, consent_until=date(2040, 2, 29))
    await retained.run_on(date(2040, 2, 29))
    assert await retained.is_there(record_id)
    await retained.run_on(date(2040, 3, 1))
    assert not await retained.is_there(record_id)


async def test_a_hold_stops_the_clock_and_lifted_after_its_time_it_goes_with_the_next_run(retained: Retained) -> None:
    record_id = await retained.kept(K.TRANSACTION, BOOKED)
    free = await retained.kept(K.TRANSACTION, BOOKED, user_id="usr_free")
    user_id = retained.books.user_id
    held = await retained.deciders.decide("retention.hold", user_id, ground="proceedings")
    report = await retained.run_on(date(2037, 1, 1))
    assert (await retained.is_there(record_id), await retained.is_there(free)) == (True, False)
    by = "hold:rth_" + held["id"].removeprefix("dec_")
    assert report.held_lines == (HeldLine(held_by=by, user_id=user_id, kind=K.TRANSACTION, event_year=2026, records=1),)
    assert (report.purged, report.held) == (1, 1)
    await retained.deciders.decide("retention.release", user_id, ground="resolved")
    assert (await retained.run_on(date(2039, 5, 5))).purged == 1
    assert not await retained.is_there(record_id)


@pytest.mark.parametrize("demands", ["query", "hold", "freeze"])
async def test_an_order_in_force_on_the_user_stops_it_too(retained: Retained, demands: str) -> None:
    now = NOW + timedelta(days=3600)  # October 2036
    record_id = await retained.kept(K.TRANSACTION, BOOKED)
    await retained.books.run("UPDATE app.operator SET credentials_expire_at = 'infinity'")
    order_id = await retained.order(now=now, demands=demands)
    report = await retained.run_on(date(2037, 1, 1))
    assert [line.held_by for line in report.held_lines] == [f"order:{order_id}"]
    assert await retained.is_there(record_id)
    await retained.run_on(date(2037, 12, 31))
    assert not await retained.is_there(record_id)


async def test_a_day_that_has_not_come_is_refused(retained: Retained) -> None:
    record_id = await retained.kept(K.TRANSACTION, BOOKED)
    with pytest.raises(PurgeTooEarlyError):
        await retained.purge.purge_due(date(2037, 1, 1), RULES)
    assert await retained.is_there(record_id)


async def test_no_caller_gets_below_five_years(retained: Retained) -> None:
    record_id = await retained.kept(K.TRANSACTION, date(2026, 3, 2))
    app = retained.database.app_engine
    short = """'{"agreement_years": 4, "law_years": 4, "event_year_counts": false}'"""
    with pytest.raises(sa.exc.DBAPIError, match="five years"):
        await run(app, f"SELECT * FROM retention.claim(DATE '2031-01-01', {short}, 1)")  # noqa: S608
    with pytest.raises(sa.exc.DBAPIError, match="five years"):
        await run(app, f"SELECT retention.purge_records(ARRAY['{record_id}'], '2030-12-31T12:00:00Z')")
    assert await retained.is_there(record_id)


class DiedError(Exception):
    """The process dies here."""


class Dying:
    """Puts into the list and then dies; or dies at once."""

    def __init__(self, retained: Retained, *, after_listing: bool) -> None:
        self._retained, self._after_listing = retained, after_listing

    async def apply(self, entry: Any) -> None:
        if self._after_listing:
            await self._retained.erasures.add(entry)
        raise DiedError


@pytest.mark.parametrize("after_listing", [False, True])
async def test_a_run_that_died_is_finished_by_the_next_one_whatever_is_held_by_then(
    retained: Retained, *, after_listing: bool
) -> None:
    record_id = await retained.kept(K.TRANSACTION, BOOKED)
    retained.clock.set(date(2037, 1, 1))
    dying = RetentionPurge(retained.database.app_engine, Dying(retained, after_listing=after_listing), retained.clock)
    with pytest.raises(DiedError):
        await dying.purge_due(date(2037, 1, 1), RULES)
    assert (await dying.report(date(2037, 1, 1), RULES, retained.clock())).unfinished == 1
    # Too late for this one: it is on its way out.
    await retained.deciders.decide("retention.hold", retained.books.user_id, ground="proceedings")
    report = await retained.run_on(date(2037, 1, 2))
    assert (report.purged, report.held, report.unfinished) == (1, 0, 0)
    assert not await retained.is_there(record_id)
    [entry] = await retained.erasures.after(0)
    assert entry.subject_id == "purge-retained/2037-01-01"
    assert await retained.forgetting.missing.count() == 0


async def test_what_a_restored_backup_brings_back_is_purged_again_from_the_list(retained: Retained) -> None:
    record_id = await retained.kept(K.TRANSACTION, BOOKED)
    before = await rows(retained, "SELECT * FROM retention.record")
    await retained.deciders.decide("retention.hold", retained.books.user_id, ground="proceedings")
    await retained.deciders.decide("retention.release", retained.books.user_id, ground="resolved")
    await retained.run_on(date(2037, 1, 1))
    async with retained.database.owner_engine.begin() as connection:
        # The books as they were: nothing claimed, the hold not lifted yet.
        for statement in (
            "ALTER TABLE retention.record DISABLE TRIGGER USER",
            "ALTER TABLE retention.hold DISABLE TRIGGER USER",
            "UPDATE retention.hold SET lifted_by = NULL, lifted_at = NULL",
            "TRUNCATE app.applied_erasure",
        ):
            await connection.execute(sa.text(statement))
        put_back = (
            "UPDATE retention.record SET ciphertext = :ciphertext, person_index = :person_index, purge_on = NULL,"
            " purged_why = NULL, purged_at = NULL"
        )
        await connection.execute(sa.text(put_back), {name: before[0][name] for name in ("ciphertext", "person_index")})
        await connection.execute(sa.text("ALTER TABLE retention.record ENABLE TRIGGER USER"))
    assert await retained.is_there(record_id)
    assert await retained.forgetting.apply_missing() == 1
    assert not await retained.is_there(record_id)
    assert await retained.books.value("SELECT purged_why FROM retention.record") == "restored"


async def test_a_purge_and_a_hold_that_race_leave_the_record_whole_or_gone(retained: Retained) -> None:
    for _ in range(5):
        record_id = await retained.kept(K.TRANSACTION, BOOKED)
        retained.clock.set(date(2037, 1, 1))
        await asyncio.gather(
            retained.purge.purge_due(date(2037, 1, 1), RULES),
            retained.purge.purge_due(date(2037, 1, 1), RULES),
            retained.deciders.decide("retention.hold", retained.books.user_id, ground="proceedings"),
        )
        async with retained.database.key_owner_engine.connect() as connection:
            alive = await connection.scalar(
                sa.text("SELECT count(*) FROM keys.retention_key WHERE destroyed_at IS NULL")
            )
        assert alive == await retained.books.value(RECORDS)
        await retained.deciders.decide("retention.release", retained.books.user_id, ground="resolved")
        await retained.run_on(date(2037, 1, 1))
        assert not await retained.is_there(record_id)
