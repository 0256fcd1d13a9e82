"""What an individual is shown before confirming: quantity, fee, term, method, cautions, risk, dispute (A3.12, L13)."""

from __future__ import annotations

from collections.abc import Mapping
from string import Formatter
from typing import Annotated, ClassVar, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from domain.fees import FeeRule
from domain.money import format_amount

ELEMENTS = ("quantity", "fee", "term", "method", "cautions", "risk", "dispute")
_OF_ANY_ORDER = frozenset({"order_number", "amount", "payee", "fee", "rate", "minimum", "cap"})
_OF_A_PAYMENT = _OF_ANY_ORDER | {"earliest", "latest"}
_OF_A_CONVERSION = frozenset({"order_number", "amount", "quota"})
_OF_A_PAYOUT = _OF_ANY_ORDER | {"account", "total", "target", "recipient"}


def _check_names(template: str) -> str:
    """Only plain names: a template can reach nothing but what it is given."""
    if not template.strip():
        raise ValueError("a text is empty")
    if any(form or conversion for _, name, form, conversion in Formatter().parse(template) if name is not None):
        raise ValueError("a name stands in its braces alone")
    return template


def _names_in(template: str) -> frozenset[str]:
    return frozenset(name for _, name, _, _ in Formatter().parse(template) if name is not None)


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


class _Product(_Value):
    """Every element of one product. A product that lacks one is not a product: it cannot be loaded."""

    names: ClassVar[frozenset[str]]

    quantity: Texts
    fee: Texts
    cautions: Texts
    risk: Texts
    dispute: Texts

    @model_validator(mode="after")
    def _names_what_it_is_given(self) -> Self:
        for element, texts in self:
            if strange := (_names_in(texts.zh) | _names_in(texts.en)) - self.names:
                raise ValueError(f"{element}: {{{min(strange)}}} is not one of {', '.join(sorted(self.names))}")
        return self


class ProductConditions(_Product):
    """Of a payment by quick pay."""

    names = _OF_A_PAYMENT

    term: Texts
    method_code: Texts
    method_waived: Texts


class PayoutConditions(_Product):
    """Of a payout; each speed has a term of its own."""

    names = _OF_A_PAYOUT

    term_real_time: Texts
    term_within_two_hours: Texts
    term_next_working_day: Texts
    method: Texts


class FxConditions(_Product):
    """Of a conversion of foreign currency into CNY; what is said of the quota depends on what is beyond it (A5.2a)."""

    names = _OF_A_CONVERSION

    term: Texts
    method_split: Texts
    method_hold: Texts


class Conditions(_Value):
    """One published version of the texts of all products."""

    version: str = Field(pattern=r"^[0-9a-z.-]{1,20}$")
    quick_pay_to_merchant: ProductConditions
    quick_pay_to_user: ProductConditions
    payout_domestic: PayoutConditions
    payout_cross_border: PayoutConditions
    fx_conversion: FxConditions

    def shown(self, payee_kind: str, *, is_waived: bool, values: Mapping[str, tuple[str, str]]) -> dict[str, object]:
        """Version, product and each of `ELEMENTS` as `{zh, en}`."""
        product = "quick_pay_to_merchant" if payee_kind == "merchant" else "quick_pay_to_user"
        return self._shown(product, {"method": "method_waived" if is_waived else "method_code"}, values)

    def shown_for_payout(
        self, *, cross_border: bool, speed: str, values: Mapping[str, tuple[str, str]]
    ) -> dict[str, object]:
        """The same for a payout at one of the speeds of its route."""
        product = "payout_cross_border" if cross_border else "payout_domestic"
        return self._shown(product, {"term": f"term_{speed}"}, values)

    def shown_for_fx(self, *, over_quota: str, values: Mapping[str, tuple[str, str]]) -> dict[str, object]:
        """The same for a conversion; `over_quota`: split or hold."""
        return self._shown("fx_conversion", {"method": f"method_{over_quota}"}, values)

    def _shown(
        self, product: str, chosen: Mapping[str, str], values: Mapping[str, tuple[str, str]]
    ) -> dict[str, object]:
        texts = getattr(self, product)
        filled = {name: getattr(texts, chosen.get(name, name)).filled(values) for name in ELEMENTS}
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
    """What the texts of a payment name, in Chinese and English; amounts as people write them."""
    earliest, latest = (_duration(seconds) for seconds in expiry_seconds)
    common = _values_of_any_order(
        order_number=order_number,
        amount_minor=amount_minor,
        currency=currency,
        payee_name=payee_name,
        fee_minor=fee_minor,
        rule=rule,
    )
    return common | {"earliest": earliest, "latest": latest}


def payout_values(
    *,
    order_number: str,
    amount_minor: int,
    currency: str,
    payee_name: str,
    payee_account: str,
    fee_minor: int,
    rule: FeeRule,
    arrives_within_seconds: int | None,
    recipient: str,
) -> dict[str, tuple[str, str]]:
    """The same of a payout; name and account come masked. `recipient` is who gets the data abroad, if anybody does."""
    target = ("下一个工作日", "the next working day")
    common = _values_of_any_order(
        order_number=order_number,
        amount_minor=amount_minor,
        currency=currency,
        payee_name=payee_name,
        fee_minor=fee_minor,
        rule=rule,
    )
    return common | {
        "account": _both(payee_account),
        "total": _both(format_amount(amount_minor + fee_minor, currency)),
        "target": _duration(arrives_within_seconds) if arrives_within_seconds else target,
        "recipient": _both(recipient),
    }


def fx_values(
    *, order_number: str, amount_minor: int, currency: str, yearly_quota_usd_minor: int
) -> dict[str, tuple[str, str]]:
    """The same of a conversion. The quota is that of everybody, not what is left of one person's."""
    return {
        "order_number": _both(order_number),
        "amount": _both(format_amount(amount_minor, currency)),
        "quota": _both(format_amount(yearly_quota_usd_minor, "USD")),
    }


def _values_of_any_order(
    *, order_number: str, amount_minor: int, currency: str, payee_name: str, fee_minor: int, rule: FeeRule
) -> dict[str, tuple[str, str]]:
    amounts = {"amount": amount_minor, "fee": fee_minor, "minimum": rule.minimum_minor, "cap": rule.cap_minor}
    return {
        "order_number": _both(order_number),
        "payee": _both(payee_name),
        "rate": _both(_percent(rule.rate_per_million)),
        **{name: _both(format_amount(minor, currency)) for name, minor in amounts.items()},
    }


def _both(text: str) -> tuple[str, str]:
    return text, text


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
