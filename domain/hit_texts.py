"""What a rule found about a payout, in words with its numbers, for reviewers and never for a merchant (L5)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from domain.money import format_amount

Observed = Mapping[str, Any]
Words = Callable[[Observed, Callable[[Any], str]], tuple[str, str]]


def _amount(seen: Observed, money: Callable[[Any], str]) -> tuple[str, str]:
    amount, above = money(seen["amount_minor"]), money(seen["above_minor"])
    return f"金额 {amount}，超过 {above}", f"The amount {amount} is above {above}"


def _velocity(seen: Observed, money: Callable[[Any], str]) -> tuple[str, str]:
    count, hours = seen["payouts"], seen["within_hours"]
    total, above = money(seen["sum_minor"]), money(seen["above_minor"])
    return (
        f"{hours} 小时内 {count} 笔（上限 {seen['more_than']}），合计 {total}（上限 {above}）",
        f"{count} payouts (at most {seen['more_than']}) and {total} together (at most {above}) within {hours} hours",
    )


def _new_payee(seen: Observed, money: Callable[[Any], str]) -> tuple[str, str]:
    hours, amount = seen["payee_age_seconds"] // 3600, money(seen["amount_minor"])
    return (
        f"收款人添加仅 {hours} 小时（不足 {seen['within_hours']} 小时），金额 {amount}",
        f"The payee is {hours} hours old (under {seen['within_hours']}), and the amount is {amount}",
    )


def _night(seen: Observed, money: Callable[[Any], str]) -> tuple[str, str]:
    amount, hour = money(seen["amount_minor"]), seen["hour"]
    return (
        f"夜间 {hour} 时指令（{seen['from_hour']} 时至 {seen['to_hour']} 时），金额 {amount}",
        f"Instructed at {hour} o'clock at night ({seen['from_hour']} to {seen['to_hour']}), {amount}",
    )


def _cash_out(seen: Observed, money: Callable[[Any], str]) -> tuple[str, str]:
    collected, amount, days = money(seen["collected_minor"]), money(seen["amount_minor"]), seen["within_days"]
    count = seen["credit_card_collections"]
    return (
        f"{days} 天内信用卡收款 {count} 笔共 {collected}，现付给本人或关联人 {amount}",
        f"{collected} came from credit cards in {days} days ({count} times); {amount} goes to a linked person",
    )


def _round_trip(seen: Observed, money: Callable[[Any], str]) -> tuple[str, str]:
    collected, paid, hours = money(seen["collected_minor"]), money(seen["paid_out_minor"]), seen["within_hours"]
    return (
        f"{hours} 小时内收款 {collected}，付出 {paid}（达 {seen['share_percent']}% 以上）",
        f"{collected} came in within {hours} hours and {paid} goes out ({seen['share_percent']}% or more)",
    )


def _repeated_amount(seen: Observed, money: Callable[[Any], str]) -> tuple[str, str]:
    amount, times, hours = money(seen["amount_minor"]), seen["times"], seen["within_hours"]
    return f"{hours} 小时内同一金额 {amount} 出现 {times} 次", f"{amount} for the {times}th time within {hours} hours"


def _shared_account(seen: Observed, _: Callable[[Any], str]) -> tuple[str, str]:
    users, most = seen["users_of_account"], seen["users"]
    return f"{users} 位用户向同一账户付款（{most} 位起提示）", f"{users} users pay to one account ({most} are a sign)"


def _name_differs(_seen: Observed, _: Callable[[Any], str]) -> tuple[str, str]:
    return "称为本人账户，户名不符", "Said to be the payer's own account, and bears another name"


def _reported(seen: Observed, _: Callable[[Any], str]) -> tuple[str, str]:
    hours = seen["report_age_seconds"] // 3600
    return f"用户 {hours} 小时前报告过异常", f"The user reported a loss or a theft {hours} hours ago"


def _screening(_seen: Observed, _: Callable[[Any], str]) -> tuple[str, str]:
    return "名单筛查命中，见 matches", "A name is like a listed one: see matches"


_WORDS: Mapping[str, Words] = {
    "amount": _amount,
    "velocity": _velocity,
    "new_payee": _new_payee,
    "night": _night,
    "cash_out": _cash_out,
    "round_trip": _round_trip,
    "repeated_amount": _repeated_amount,
    "shared_account": _shared_account,
    "name_differs": _name_differs,
    "reported": _reported,
    "screening": _screening,
}


def explain_hit(hit: Mapping[str, Any], currency: str) -> dict[str, Any]:
    """A hit as it was stored, with `zh` and `en`; one that this version has no words for keeps its numbers."""
    seen: Observed = hit.get("observed") or {}

    def money(minor: Any) -> str:
        return format_amount(minor, currency) if isinstance(minor, int) else "-"

    try:
        zh, en = _WORDS[str(hit.get("kind"))](seen, money)
    except KeyError:
        zh = en = ", ".join(f"{name}: {value}" for name, value in seen.items()) or str(hit.get("rule"))
    return {**hit, "zh": zh, "en": en}
