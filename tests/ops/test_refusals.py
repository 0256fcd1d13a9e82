"""What the operators' API refuses wherever it is asked, and that each refusal is on record once."""

from __future__ import annotations

from tests.ops.conftest import ROLES, OpsStage


async def test_a_parameter_that_no_route_knows_is_refused_and_so_is_an_id_that_nothing_can_have(ops: OpsStage) -> None:
    people = {role: await ops.operator(role) for role in ("compliance", "treasury", "administrator")}
    for path, methods in sorted(ops.openapi()["paths"].items()):
        if "get" not in methods or "{" in path:
            continue
        needed = methods["get"].get("x-permission")
        role = next(name for name in people if needed is None or needed in ROLES.roles[name].permissions)
        refused = await people[role].get(path.removeprefix("/ops/v1"), overdu="true")
        assert (refused.status_code, refused.json()["code"]) == (400, "REQUEST_INVALID"), path
        assert [error["field"] for error in refused.json()["errors"]] == ["overdu"]
    blanks = {"accesses": "/users/{}/accesses", "instruction": "/instructions/{}", "settlement": "/settlements/{}"}
    for path in blanks.values():
        for wrong in ("%00", "po_%00", "usr_%00", "stl_%00"):
            assert (await people["compliance"].get(path.format(wrong))).status_code == 404, path
    paid = await people["treasury"].post("/settlements/stl_%00/pay", {"reason": "looked at it"})
    assert (paid.status_code, paid.json()["code"]) == (404, "SETTLEMENT_NOT_FOUND")


async def test_what_is_refused_is_on_record_once(ops: OpsStage) -> None:
    su, tian, rui = [await ops.operator(role) for role in ("support", "treasury", "risk")]
    nobody = f"usr_{ops.ids.ulid()}"
    suspend = {"kind": "user.suspend", "subject_id": nobody, "ground": "breach", "reason": "looked at it"}
    answers = [
        await su.post("/decisions", suspend),
        await rui.post("/decisions", suspend),
        await rui.post(f"/decisions/dec_{'0' * 26}/approve"),
        await rui.post(f"/reviews/rev_{'0' * 26}/take"),
        await tian.post(f"/settlements/stl_{'0' * 26}/pay", {"reason": "looked at it"}),
    ]
    for answer in answers:
        assert answer.status_code in (403, 404)
        records = await ops.records(request_id=answer.headers["x-request-id"])
        ends = [record["outcome"] for record in records if record["outcome"] != "received"]
        assert ends in (["refused"], ["denied"]), (answer.text, records)
