"""Who operators are: invited, with credentials of their own and roles from others; nobody changes themselves."""

from __future__ import annotations

from typing import Any

import pytest

from domain.errors import ConflictError
from ops.credentials import Passwords
from ops.direct_enrolment import DirectCredentials, invite_first, renew_directly
from storage.operators import Operators
from tests.ops.conftest import CHEAP, OPERATOR_KEY, OpsStage, Person

PASSWORD = "staple-battery-horse-7"


async def invited(ops: OpsStage, admin: Person, login: str = "lin", *roles: str) -> dict[str, Any]:
    body = {"login": login, "name": "林", "roles": list(roles) or ["support"]}
    answer = await admin.post("/operators", body)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def redeemed(ops: OpsStage, token: str, password: str = PASSWORD) -> Person:
    answer = await ops.http.post("/ops/v1/enrolment", json={"token": token, "password": password})
    assert answer.status_code == 200, answer.text
    made = answer.json()
    credentials = DirectCredentials("", made["login"], password, made["totp_secret"])
    return Person(ops.http, ops.clock, credentials)


async def test_an_invited_person_sets_their_own_credentials_and_logs_in(ops: OpsStage) -> None:
    ada = await ops.operator("administrator", login="ada")
    invitation = await invited(ops, ada)
    lin = await redeemed(ops, invitation["enrolment_token"])
    assert (await lin.log_in()).status_code == 200
    assert (await lin.get("/me")).json()["roles"] == ["support"]
    done = [(record["actor"], record["action"]) for record in await ops.records(subject_id=invitation["id"])]
    assert done == [
        ("operator:ada", "enrol_operator"),
        ("operator:lin", "redeem_enrolment"),
        ("operator:lin", "log_in"),
    ]


async def test_an_enrolment_token_works_once_in_time_and_for_nobody_else(ops: OpsStage) -> None:
    ada = await ops.operator("administrator")
    token = (await invited(ops, ada))["enrolment_token"]
    late = (await invited(ops, ada, "late"))["enrolment_token"]
    await redeemed(ops, token)
    swapped = late[:30] + token[30:]
    ops.clock.advance(days=3, seconds=1)
    for given in (token, late, swapped, "lse_nothing", ""):
        answer = await ops.http.post("/ops/v1/enrolment", json={"token": given, "password": PASSWORD})
        assert (answer.status_code, answer.json()["code"]) == (401, "ENROLMENT_INVALID"), given
    assert len(await ops.records(action="redeem_enrolment", outcome="denied")) == 5


async def test_a_weak_password_does_not_use_up_the_token(ops: OpsStage) -> None:
    ada = await ops.operator("administrator")
    token = (await invited(ops, ada))["enrolment_token"]
    weak = await ops.http.post("/ops/v1/enrolment", json={"token": token, "password": "password"})
    assert weak.json()["code"] == "PASSWORD_TOO_WEAK"
    await redeemed(ops, token)


async def test_nobody_changes_their_own_roles_state_training_or_credentials(ops: OpsStage) -> None:
    ada = await ops.operator("administrator", login="ada")
    bodies = {"roles": {"roles": ["support"]}, "training": {"trained_until": "2027-01-01T00:00:00Z"}}
    for act in ("roles", "training", "suspend", "resume", "leave", "reset"):
        answer = await ada.post(f"/operators/{ada.id}/{act}", bodies.get(act))
        assert (answer.status_code, answer.json()["code"]) == (403, "OPERATOR_IS_ONESELF"), act
    assert (await ada.get("/me")).json()["roles"] == ["administrator"]


@pytest.mark.parametrize(
    ("roles", "code"),
    [
        (["administrator", "treasury"], "ROLES_INCOMPATIBLE"),
        (["risk", "administrator"], "ROLES_INCOMPATIBLE"),
        (["auditor", "support"], "ROLES_INCOMPATIBLE"),
        (["director"], "ROLE_UNKNOWN"),
        ([], "REQUEST_INVALID"),
    ],
)
async def test_roles_that_no_one_person_may_have_are_not_given(ops: OpsStage, roles: list[str], code: str) -> None:
    ada = await ops.operator("administrator")
    su = await ops.operator("support")
    invited = await ada.post("/operators", {"login": "lin", "name": "林", "roles": roles})
    changed = await ada.post(f"/operators/{su.id}/roles", {"roles": roles})
    assert [answer.json()["code"] for answer in (invited, changed)] == [code, code]
    assert (await su.get("/me")).json()["roles"] == ["support"]


