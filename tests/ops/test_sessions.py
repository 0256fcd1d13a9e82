"""Logging in: who proves to be who they are, what a guesser gets, and when a session is over."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest

from api.rate_limits import RateLimits
from domain.policy import RatePolicy
from ops.credentials import Passwords, SecondFactors, code_at
from tests.ops.conftest import OpsStage, Person

NEW_PASSWORD = "staple-battery-horse-7"


async def test_somebody_with_password_and_code_logs_in_and_is_known(ops: OpsStage) -> None:
    rui = await ops.operator("risk", login="rui")
    me = (await rui.get("/me")).json()
    assert (me["login"], me["roles"]) == ("rui", ["risk"])
    assert "payments:read" in me["permissions"]
    [record] = await ops.records(action="log_in")
    assert (record["actor"], record["outcome"], record["subject_id"]) == ("operator:rui", "done", rui.id)


async def wrong(ops: OpsStage, login: str, **body: str) -> httpx.Response:
    typed = {"login": login, "password": "not the password", "totp": "000000"} | body
    return await ops.http.post("/ops/v1/login", json=typed)


async def test_whatever_is_wrong_the_answer_is_the_same_and_nobody_learns_who_exists(ops: OpsStage) -> None:
    rui = await ops.operator("risk", login="rui", logged_in=False)
    right = {"password": rui.credentials.password, "totp": rui.credentials.code(ops.clock.now())}
    answers = [
        await wrong(ops, "rui", totp=right["totp"]),
        await wrong(ops, "rui", password=right["password"]),
        await wrong(ops, "nobody"),
        await wrong(ops, "rui", password=right["password"], totp="００００００"),
        await wrong(ops, "Not A Login'; --"),
    ]
    bodies = [json.dumps(answer.json() | {"request_id": ""}, sort_keys=True) for answer in answers]
    assert [answer.status_code for answer in answers] == [401] * 5
    assert len(set(bodies)) == 1
    assert answers[0].json()["code"] == "LOGIN_FAILED"
    denied = await ops.records(action="log_in", outcome="denied")
    assert [record["subject_id"] for record in denied] == [rui.id, rui.id, None, rui.id, None]
    assert "Not A Login" not in json.dumps(await ops.rows("SELECT to_jsonb(o) AS o FROM app.operation o"), default=str)


async def test_as_much_work_is_done_for_a_login_that_does_not_exist(
    ops: OpsStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ops.operator("risk", login="rui", logged_in=False)
    done: list[str] = []
    verify, match = type(ops.services.passwords).verify, SecondFactors.matching_step

    async def counted_verify(self, password, phc):  # type: ignore[no-untyped-def]
        done.append("password")
        return await verify(self, password, phc)

    def counted_match(self, *words):  # type: ignore[no-untyped-def]
        done.append("code")
        return match(self, *words)

    monkeypatch.setattr(type(ops.services.passwords), "verify", counted_verify)
    monkeypatch.setattr(SecondFactors, "matching_step", counted_match)
    await wrong(ops, "rui")
    known = list(done)
    done.clear()
    await wrong(ops, "nobody")
    assert known == done == ["password", "code"]


async def test_a_code_works_once_and_its_neighbours_are_taken_for_clocks_that_differ(ops: OpsStage) -> None:
    rui = await ops.operator("risk", logged_in=False)
    used = rui.credentials.code(ops.clock.now())
    assert (await rui.log_in()).status_code == 200
    assert (await rui.log_in()).status_code == 401
    ops.clock.advance(seconds=30)
    assert (await rui.log_in(totp=used)).status_code == 401
    ahead = rui.credentials.code(ops.clock.now().replace(minute=ops.clock.now().minute + 1))
    assert (await rui.log_in(totp=ahead)).status_code == 401, "two steps ahead"
    assert (await rui.log_in()).status_code == 200


async def test_the_same_code_at_the_same_moment_opens_one_session(ops: OpsStage) -> None:
    rui = await ops.operator("risk", logged_in=False)
    answers = await asyncio.gather(*(rui.log_in() for _ in range(3)))
    assert sorted(answer.status_code for answer in answers) == [200, 401, 401]


async def test_many_passwords_are_judged_at_once_with_the_cost_of_production(ops: OpsStage) -> None:
    passwords = Passwords()
    phc = await passwords.hash(NEW_PASSWORD)
    assert phc.startswith("$argon2id$v=19$m=65536,t=2,p=1$")
    async with asyncio.timeout(60):
        verdicts = await asyncio.gather(*(passwords.verify(word, phc) for word in [NEW_PASSWORD, "another"] * 3))
    assert verdicts == [True, False] * 3


def test_codes_are_those_of_the_standard() -> None:
    from datetime import UTC, datetime

    # RFC 6238, appendix B: the last six of eight digits.
    secret = b"12345678901234567890"
    times = {59: "287082", 1_111_111_109: "081804", 1_234_567_890: "005924", 20_000_000_000: "353130"}
    assert {time: code_at(secret, datetime.fromtimestamp(time, UTC)) for time in times} == times


async def test_after_five_failures_a_login_waits_longer_each_time_also_with_the_right_password(ops: OpsStage) -> None:
    rui = await ops.operator("risk", login="rui", logged_in=False)
    for _ in range(5):
        assert (await wrong(ops, "rui")).status_code == 401
    pauses = []
    for _ in range(3):
        locked = await rui.log_in()
        assert (locked.status_code, locked.json()["code"]) == (429, "LOGIN_LOCKED")
        pauses.append(int(locked.headers["retry-after"]))
        ops.clock.advance(seconds=pauses[-1])
        assert (await wrong(ops, "rui")).status_code == 401
    assert pauses == [30, 60, 120]
    ops.clock.advance(seconds=240)
    assert (await rui.log_in()).status_code == 200
    assert (await wrong(ops, "rui")).status_code == 401, "a success starts afresh"


async def test_a_login_that_does_not_exist_is_locked_like_any_other(ops: OpsStage) -> None:
    for _ in range(5):
        assert (await wrong(ops, "nobody")).status_code == 401
    assert (await wrong(ops, "nobody")).status_code == 429


async def test_a_hundred_guesses_at_once_are_no_more_than_five(ops: OpsStage) -> None:
    await ops.operator("risk", login="rui", logged_in=False)
    answers = await asyncio.gather(*(wrong(ops, "rui") for _ in range(25)))
    statuses = [answer.status_code for answer in answers]
    assert (statuses.count(401), statuses.count(429)) == (5, 20)


async def test_an_address_that_tries_many_logins_is_stopped_and_colleagues_of_it_get_theirs_back(ops: OpsStage) -> None:
    people = [await ops.operator("support") for _ in range(3)]
    for number in range(30):
        assert (await wrong(ops, f"guess{number}")).status_code == 401
    assert (await wrong(ops, "guess30")).status_code == 429
    assert (await people[0].get("/me")).status_code == 200, "who is logged in goes on"
    ops.clock.advance(seconds=31)
    assert (await people[1].log_in()).status_code == 200


async def test_an_address_that_has_to_wait_leaves_no_login_behind_that_it_tries(ops: OpsStage) -> None:
    for number in range(30):
        await wrong(ops, f"nobody{number}")
    kept = await ops.rows("SELECT subject FROM app.login_brake ORDER BY subject")
    for number in range(100):
        assert (await wrong(ops, f"somebody{number}")).status_code == 429
    assert await ops.rows("SELECT subject FROM app.login_brake ORDER BY subject") == kept


async def test_a_session_ends_after_idle_minutes_and_after_its_hours_and_when_logged_out(ops: OpsStage) -> None:
    rui = await ops.operator("risk")
    for _ in range(16):
        ops.clock.advance(minutes=29)
        assert (await rui.get("/me")).status_code == 200
    ops.clock.advance(minutes=17)
    over = await rui.get("/me")
    assert (over.status_code, over.json()["code"]) == (401, "SESSION_INVALID")
    assert (await rui.log_in()).status_code == 200
    ops.clock.advance(minutes=30)
    assert (await rui.get("/me")).status_code == 401
    assert (await rui.log_in()).status_code == 200
    assert (await rui.post("/logout")).status_code == 200
    assert (await rui.get("/me")).status_code == 401


async def test_a_changed_password_ends_every_session_and_the_old_one_is_no_good(ops: OpsStage) -> None:
    rui = await ops.operator("risk")
    ops.clock.advance(seconds=30)
    elsewhere = Person(ops.http, ops.clock, rui.credentials)
    assert (await elsewhere.log_in()).status_code == 200
    changed = await rui.post("/me/password", {"password": rui.credentials.password, "new_password": NEW_PASSWORD})
    assert changed.status_code == 200, changed.text
    assert [(await one.get("/me")).status_code for one in (rui, elsewhere)] == [401, 401]
    ops.clock.advance(seconds=30)
    assert (await rui.log_in()).status_code == 401
    assert (await rui.log_in(password=NEW_PASSWORD)).status_code == 200


@pytest.mark.parametrize("weak", ["short", "aaaaaaaaaaaaaaaa", "my-name-is-rui-12", "x" * 129, ""])
async def test_a_weak_password_is_refused(ops: OpsStage, weak: str) -> None:
    rui = await ops.operator("risk", login="rui")
    answer = await rui.post("/me/password", {"password": rui.credentials.password, "new_password": weak})
    assert (answer.status_code, answer.json()["code"]) == (422, "PASSWORD_TOO_WEAK")
    same = {"password": rui.credentials.password, "new_password": rui.credentials.password}
    assert (await rui.post("/me/password", same)).json()["code"] == "PASSWORD_TOO_WEAK"


async def test_a_stolen_session_has_no_more_guesses_at_the_password_than_a_stranger(ops: OpsStage) -> None:
    rui = await ops.operator("risk")
    guess = {"password": "a guess at it", "new_password": NEW_PASSWORD}
    answers = [(await rui.post("/me/password", guess)).json()["code"] for _ in range(6)]
    assert answers == ["PASSWORD_WRONG"] * 5 + ["LOGIN_LOCKED"]


async def test_with_an_expired_password_only_a_new_one_can_be_set(ops: OpsStage) -> None:
    rui = await ops.operator("risk")
    ops.clock.advance(days=3651)
    assert (await rui.log_in()).status_code == 200
    refused = await rui.get("/matters")
    assert (refused.status_code, refused.json()["code"]) == (403, "CREDENTIALS_EXPIRED")
    body = {"password": rui.credentials.password, "new_password": NEW_PASSWORD}
    assert (await rui.post("/me/password", body)).status_code == 200
    ops.clock.advance(seconds=30)
    await rui.log_in(password=NEW_PASSWORD)
    assert (await rui.get("/matters")).status_code == 200
    ops.clock.advance(days=91)
    await rui.log_in(password=NEW_PASSWORD)
    assert (await rui.get("/matters")).json()["code"] == "CREDENTIALS_EXPIRED"


async def test_no_secret_of_a_person_stands_in_the_database_or_in_an_answer_after_it_was_shown(ops: OpsStage) -> None:
    rui = await ops.operator("risk", login="rui")
    await wrong(ops, "rui", password=rui.credentials.password, totp="123456")
    tables = ("operator", "operator_session", "operation", "login_brake")
    queries = [f"SELECT to_jsonb(t) AS t FROM app.{name} t" for name in tables]  # noqa: S608 - names of this test
    stored = json.dumps([await ops.rows(query) for query in queries], default=str)
    secret = rui.token.split("_", 2)[2]
    assert rui.credentials.password not in stored
    assert rui.credentials.totp_secret not in stored
    assert secret not in stored
    assert rui.credentials.password not in repr(rui.credentials)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"login": "rui"},
        {"login": "rui", "password": 1, "totp": "1"},
        {"login": ["rui"], "password": "", "totp": ""},
    ],
)
async def test_a_login_that_is_no_login_names_its_fields_and_no_value(ops: OpsStage, body: dict[str, object]) -> None:
    answer = await ops.http.post("/ops/v1/login", json=body)
    assert (answer.status_code, answer.json()["code"]) == (400, "REQUEST_INVALID")
    assert answer.json()["errors"]
    [record] = await ops.records(action="log_in")
    assert (record["outcome"], record["actor"]) == ("refused", "unknown")


async def test_a_flood_of_strangers_leaves_one_record_and_lets_colleagues_go_on(ops: OpsStage) -> None:
    rui = await ops.operator("risk")
    policy = RatePolicy(window_seconds=60, reads=1, commands=1, money_commands=1, unauthenticated=3)
    object.__setattr__(ops.services, "rate_limits", RateLimits(policy))
    made_up = {"Authorization": f"Bearer {rui.token[:-1]}{'a' if rui.token[-1] != 'a' else 'b'}"}
    statuses = [(await ops.http.get("/ops/v1/matters", headers=made_up)).status_code for _ in range(6)]
    assert statuses == [401, 401, 401, 429, 429, 429]
    assert (await wrong(ops, "rui")).json()["code"] == "RATE_LIMITED"
    assert len(await ops.records(reason="rate_limited")) == 1
    assert (await rui.get("/matters")).status_code == 200
