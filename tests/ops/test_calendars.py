"""Calendars, hours and closures over the operators' API: loaded by who may, validated whole, and recorded."""

from __future__ import annotations

from datetime import date, time, timedelta
from typing import Any

import pytest

from calendars.book import CalendarBook
from config.policy import read_policy
from domain.business_time import SHANGHAI
from domain.fx_rules import FxRules
from storage.calendars import Calendars
from tests.ops.conftest import OpsStage

_FX = FxRules.model_validate(read_policy()["fx"])
YEAR: dict[str, Any] = {
    "note": "国务院办公厅关于2027年部分节假日安排的通知",
    "years": [
        {"calendar": "CN", "year": 2027, "days": [
            {"day": "2027-01-01", "working": False, "name": "元旦"},
            {"day": "2027-01-09", "working": True, "name": "调休"},
        ]}
    ],
}  # fmt: skip


async def test_a_year_is_loaded_once_and_what_waits_is_planned_anew(ops: OpsStage) -> None:
    treasurer = await ops.operator("treasury")
    answer = await treasurer.post("/calendars", YEAR)
    assert answer.status_code == 201, answer.text
    assert answer.json() == {"object": "calendar_version", "version": 1, "already": False}
    assert ops.processes.started == [("replan_payouts", 1), ("replan_fx", 1)]
    again = await treasurer.post("/calendars", YEAR)
    assert again.json() == {"object": "calendar_version", "version": 1, "already": True}
    shown = (await treasurer.get("/calendars")).json()
    [mainland] = [each for each in shown["calendars"] if each["calendar"] == "CN"]
    assert (mainland["loaded_years"], mainland["next_year_is_published"]) == ([2027], True)
    assert shown["history"][0]["loaded_by"] == treasurer.actor
    done, known = await ops.records(action="load_calendar", outcome="done")
    assert (done["actor"], done["detail"]["version"], known["reason"]) == (treasurer.actor, 1, "already")


async def test_a_correction_wins_over_its_year_and_a_later_load_over_both(ops: OpsStage) -> None:
    treasurer = await ops.operator("treasury")
    correction = {"calendar": "CN", "day": "2027-01-09", "working": False, "name": "不再调休"}
    await treasurer.post("/calendars", YEAR | {"corrections": [correction]})
    shown = (await treasurer.get("/calendars")).json()["calendars"][0]["corrections"]
    assert shown == {"2027-01-01": False, "2027-01-09": False}
    bank = {"calendar": "HBRB", "day": "2026-10-10", "working": False, "name": "不上班"}
    moved = {"calendar": "CN", "day": "2027-01-09", "working": True, "name": "调休"}
    await treasurer.post("/calendars", {"note": "更正", "corrections": [bank, moved]})
    shown = (await treasurer.get("/calendars")).json()
    assert shown["calendars"][0]["corrections"]["2027-01-09"] is True
    assert shown["bank_days"] == {"HBRB": {"2026-10-10": False}}
    # A year that is published anew is stated as a whole.
    await treasurer.post("/calendars", YEAR)
    shown = (await treasurer.get("/calendars")).json()["calendars"][0]["corrections"]
    assert shown == {"2027-01-01": False, "2027-01-09": True}


async def test_a_bank_is_closed_and_opened_again(ops: OpsStage) -> None:
    treasurer = await ops.operator("treasury")
    until = (ops.clock.now() + timedelta(hours=3)).isoformat()
    closed = await treasurer.post("/bank_closures", {"bank_code": "HBRB", "until_at": until, "note": "系统维护"})
    assert closed.status_code == 201, closed.text
    [closure] = (await treasurer.get("/calendars")).json()["closures"]
    assert closure["bank_code"] == "HBRB"
    ops.clock.advance(seconds=60)
    opened = await treasurer.post("/bank_closures", {"bank_code": "HBRB", "open_again": True, "note": "提前恢复"})
    assert opened.json()["version"] == 2
    [shorter] = (await treasurer.get("/calendars")).json()["closures"] or [None]
    assert shorter is None
    assert [version for name, version in ops.processes.started if name == "replan_payouts"] == [1, 2]


