"""Every rule that can hit has words in both languages, with the numbers by which it did."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from config.policy import read_policy
from domain.hit_texts import explain_hit
from domain.policy import Policy
from domain.risk import Collection, PastPayout, RiskInputs, evaluate

NIGHT = datetime(2026, 11, 23, 18, 0, tzinfo=UTC)  # two in the morning in Shanghai
HUGE = 9_000_000


def test_each_kind_of_hit_is_said_in_chinese_and_english_with_its_numbers() -> None:
    rules = Policy.model_validate(read_policy()).risk
    earlier = NIGHT - timedelta(hours=1)
    facts = RiskInputs(
        payout_id="po_1", at=NIGHT, kind="withdrawal", amount_minor=HUGE, currency="CNY", accepted_at=NIGHT,
        payee_created_at=earlier, payee_first_paid_at=None, relation="own", name_match="differs", recipient="same",
        payouts=tuple(PastPayout(id=f"po_{n}", amount_minor=HUGE, currency="CNY", accepted_at=earlier, same_payee=True)
                      for n in range(2, 14)),
        collections=(Collection(id="pay_1", amount_minor=HUGE, currency="CNY", collected_at=earlier, card_type="credit",
                                by="self"),),
        users_of_account=9, linked_users=("usr_2",), reported_at=earlier,
    )  # fmt: skip
    hits = [hit.model_dump(mode="json") for hit in evaluate(rules, facts).hits]
    assert {hit["kind"] for hit in hits} == {rule.kind for rule in rules.rules}
    for hit in hits:
        said = explain_hit(hit, "CNY")
        raw = ", ".join(f"{name}: {value}" for name, value in hit["observed"].items())
        assert raw not in (said["zh"], said["en"]), hit["kind"]
        assert said["en"].isascii()
        assert not said["zh"].isascii()
    amount = next(hit for hit in hits if hit["kind"] == "amount")
    assert "90,000.00 CNY" in explain_hit(amount, "CNY")["en"]


def test_a_hit_of_another_version_keeps_its_numbers() -> None:
    said = explain_hit({"rule": "old", "kind": "gone", "observed": {"count": 3}}, "CNY")
    assert (said["zh"], said["en"]) == ("count: 3", "count: 3")
    assert explain_hit({"rule": "amount", "kind": "amount", "observed": {}}, "CNY")["en"] == "amount"
