"""Screening lists over HTTP: loaded by who may, checked, and what was found by them, cleared by two people."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from api.limits_on_size import MAX_BODY_BYTES
from domain.screening import Match
from ops.screening import MAX_LIST_BYTES
from tests.ops.conftest import OpsStage
from vault.indexing import IndexKind

ID_NUMBER = "11010519491231002X"
ENTRY = {"key": "E-1", "kind": "person", "names": ["乌有之", "Wu Youzhi"], "birth_date": "1949-12-31"}


def body(*entries: Any, **changes: Any) -> dict[str, Any]:
    return {"code": "UN", "source": "a notice", "entries": list(entries)} | changes


async def test_a_list_is_loaded_by_who_may_and_shown_with_how_long_it_is_good(ops: OpsStage) -> None:
    chen, rui = await ops.operator("compliance"), await ops.operator("risk")
    denied = await rui.post("/screening/lists", body(ENTRY))
    assert (denied.status_code, denied.json()["code"]) == (403, "PERMISSION_MISSING")
    loaded = await chen.post("/screening/lists", body(ENTRY | {"id_numbers": [ID_NUMBER.lower()]}))
    assert loaded.status_code == 200, loaded.text
    assert (loaded.json()["version"], loaded.json()["entries"], loaded.json()["is_new"]) == (1, 1, True)
    assert (await chen.post("/screening/lists", body(ENTRY | {"id_numbers": [ID_NUMBER]}))).json()["is_new"] is False

    # The number itself is nowhere; what users are known by is.
    [entry] = await ops.rows("SELECT to_jsonb(e) AS kept FROM app.screening_entry e")
    assert entry["kept"]["id_indexes"] == [ops.services.vault.blind_index(IndexKind.PERSON, ID_NUMBER)]
    assert ID_NUMBER[:17] not in json.dumps(entry["kept"])
    shown = {item["code"]: item for item in (await rui.get("/screening/lists")).json()["items"]}
    assert (shown["UN"]["is_good"], shown["MPS"]["is_good"], shown["MPS"]["version"]) == (True, False, None)
    ops.clock.instant += timedelta(hours=169)
    fresh = await ops.operator("risk")
    assert {item["is_good"] for item in (await fresh.get("/screening/lists")).json()["items"]} == {False}
    records = await ops.records(action="load_screening_list", actor=chen.actor, outcome="done")
    assert [record["detail"]["is_new"] for record in records] == [True, False]


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"entries": [ENTRY, ENTRY]}, "entries"),
    ({"entries": [ENTRY | {"birth_date": "1949-02-30"}]}, "entries.0.birth_date"),
    ({"entries": [ENTRY, ENTRY | {"key": "E-2", "id_numbers": ["12"]}]}, "entries.1.id_numbers.0"),
    ({"entries": [ENTRY | {"names": []}]}, "entries.0.names"),
    ({"entries": [ENTRY | {"names": ["  "]}]}, "entries.0.names.0"),
    ({"entries": [ENTRY | {"names": ["甲" * 121]}]}, "entries.0.names.0"),
    ({"entries": [ENTRY | {"names": ["\u200b\u0301"]}]}, "entries.0.names.0"),
    ({"entries": [ENTRY | {"names": ["🚢"]}]}, "entries.0.names.0"),
    ({"entries": [ENTRY | {"kind": "ship"}]}, "entries.0.kind"),
    ({"entries": [ENTRY | {"remark": "x"}]}, "entries.0.remark"),
    ({"source": ""}, "source"),
    ({"source": "from 11010519491231002X"}, "source"),
    ({"source": "a notice\u202e"}, "source"),
    ({"code": "un"}, "code"),
]


async def test_what_is_no_list_is_refused_by_field_and_changes_nothing(ops: OpsStage) -> None:
    chen = await ops.operator("compliance")
    for changes, field in WRONG:
        refused = await chen.post("/screening/lists", body(ENTRY) | changes)
        assert (refused.status_code, refused.json()["code"]) == (400, "REQUEST_INVALID")
        assert [error["field"] for error in refused.json()["errors"]] == [field]
        assert "乌有之" not in refused.text
    unknown = await chen.post("/screening/lists", body(ENTRY, code="XY"))
    assert (unknown.status_code, unknown.json()["code"]) == (422, "SCREENING_LIST_UNKNOWN")
    assert await ops.rows("SELECT 1 FROM app.screening_list") == []
    records = await ops.records(action="load_screening_list", outcome="refused")
    assert [record["reason"] for record in records] == ["request_invalid"] * len(WRONG) + ["screening_list_unknown"]


async def test_a_long_list_fits_and_nothing_else_may_be_as_long(ops: OpsStage) -> None:
    chen = await ops.operator("compliance")
    many = [ENTRY | {"key": f"E-{number}"} for number in range(2_000)]
    assert len(json.dumps(body(*many))) > 2 * MAX_BODY_BYTES
    loaded = await chen.post("/screening/lists", body(*many))
    assert (loaded.status_code, loaded.json()["entries"]) == (200, 2_000)
    assert (await chen.post("/cases", body(*many))).status_code == 413
    too_long = body(source="x" * MAX_LIST_BYTES)
    assert (await chen.post("/screening/lists", too_long)).status_code == 413


async def test_a_match_is_shown_with_what_the_list_says_and_cleared_by_two_people(ops: OpsStage) -> None:
    chen, rui, su = await ops.operator("compliance"), await ops.operator("risk"), await ops.operator("support")
    await chen.post("/screening/lists", body(ENTRY))
    ids = {name: f"{name}_{ops.ids.ulid()}" for name in ("mch", "usr", "scm")}
    now, [entry] = ops.clock.now(), await ops.rows("SELECT fingerprint FROM app.screening_entry")
    await ops.rows("INSERT INTO app.merchant VALUES (:m, '商户', 'active', :at, :at)", m=ids["mch"], at=now)
    found = Match(
        list_code="UN", entry_key="E-1", entry_fingerprint=entry["fingerprint"], form=2, comparison="pinyin", score=100
    )
    row = {"id": ids["scm"], "subject_id": ids["usr"], "merchant_id": ids["mch"], "clearance_index": "person:x"}
    await ops.rows(
        "SELECT app.keep_matches(CAST(:rows AS jsonb), 1, :at)",
        rows=json.dumps([found.model_dump(mode="json") | row]), at=now,
    )  # fmt: skip
    assert (await su.get("/screening/matches")).status_code == 403
    [shown] = (await rui.get("/screening/matches", state="open", subject_id=ids["usr"])).json()["items"]
    assert (shown["matched_name"], shown["comparison"], shown["state"]) == ("Wu Youzhi", "pinyin", "open")
    assert shown["entry_birth_date"] == "1949-12-31"

    request = {"kind": "screening.clear", "subject_id": ids["scm"], "ground": "evidence", "reason": "papers looked at"}
    asked = await rui.post("/decisions", request)
    assert asked.status_code == 201, asked.text
    assert (await rui.post(f"/decisions/{asked.json()['id']}/approve")).status_code == 403
    assert (await chen.post(f"/decisions/{asked.json()['id']}/approve")).status_code == 200
    [cleared] = (await rui.get("/screening/matches")).json()["items"]
    assert (cleared["state"], cleared["cleared_by"]) == ("cleared", asked.json()["id"])
    again = await rui.post("/decisions", request)
    assert (again.status_code, again.json()["code"]) == (409, "DECISION_NOT_APPLICABLE")
    assert (await rui.get("/screening/matches", state="wrong")).status_code == 400


async def test_who_may_not_see_reviews_hears_of_no_hit_and_of_no_decision_about_one(ops: OpsStage) -> None:
    chen, rui = await ops.operator("compliance"), await ops.operator("risk")
    others = [await ops.operator("support"), await ops.operator("treasury")]
    await chen.post("/screening/lists", body(ENTRY))
    ids = {name: f"{name}_{ops.ids.ulid()}" for name in ("mch", "usr", "scm", "po")}
    now, [entry] = ops.clock.now(), await ops.rows("SELECT fingerprint FROM app.screening_entry")
    await ops.rows("INSERT INTO app.merchant VALUES (:m, '商户', 'active', :at, :at)", m=ids["mch"], at=now)
    found = Match(
        list_code="UN", entry_key="E-1", entry_fingerprint=entry["fingerprint"], form=1, comparison="exact", score=100
    )
    row = {"id": ids["scm"], "subject_id": ids["usr"], "merchant_id": ids["mch"], "clearance_index": "person:x"}
    await ops.rows(
        "SELECT app.keep_matches(CAST(:rows AS jsonb), 1, :at)",
        rows=json.dumps([found.model_dump(mode="json") | row]), at=now,
    )  # fmt: skip
    by_rules = f"case_{ops.ids.ulid()}"
    await ops.rows(
        "INSERT INTO app.case_record (id, kind, subject_id, merchant_id, opened_at) VALUES"
        " (:id, 'cash_out', :po, :m, :at), (:other, 'operator_needed', :po, :m, :at)",
        id=by_rules, other=f"case_{ops.ids.ulid()}", po=ids["po"], m=ids["mch"], at=now,
    )  # fmt: skip
    reason = {"ground": "evidence", "reason": "papers looked at"}
    clear = await rui.post("/decisions", {"kind": "screening.clear", "subject_id": ids["scm"]} | reason)
    resolve = {"kind": "case.resolve", "subject_id": by_rules, "detail": {"resolution": "unfounded"}} | reason
    resolved = await rui.post("/decisions", resolve)
    decisions = {clear.json()["id"], resolved.json()["id"]}
    for path in ("/cases", "/matters"):
        kinds = {item.get("why") or item["kind"] for item in (await rui.get(path)).json()["items"]}
        assert kinds == {"screening_hit", "cash_out", "operator_needed"}
        for other in others:
            shown = (await other.get(path)).json()["items"]
            assert {item.get("why") or item["kind"] for item in shown} == {"operator_needed"}
    assert {item["id"] for item in (await chen.get("/decisions")).json()["items"]} == decisions
    await ops.rows(
        "INSERT INTO app.restriction (id, kind, subject_id, merchant_id, ground, placed_by, placed_at)"
        " VALUES (:id, 'suspension', :usr, :m, 'suspected_illegality', :case, :at)",
        id=f"rst_{ops.ids.ulid()}", usr=ids["usr"], m=ids["mch"], case=f"case_{ids['scm'][4:]}", at=now,
    )  # fmt: skip
    [stop] = (await chen.get("/restrictions")).json()["items"]
    assert (stop["ground"], stop["placed_by"]) == ("suspected_illegality", f"case_{ids['scm'][4:]}")
    for other in others:
        [stop] = (await other.get("/restrictions")).json()["items"]
        assert (stop["subject_id"], stop["ground"], stop["placed_by"]) == (ids["usr"], None, None)
        assert (await other.get("/decisions")).json()["items"] == []
        for decision_id in decisions:
            assert (await other.get(f"/decisions/{decision_id}")).json()["code"] == "DECISION_NOT_FOUND"
