"""Before confirming, an individual is shown every listed element, or the product is not offered (A3.12, L13)."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from config.policy import read_policy
from domain.conditions import ELEMENTS, Conditions, fx_values, order_values, payout_values
from domain.fees import FeeRule

RULE = FeeRule(rule="r", rate_per_million=6_000, minimum_minor=0, cap_minor=50_000)
VALUES = order_values(
    order_number="order-1",
    amount_minor=12_800,
    currency="CNY",
    payee_name="海棠{fee}书店",
    fee_minor=77,
    rule=RULE,
    expiry_seconds=(60, 86_400),
)
PRODUCTS = ("quick_pay_to_merchant", "quick_pay_to_user")
TEXTS = ("quantity", "fee", "term", "method_code", "method_waived", "cautions", "risk", "dispute")
TERMS = ("term_real_time", "term_within_two_hours", "term_next_working_day")
PAYOUTS = ("payout_domestic", "payout_cross_border")
ALL_TEXTS = [(product, text) for product in PRODUCTS for text in TEXTS] + [
    (product, text)
    for product in PAYOUTS
    for text in ("quantity", "fee", *TERMS, "method", "cautions", "risk", "dispute")
]
OF_A_CONVERSION = ("quantity", "fee", "term", "method_split", "method_hold", "cautions", "risk", "dispute")
ALL_TEXTS += [("fx_conversion", text) for text in OF_A_CONVERSION]
OF_A_PAYOUT = payout_values(
    order_number="order-2",
    amount_minor=50_000,
    currency="CNY",
    payee_name="张*",
    payee_account="****7890",
    fee_minor=100,
    rule=FeeRule(rule="p", rate_per_million=1_000, minimum_minor=100, cap_minor=2_500),
    arrives_within_seconds=7_200,
    recipient="Harbour Bank, Hong Kong branch",
)


def _published() -> dict[str, Any]:
    found: dict[str, Any] = read_policy()["conditions"]
    return found


@pytest.mark.parametrize(("product", "element"), ALL_TEXTS)
@pytest.mark.parametrize("language", ["zh", "en"])
def test_a_product_that_lacks_a_text_cannot_be_published(product: str, element: str, language: str) -> None:
    del _complete(values := _published())[product][element][language]
    with pytest.raises(ValidationError):
        Conditions.model_validate(values)


def _complete(values: dict[str, Any]) -> dict[str, Any]:
    Conditions.model_validate(values)
    return values


@pytest.mark.parametrize("text", ["", "  ", "{secret}", "{payee.__class__}", "{amount!r}", "{amount:>9}", "{", "{0}"])
def test_a_text_names_nothing_but_what_is_filled_in(text: str) -> None:
    values = _published()
    values["quick_pay_to_user"]["risk"]["en"] = text
    with pytest.raises(ValidationError):
        Conditions.model_validate(values)


@pytest.mark.parametrize(
    ("product", "name"),
    [("quick_pay_to_user", "recipient"), ("payout_domestic", "earliest"), ("fx_conversion", "rate")],
)
def test_a_text_names_nothing_that_only_another_product_has(product: str, name: str) -> None:
    values = _published()
    values[product]["risk"]["zh"] = f"{{{name}}}"
    with pytest.raises(ValidationError, match=name):
        Conditions.model_validate(values)


@pytest.mark.parametrize("cross_border", [False, True])
@pytest.mark.parametrize("speed", ["real_time", "within_two_hours", "next_working_day"])
def test_a_payout_shows_every_element_at_every_speed(cross_border: bool, speed: str) -> None:
    conditions = Conditions.model_validate(_published())
    shown: Any = conditions.shown_for_payout(cross_border=cross_border, speed=speed, values=OF_A_PAYOUT)
    assert set(shown) == {"product", "version", *ELEMENTS}
    assert all(set(shown[name]) == {"zh", "en"} and all(shown[name].values()) for name in ELEMENTS)
    assert "500.00 CNY" in shown["quantity"]["en"]
    assert "****7890" in shown["quantity"]["zh"]
    # What leaves the balance is amount and fee together.
    assert "501.00 CNY" in shown["fee"]["zh"]
    assert ("2 hours" in shown["term"]["en"]) == (speed != "next_working_day")
    # Whoever gets the data abroad is named before the user confirms (P6).
    assert ("Harbour Bank, Hong Kong branch" in shown["cautions"]["zh"]) == cross_border


@pytest.mark.parametrize(
    ("over_quota", "said"), [("split", "what is within it is converted"), ("hold", "all of it is held")]
)
def test_a_conversion_shows_every_element_and_what_becomes_of_what_is_beyond_the_quota(
    over_quota: str, said: str
) -> None:
    values = fx_values(order_number="fx-1", amount_minor=123_456, currency="JPY", yearly_quota_usd_minor=5_000_000)
    shown: Any = Conditions.model_validate(_published()).shown_for_fx(over_quota=over_quota, values=values)
    assert set(shown) == {"product", "version", *ELEMENTS}
    assert all(set(shown[name]) == {"zh", "en"} and all(shown[name].values()) for name in ELEMENTS)
    assert "123,456 JPY" in shown["quantity"]["zh"]
    assert said in shown["method"]["en"]
    # That the rate is that of conversion, whose the difference is, and whose the quota (A5.1b, A6.4c, A5.2a, A5.2c).
    assert "not at the rate of now" in shown["method"]["en"]
    assert "50,000.00 USD" in shown["cautions"]["en"]
    assert "exactly that part is reversed" in shown["risk"]["en"]


@pytest.mark.parametrize("payee_kind", ["merchant", "user"])
def test_every_element_is_shown_in_both_languages(payee_kind: str) -> None:
    shown = Conditions.model_validate(_published()).shown(payee_kind, is_waived=False, values=VALUES)
    assert set(shown) == {"product", "version", *ELEMENTS}
    assert all(set(shown[name]) == {"zh", "en"} and all(shown[name].values()) for name in ELEMENTS)  # type: ignore


def test_amounts_rates_and_terms_stand_as_people_write_them() -> None:
    shown: Any = Conditions.model_validate(_published()).shown("merchant", is_waived=False, values=VALUES)
    assert "128.00 CNY" in shown["quantity"]["zh"]
    assert "order-1" in shown["quantity"]["en"]
    # A name is a value, never a template.
    assert "海棠{fee}书店" in shown["quantity"]["zh"]
    assert "0.77 CNY（费率 0.6%，最低 0.00 CNY，最高 500.00 CNY）" in shown["fee"]["zh"]
    assert "1 minute to 24 hours" in shown["term"]["en"]


def test_the_method_says_whether_a_code_is_needed() -> None:
    conditions = Conditions.model_validate(_published())
    with_code: Any = conditions.shown("merchant", is_waived=False, values=VALUES)
    without: Any = conditions.shown("merchant", is_waived=True, values=VALUES)
    assert "短信验证码，输入后扣款" in with_code["method"]["zh"]
    assert "不需要短信验证码" in without["method"]["zh"]


@pytest.mark.parametrize(("per_million", "shown"), [(0, "0%"), (6_000, "0.6%"), (1_000_000, "100%"), (1, "0.0001%")])
def test_a_rate_is_exact(per_million: int, shown: str) -> None:
    rule = FeeRule(rule="r", rate_per_million=per_million, minimum_minor=0, cap_minor=1)
    values = order_values(
        order_number="1",
        amount_minor=1,
        currency="CNY",
        payee_name="p",
        fee_minor=0,
        rule=rule,
        expiry_seconds=(1, 61),
    )
    assert values["rate"] == (shown, shown)
    assert values["earliest"][1] == "1 second"
    assert values["latest"][0] == "61 秒"
