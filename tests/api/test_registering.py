"""Registering the institution: banks, accounts, the agreement in force, roles; again and again."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from config.roles import read_roles
from domain.roles import RoleBook
from storage.administration import AdministrationError, register_institution
from tests.api.conftest import Stage
from wiring import read_bank_register


async def test_registering_the_institution_again_changes_nothing(stage: Stage) -> None:
    before = await stage.records()
    await register_institution(stage.database.owner_engine, stage.policy, read_bank_register().banks, stage.clock.now())
    assert await stage.records() == before


async def test_a_published_agreement_is_not_replaced_by_another_text(stage: Stage) -> None:
    agreement = stage.policy.agreement.model_copy(update={"content_hash": "0" * 64})
    policy = stage.policy.model_copy(update={"agreement": agreement})
    with pytest.raises(AdministrationError):
        await register_institution(stage.database.owner_engine, policy, [], stage.clock.now())


async def test_a_partner_that_was_switched_off_stays_off_when_the_institution_is_registered_again(stage: Stage) -> None:
    async with stage.database.owner_engine.begin() as connection:
        await connection.execute(sa.text("UPDATE app.partner SET enabled = false WHERE code = 'HBRB'"))
    await register_institution(stage.database.owner_engine, stage.policy, read_bank_register().banks, stage.clock.now())
    off = await stage.rows("SELECT code FROM app.partner WHERE NOT enabled")
    assert [row["code"] for row in off] == ["HBRB"]


async def test_the_tables_say_what_the_file_of_roles_says_also_after_it_was_changed(stage: Stage) -> None:
    owner, banks, now = stage.database.owner_engine, read_bank_register().banks, stage.clock.now()
    book = RoleBook.model_validate(read_roles())
    await register_institution(owner, stage.policy, banks, now, book)
    fewer = book.roles["support"].model_copy(update={"permissions": frozenset({"cases:open"}), "title_en": "Desk"})
    changed = RoleBook(
        roles={name: role for name, role in book.roles.items() if name != "auditor"} | {"support": fewer}
    )
    changed = RoleBook(
        roles={
            name: role.model_copy(update={"incompatible": role.incompatible - {"auditor"}})
            for name, role in changed.roles.items()
        }
    )
    for wanted in (book, changed, changed):
        await register_institution(owner, stage.policy, banks, now, wanted)
        rows = await stage.rows("SELECT role, permission FROM app.role_permission")
        assert {(row["role"], row["permission"]) for row in rows} == {
            (name, word) for name, role in wanted.roles.items() for word in role.permissions
        }
        titles = {row["name"]: row["title_en"] for row in await stage.rows("SELECT name, title_en FROM app.role")}
        assert titles == {name: role.title_en for name, role in wanted.roles.items()}
    assert len(await stage.records(action="register_roles")) == 2
