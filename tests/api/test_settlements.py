"""What a merchant sees of its settlements, and the account that it is paid to."""

from __future__ import annotations

import csv
import io

from domain.decisions import DecisionKind
from storage.decisions import decide_directly
from tests.api.conftest import Stage
from tests.api.payouts import payee_of
from tests.api.settlements import ACCOUNT, settled
from tests.ops.conftest import open_ops_stage

AMOUNTS = ("amount_minor", "fee_minor", "net_minor")


async def test_both_reports_add_up_to_the_fen_and_open_harmlessly(stage: Stage) -> None:
    merchant = await stage.merchant()
    user_id, binding_id = await stage.payer(merchant)
    await stage.sign(merchant)
    payments = [
        await stage.paid(merchant, user_id, binding_id, amount_minor=amount, order_number=number)
        for amount, number in ((10_001, "order-1"), (33_333, "order-2"), (5_050, "order-3"))
    ]
    await merchant.post(f"/v1/payments/{payments[1]['id']}/refunds", {"amount_minor": 777, "reason_code": "other"})
    settlement = await settled(stage, merchant)
    where = f"/v1/settlements/{settlement['id']}"
    assert (await merchant.get(where)).json() == settlement
    assert (await merchant.get("/v1/settlements")).json()["items"] == [settlement]

    answer = await merchant.get(f"{where}/report.csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == f'attachment; filename="{settlement["id"]}.csv"'
    *lines, total = csv.DictReader(io.StringIO(answer.text))
    assert [line["kind"] for line in lines] == ["payment", "payment", "payment", "refund"]
    for name in AMOUNTS:
        assert sum(int(line[name]) for line in lines) == int(total[name])
    assert all(int(line["amount_minor"]) - int(line["fee_minor"]) == int(line["net_minor"]) for line in lines)
    assert (total["kind"], int(total["net_minor"])) == ("total", settlement["net_minor"])
    assert lines[0]["order_number"] == "order-1"

    report = (await merchant.get(f"{where}/report.json")).json()
    assert report["settlement"] == settlement
    assert sum(line["net_minor"] for line in report["lines"]) == settlement["net_minor"]
    pages, cursor = [], {}
    while True:
        page = (await merchant.get(f"{where}/lines", limit=3, **cursor)).json()
        pages += page["items"]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert pages == report["lines"]


async def test_an_account_is_proposed_with_a_signature_and_shown_masked(stage: Stage) -> None:
    merchant = await stage.merchant()
    unsigned = await merchant.post("/v1/settlement_account", ACCOUNT)
    assert unsigned.json()["code"] == "SIGNATURE_REQUIRED"
    await stage.sign(merchant)
    assert (await merchant.get("/v1/settlement_account")).json()["proposed"] is None
    first = await merchant.post("/v1/settlement_account", ACCOUNT)
    assert first.status_code == 201, first.text
    account = first.json()
    assert (account["state"], account["account"], account["bank_id"]) == ("proposed", "****2345", ACCOUNT["bank_id"])
    assert account["name"] != ACCOUNT["name"]
    assert ACCOUNT["account_number"] not in first.text
    newer = await merchant.post("/v1/settlement_account", ACCOUNT | {"account_number": "1001244509200099999"})
    shown = (await merchant.get("/v1/settlement_account")).json()
    assert (shown["active"], shown["proposed"]) == (None, newer.json())
    for change, code in (
        ({"region": "HK"}, "PAYEE_REGION_NOT_SERVED"),
        ({"account_number": "12"}, "PAYEE_DATA_INVALID"),
        ({"bank_id": {"kind": "cnaps", "value": "102100099990"}}, "PAYEE_DATA_INVALID"),
    ):
        refused = await merchant.post("/v1/settlement_account", ACCOUNT | change)
        assert refused.json()["code"] == code, refused.text


async def test_whoever_decides_on_an_account_has_seen_it_masked_beside_the_one_in_force(stage: Stage) -> None:
    merchant = await stage.merchant()
    await stage.sign(merchant)
    first = (await merchant.post("/v1/settlement_account", ACCOUNT)).json()["id"]
    await decide_directly(stage.database.owner_engine, DecisionKind.SETTLEMENT_ACCOUNT, first, stage.clock.now())
    another = ACCOUNT | {"account_number": "1001244509200054321"}
    second = (await merchant.post("/v1/settlement_account", another)).json()["id"]
    users = (await payee_of(merchant, await stage.user(merchant)))["id"]
    async with open_ops_stage(stage.database, stage.clock) as ops:
        tian, su = await ops.operator("treasury"), await ops.operator("support")
        seen = await tian.get(f"/settlements/accounts/{second}")
        assert seen.status_code == 200, seen.text
        shown = seen.json()
        assert (shown["merchant_id"], shown["state"], shown["account_last4"]) == (merchant.id, "proposed", "4321")
        assert set(shown["elements"]) == {"name", "account_number"}
        assert (shown["in_force"]["id"], shown["in_force"]["account_last4"]) == (first, "2345")
        assert (await tian.get(f"/settlements/accounts/{first}")).json()["in_force"] is None
        for number in (ACCOUNT["account_number"], another["account_number"], ACCOUNT["name"]):
            assert number not in seen.text
        for missing in (users, f"pye_{'0' * 26}", "pye_%00"):
            assert (await tian.get(f"/settlements/accounts/{missing}")).json()["code"] == "PAYEE_NOT_FOUND"
        assert (await su.get(f"/settlements/accounts/{second}")).status_code == 403
