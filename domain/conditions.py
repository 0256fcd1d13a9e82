"""What an individual is shown before confirming: quantity, fee, term, method, cautions, risk, dispute (A3.12, L13)."""

from __future__ import annotations

from collections.abc import Mapping
from string import Formatter
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from domain.fees import FeeRule
from domain.money import format_amount

ELEMENTS = ("quantity", "fee", "term", "method", "cautions", "risk", "dispute")
_NAMES = frozenset({"order_number", "amount", "payee", "fee", "rate", "minimum", "cap", "earliest", "latest"})


def _check_names(template: str) -> str:
    """Only plain names: a template can reach nothing but what it is given."""
    if not template.strip():
        raise ValueError("a text is empty")
    for _, name, form, conversion in Formatter().parse(template):
        if name is not None and (name not in _NAMES or form or conversion):
            raise ValueError(f"{{{name}}} is not one of {', '.join(sorted(_NAMES))}")
    return template


Template = Annotated[str, AfterValidator(_check_names)]


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Texts(_Value):
    """The same in Chinese and English."""

    zh: Template
    en: Template

    def filled(self, values: Mapping[str, tuple[str, str]]) -> dict[str, str]:
        """With the values of one order, each as (Chinese, English)."""
        return {
            "zh": self.zh.format_map({name: both[0] for name, both in values.items()}),
            "en": self.en.format_map({name: both[1] for name, both in values.items()}),
        }


class ProductConditions(_Value):
    """Every element of one product. A product that lacks one is not a product: it cannot be loaded."""

    quantity: Texts
    fee: Texts
    term: Texts
    method_code: Texts
    method_waived: Texts
    cautions: Texts
    risk: Texts
    dispute: Texts


class Conditions(_Value):
    """One published version of the texts of all products."""

    version: str = Field(pattern=r"^[0-9a-z.-]{1,20}$")
    quick_pay_to_merchant: ProductConditions
    quick_pay_to_user: ProductConditions

    def shown(self, payee_kind: str, *, is_waived: bool, values: Mapping[str, tuple[str, str]]) -> dict[str, object]:
        """Version, product and each of `ELEMENTS` as `{zh, en}`."""
        product = "quick_pay_to_merchant" if payee_kind == "merchant" else "quick_pay_to_user"
        texts: ProductConditions = getattr(self, product)
        by_element = {name: getattr(texts, name) for name in ELEMENTS if name != "method"}
        by_element["method"] = texts.method_waived if is_waived else texts.method_code
        filled = {name: by_element[name].filled(values) for name in ELEMENTS}
        return {"product": product, "version": self.version, **filled}


def order_values(
    *,
    order_number: str,
    amount_minor: int,
    currency: str,
    payee_name: str,
    fee_minor: int,
    rule: FeeRule,
    expiry_seconds: tuple[int, int],
) -> dict[str, tuple[str, str]]:
    """What the texts name, in Chinese and English; amounts as people write them."""

    def both(text: str) -> tuple[str, str]:
        return text, text

    def amount(minor: int) -> tuple[str, str]:
        return both(format_amount(minor, currency))

    earliest, latest = (_duration(seconds) for seconds in expiry_seconds)
    return {
        "order_number": both(order_number),
        "amount": amount(amount_minor),
        "payee": both(payee_name),
        "fee": amount(fee_minor),
        "rate": both(_percent(rule.rate_per_million)),
        "minimum": amount(rule.minimum_minor),
        "cap": amount(rule.cap_minor),
        "earliest": earliest,
        "latest": latest,
    }


def _percent(per_million: int) -> str:
    """`6000` is `0.6%`; in integers."""
    whole, rest = divmod(per_million, 10_000)
    fraction = f"{rest:04d}".rstrip("0")
    return f"{whole}.{fraction}%" if fraction else f"{whole}%"


def _duration(seconds: int) -> tuple[str, str]:
    for size, zh, en in ((3600, "小时", "hour"), (60, "分钟", "minute"), (1, "秒", "second")):
        if seconds % size == 0:
            number = seconds // size
            return f"{number} {zh}", f"{number} {en}{'s' if number != 1 else ''}"
    raise AssertionError("every number of seconds is one of seconds")