async def test_a_login_is_never_given_twice_also_after_its_person_left(ops: OpsStage) -> None:
    ada = await ops.operator("administrator")
    su = await ops.operator("support", login="su")
    assert (await ada.post(f"/operators/{su.id}/leave")).json()["state"] == "left"
    again = await ada.post("/operators", {"login": "su", "name": "苏", "roles": ["support"]})
    assert again.json()["code"] == "OPERATOR_EXISTS"
    assert (await ada.post(f"/operators/{su.id}/roles", {"roles": ["risk"]})).json()["code"] == "OPERATOR_HAS_LEFT"
    ops.clock.advance(seconds=30)
    assert (await su.log_in()).status_code == 401


async def test_suspending_ends_sessions_at_once_until_somebody_resumes(ops: OpsStage) -> None:
    ada, su = await ops.operator("administrator"), await ops.operator("support")
    assert (await ada.post(f"/operators/{su.id}/suspend")).json()["state"] == "suspended"
    assert (await su.get("/me")).status_code == 401
    ops.clock.advance(seconds=30)
    assert (await su.log_in()).status_code == 401
    assert (await ada.post(f"/operators/{su.id}/suspend")).json()["code"] == "OPERATOR_STATE_DIFFERS"
    assert (await ada.post(f"/operators/{su.id}/resume")).json()["state"] == "active"
    assert (await su.log_in()).status_code == 200


async def test_changed_roles_end_the_sessions_that_were_opened_with_the_old_ones(ops: OpsStage) -> None:
    ada, su = await ops.operator("administrator"), await ops.operator("support")
    assert (await ada.post(f"/operators/{su.id}/roles", {"roles": ["auditor"]})).status_code == 200
    assert (await su.get("/matters")).status_code == 401
    ops.clock.advance(seconds=30)
    await su.log_in()
    assert [(await su.get(path)).status_code for path in ("/matters", "/records")] == [403, 200]


async def test_a_reset_shuts_the_old_credentials_out_until_the_new_token_is_redeemed(ops: OpsStage) -> None:
    ada, su = await ops.operator("administrator"), await ops.operator("support", login="su")
    token = (await ada.post(f"/operators/{su.id}/reset")).json()["enrolment_token"]
    assert (await su.get("/me")).status_code == 401
    ops.clock.advance(seconds=30)
    assert (await su.log_in()).status_code == 401
    renewed = await redeemed(ops, token)
    assert (await renewed.log_in()).status_code == 200
    assert (await su.log_in()).status_code == 401


async def test_the_first_administrator_is_invited_by_the_owner_and_only_while_there_is_none(ops: OpsStage) -> None:
    owner, now = ops.database.owner_engine, ops.clock.now()
    first, _ = await invite_first(owner, "ada", ulid=ops.ids.ulid(), now=now, role="administrator")
    again, _ = await invite_first(owner, "ada", ulid=ops.ids.ulid(), now=now, role="administrator")
    assert first.text != again.text
    lost = await ops.http.post("/ops/v1/enrolment", json={"token": first.text, "password": PASSWORD})
    assert lost.status_code == 401
    await redeemed(ops, again.text)
    with pytest.raises(ConflictError):
        await invite_first(owner, "eve", ulid=ops.ids.ulid(), now=now, role="administrator")


async def test_credentials_that_got_lost_are_renewed_by_the_owner(ops: OpsStage) -> None:
    su = await ops.operator("support", login="su")
    ops.clock.advance(seconds=30)
    made = await renew_directly(
        ops.database.owner_engine, OPERATOR_KEY, "su", now=ops.clock.now(), passwords=Passwords(CHEAP)
    )
    assert (await su.log_in()).status_code == 401
    assert (await Person(ops.http, ops.clock, made).log_in()).status_code == 200
    found = await Operators(ops.services.engine).find("su")
    assert found is not None
    assert found["id"] == su.id


async def test_the_list_shows_people_and_nothing_that_proves_who_they_are(ops: OpsStage) -> None:
    ada = await ops.operator("administrator", login="ada")
    [shown] = (await ada.get("/operators")).json()["items"]
    assert shown["login"] == "ada"
    assert not {"password_phc", "sealed_totp", "enrolment_hash"} & shown.keys()
    assert {role["name"] for role in (await ada.get("/roles")).json()["items"]} >= {"auditor", "administrator"}
