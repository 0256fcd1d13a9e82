"""Logging in: who proves to be who they are, what a guesser gets, and when a session is over."""

from __future__ import annotations

from tests.ops.conftest import OpsStage


async def test_somebody_with_password_and_code_logs_in_and_is_known(ops: OpsStage) -> None:
    rui = await ops.operator("risk", login="rui")
    me = (await rui.get("/me")).json()
    assert (me["login"], me["roles"]) == ("rui", ["risk"])
    assert "payments:read" in me["permissions"]
    [record] = await ops.records(action="log_in")
    assert (record["actor"], record["outcome"], record["subject_id"]) == ("operator:rui", "done", rui.id)