async def test_a_bank_has_hours_of_its_own_until_they_are_taken_back(ops: OpsStage) -> None:
    treasurer = await ops.operator("treasury")
    ranges = [{"weekdays": [1, 2, 3, 4, 5], "opens": "09:00", "closes": "16:00"}]
    body = {"bank_code": "HBRB", "ranges": ranges, "note": "冬令时间"}
    assert (await treasurer.post("/bank_hours", body)).status_code == 201
    shown = (await treasurer.get("/calendars")).json()["bank_hours"]
    assert shown["HBRB"][0]["closes"] == "16:00"
    assert (await treasurer.post("/bank_hours", body | {"ranges": None})).status_code == 201
    assert (await treasurer.get("/calendars")).json()["bank_hours"] == {}


async def _register_office(ops: OpsStage) -> None:
    """The desk of HBRB, whether or not the institution's file has been registered already."""
    await ops.rows(
        "INSERT INTO app.fx_office (code, kind, bank_code) VALUES ('FX-HBRB', 'desk', 'HBRB') ON CONFLICT DO NOTHING"
    )


async def test_a_desk_is_closed_and_has_hours_and_days_of_its_own_beside_its_bank(ops: OpsStage) -> None:
    await _register_office(ops)
    treasurer = await ops.operator("treasury")
    from_at, until_at = ops.clock.now(), ops.clock.now() + timedelta(hours=3)
    closure = {"bank_code": "FX-HBRB", "until_at": until_at.isoformat(), "note": "系统维护"}
    assert (await treasurer.post("/bank_closures", closure)).status_code == 201
    ranges = [{"weekdays": [1, 2, 3, 4, 5], "opens": "10:00", "closes": "15:00"}]
    hours = {"bank_code": "FX-HBRB", "ranges": ranges, "note": "冬令时间"}
    assert (await treasurer.post("/bank_hours", hours)).status_code == 201
    day = {"calendar": "FX-HBRB", "day": "2026-10-10", "working": True, "name": "调休"}
    abroad = {"calendar": "US", "day": "2026-12-24", "working": False, "name": "平安夜"}
    answer = await treasurer.post("/calendars", {"note": "更正", "corrections": [day, abroad]})
    assert (answer.status_code, answer.json()["version"]) == (201, 3), answer.text
    # In force: the desk's, and not its bank's.
    loaded = await Calendars(ops.services.engine).loaded()
    assert loaded.days == {"FX-HBRB": {date(2026, 10, 10): True}, "US": {date(2026, 12, 24): False}}
    [closed] = loaded.closures_of("FX-HBRB", from_at)
    assert (closed.from_at, closed.until_at) == (from_at, until_at)
    assert loaded.closures_of("HBRB", from_at) == ()
    shown = (await treasurer.get("/calendars")).json()
    assert shown["bank_days"] == {"FX-HBRB": {"2026-10-10": True}}
    assert list(shown["bank_hours"]) == ["FX-HBRB"]
    [america] = [each for each in shown["calendars"] if each["calendar"] == "US"]
    assert america["corrections"] == {"2026-12-24": False}
    first = (await CalendarBook(Calendars(ops.services.engine)).plan_fx(_FX, "HBRB", "USD", None, from_at))[1].first
    assert first.opens_at >= until_at
    assert first.opens_at.astimezone(SHANGHAI).time() >= time(10)
    ops.clock.advance(seconds=60)
    opened = {"bank_code": "FX-HBRB", "open_again": True, "note": "提前恢复"}
    assert (await treasurer.post("/bank_closures", opened)).status_code == 201
    assert (await treasurer.get("/calendars")).json()["closures"] == []


_CLOSING = {"bank_code": "HBRB", "note": "维护"}


