"""What the database itself refuses about operators, whoever asks."""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from storage.operators import Operators
from tests.ops.conftest import OpsStage, ops

__all__ = ["ops"]


async def refused(engine: AsyncEngine, statement: str) -> bool:
    async with engine.connect() as connection:
        try:
            await connection.execute(sa.text(statement))
        except DBAPIError as error:
            return "permission denied" in str(error)
    return False


async def test_the_operators_api_cannot_read_what_proves_who_somebody_is(ops: OpsStage) -> None:
    await ops.operator("support")
    engine = ops.database.ops_engine
    for statement in (
        "SELECT password_phc FROM app.operator",
        "SELECT sealed_totp FROM app.operator",
        "SELECT enrolment_hash FROM app.operator",
        "SELECT * FROM app.operator",
        "SELECT token_hash FROM app.operator_session",
        "SELECT secret_hash FROM app.api_key",
        "SELECT * FROM app.login_brake",
        "SELECT * FROM app.idempotency",
        "SELECT ciphertext FROM vault.item",
    ):
        assert await refused(engine, statement), statement


async def test_the_operators_api_changes_nothing_but_through_functions(ops: OpsStage) -> None:
    engine = ops.database.ops_engine
    for statement in (
        "UPDATE app.operator SET roles = '{administrator}'",
        "INSERT INTO app.role_permission VALUES ('support', 'operators:write')",
        "INSERT INTO app.operation (at, actor, action, outcome) VALUES (now(), 'x', 'x', 'done')",
        "DELETE FROM app.operation",
        "UPDATE app.payment SET state = 'succeeded'",
        "UPDATE app.api_key SET scopes = '{}'",
        "UPDATE app.merchant SET state = 'suspended'",
        "DELETE FROM app.login_brake",
        "SELECT app.end_sessions('x', 'x', now())",
        "SELECT app.return_attempt('{}')",
        "SELECT app.settle('[]')",
        "SELECT app.claim_effects('[]')",
        "SELECT vault.store_items('[]')",
    ):
        assert await refused(engine, statement), statement


async def test_others_processes_learn_nothing_of_credentials_and_open_no_session(ops: OpsStage) -> None:
    for engine in (ops.database.app_engine, ops.database.webhooks_engine):
        for statement in (
            "SELECT password_phc FROM app.operator",
            "SELECT token_hash FROM app.operator_session",
            "SELECT app.begin_login('{}')",
            "SELECT app.finish_login('{}')",
            "SELECT app.enrol_operator('{}')",
            "SELECT app.change_operator('{}')",
        ):
            assert await refused(engine, statement), statement


async def may(ops: OpsStage, who: str, permission: str, **later: float) -> bool:
    statement = sa.text("SELECT app.operator_may(:who, :permission, :at)")
    at = ops.clock.now() + timedelta(**later)
    async with ops.database.app_engine.connect() as connection:
        return bool(await connection.scalar(statement, {"who": who, "permission": permission, "at": at}))


async def test_who_may_is_judged_at_an_instant(ops: OpsStage) -> None:
    chen = await ops.operator("compliance", credentials=timedelta(days=90))
    ada = await ops.operator("administrator")
    assert await may(ops, chen.id, "payments:read")
    assert not await may(ops, chen.id, "operators:write")
    assert not await may(ops, "opr_" + "0" * 26, "payments:read")
    assert await may(ops, chen.id, "payments:read", days=89.9)
    assert not await may(ops, chen.id, "payments:read", days=90)
    assert await may(ops, chen.id, "personal_data:read")
    await ops.rows("UPDATE app.operator SET trained_until = :at WHERE id = :id", at=ops.clock.now(), id=chen.id)
    assert not await may(ops, chen.id, "personal_data:read")
    await ada.post(f"/operators/{chen.id}/suspend")
    assert not await may(ops, chen.id, "payments:read")


async def test_nobody_can_be_active_without_password_and_second_factor(ops: OpsStage) -> None:
    rui = await ops.operator("risk")
    for change in ("sealed_totp = NULL", "password_phc = NULL, credentials_expire_at = NULL", "roles = '{}'"):
        with pytest.raises(DBAPIError, match="check constraint"):
            await ops.rows(f"UPDATE app.operator SET {change} WHERE id = :id", id=rui.id)  # noqa: S608
    found = await Operators(ops.database.ops_engine).find(rui.login)
    assert found is not None
    assert found["state"] == "active"