@pytest.mark.parametrize(
    ("path", "body", "field", "code"),
    [
        ("/calendars", {"note": "空"}, "", "empty"),
        ("/calendars", YEAR | {"note": "联系13800138000"}, "note", "personal_data"),
        ("/calendars", {"note": "x", "corrections": [{"calendar": "CN", "day": "2026-02-30", "working": True,
            "name": "x"}]}, "corrections.0.day", "wrong_format"),
        ("/calendars", {"note": "x", "years": [{"calendar": "CN", "year": 2027, "days": [
            {"day": "2026-12-31", "working": False, "name": "x"}]}]}, "years.0", "not_in_year"),
        ("/calendars", {"note": "x", "years": [YEAR["years"][0], YEAR["years"][0]]}, "", "duplicate"),
        ("/calendars", {"note": "x", "years": [YEAR["years"][0] | {"year": 1999}]}, "years.0.year", "out_of_range"),
        ("/bank_hours", {"bank_code": "HBRB", "note": "x", "ranges": [
            {"weekdays": [2], "opens": "09:00", "closes": "16:00"}]}, "", "monday_missing"),
        ("/bank_hours", {"bank_code": "HBRB", "note": "x", "ranges": [
            {"weekdays": [1], "opens": "16:00", "closes": "09:00"}]}, "ranges.0", "wrong_format"),
        ("/bank_closures", _CLOSING, "until_at", "give_until_at_or_open_again"),
        ("/bank_closures", _CLOSING | {"until_at": "2020-01-01T00:00:00Z"}, "", "ends_before_it_begins"),
        ("/bank_closures", _CLOSING | {"until_at": "2999-01-01T00:00:00Z"}, "", "too_long"),
    ],
)  # fmt: skip
async def test_what_cannot_be_right_is_refused_whole_and_says_where(
    ops: OpsStage, path: str, body: dict[str, Any], field: str, code: str
) -> None:
    treasurer = await ops.operator("treasury")
    answer = await treasurer.post(path, body)
    assert answer.status_code in (400, 422), answer.text
    assert answer.json()["code"] == "REQUEST_INVALID"
    assert answer.json()["errors"][0] == {"field": field, "code": code}
    assert await ops.rows("SELECT 1 FROM app.calendar_version") == []
    assert ops.processes.started == []


async def test_a_bank_that_is_not_registered_is_named_as_such(ops: OpsStage) -> None:
    treasurer = await ops.operator("treasury")
    for code in ("NOPE", "FX-NOPE"):
        answer = await treasurer.post("/bank_closures", _CLOSING | {"bank_code": code, "open_again": True})
        assert (answer.status_code, answer.json()["code"]) == (404, "BANK_NOT_FOUND")
    refused = await ops.records(action="load_closure", outcome="refused")
    assert [each["reason"] for each in refused] == ["bank_not_found", "bank_not_found"]


async def test_others_may_look_and_not_load(ops: OpsStage) -> None:
    supporter = await ops.operator("support")
    assert (await supporter.get("/calendars")).status_code == 200
    assert (await supporter.post("/calendars", YEAR)).status_code == 403


async def test_what_was_loaded_stays_as_it_was(ops: OpsStage) -> None:
    treasurer = await ops.operator("treasury")
    await treasurer.post("/calendars", YEAR)
    for statement in ("UPDATE app.calendar_day SET is_working = true", "DELETE FROM app.calendar_version"):
        with pytest.raises(Exception, match="append-only"):
            await ops.rows(statement)


@pytest.mark.parametrize("name", ["a\nb", "\x1b[31m", "a\u202eb", " ", "6222020200112233445"])
async def test_the_name_of_a_day_is_plain_and_holds_nobodys_number(ops: OpsStage, name: str) -> None:
    treasurer = await ops.operator("treasury")
    day = {"calendar": "CN", "day": "2027-01-09", "working": False, "name": name}
    refused = await treasurer.post("/calendars", {"note": "更正", "corrections": [day]})
    assert refused.status_code == 400, refused.text
    assert [error["field"] for error in refused.json()["errors"]] == ["corrections.0.name"]
    assert await ops.rows("SELECT 1 FROM app.calendar_day") == []
