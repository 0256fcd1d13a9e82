"""Test cards: any card with one of these prefixes, the right length and a valid Luhn digit is an account at
its bank.

The prefixes begin with 9901 and 9902, which no issuer has (ISO 7812: national use, of a country code that
is not assigned).
A card misbehaves if the six digits before its Luhn digit are `9900nn`; `nn` is a row of `FAULT_CARDS`. The rows from 70
on show when the card is paid out to, as an account; other account numbers are in `payee_accounts.py`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from stdnum import luhn

from banks.simulator.faults import Fault, FaultKind
from banks.simulator.protocol import BankCode, Operation


@dataclass(frozen=True)
class CardProduct:
    """One row of the bank's own card table; `config/card_prefixes.csv` says the same to the institution."""

    prefix: str
    length: int
    bank_code: str
    card_type: str


BANK_NAMES = {
    "HBRB": ("港湾银行", "Harbour Bank"),
    "WLWB": ("柳岸银行", "Willow Bank"),
    "OSPB": ("远洋银行", "Ocean Span Bank"),
}

CARD_PRODUCTS = (
    CardProduct("990101", 19, "HBRB", "debit"),
    CardProduct("990102", 16, "HBRB", "credit"),
    CardProduct("990201", 19, "WLWB", "debit"),
    CardProduct("990202", 16, "WLWB", "credit"),
)

# Banks that issue cards.
ISSUERS = tuple(dict.fromkeys(product.bank_code for product in CARD_PRODUCTS))

_FAULT_GROUP = re.compile(r"9900(\d\d)\d$")


@dataclass(frozen=True)
class FaultCard:
    """What a card number ending in `9900nn` and its Luhn digit does, at one operation."""

    number: int
    operation: Operation
    fault: Fault
    text_zh: str
    text_en: str


def _no(number: int, operation: Operation, code: BankCode, text_zh: str, text_en: str) -> FaultCard:
    return FaultCard(number, operation, Fault(kind=FaultKind.DECLINE, code=code), text_zh, text_en)


def _at(number: int, operation: Operation, kind: FaultKind, text_zh: str, text_en: str) -> FaultCard:
    return FaultCard(number, operation, Fault(kind=kind), text_zh, text_en)


_SIGN, _CONFIRM, _DEBIT, _REFUND = (
    Operation.SIGN_APPLICATION,
    Operation.SIGN_CONFIRMATION,
    Operation.DEBIT,
    Operation.REFUND,
)
_PAYOUT = Operation.PAYOUT
_TEXT, _VERIFY = Operation.PAYMENT_CODE, Operation.PAYMENT_CODE_VERIFICATION

_ROWS = (
    _no(1, _SIGN, BankCode.NAME_NOT_MATCHED, "签约：姓名不符", "application: name does not match"),
    _no(2, _SIGN, BankCode.ID_NOT_MATCHED, "签约：证件号不符", "application: ID number does not match"),
    _no(3, _SIGN, BankCode.CARD_NOT_FOUND, "签约：卡号无效", "application: no such card"),
    _no(4, _SIGN, BankCode.MOBILE_NOT_MATCHED, "签约：手机号不符", "application: mobile does not match"),
    _no(5, _SIGN, BankCode.CARD_TYPE_NOT_SUPPORTED, "签约：卡种不支持", "application: card type not supported"),
    _no(6, _SIGN, BankCode.CARD_FROZEN, "签约：卡已挂失或冻结", "application: card lost or frozen"),
    _no(7, _SIGN, BankCode.RISK_REFUSED, "签约：风控拒绝", "application: refused by the bank's risk control"),
    _at(8, _SIGN, FaultKind.TIME_OUT_BEFORE, "签约：受理前超时", "application: time-out, never taken in"),
    _at(
        9,
        _SIGN,
        FaultKind.TIME_OUT_AFTER,
        "签约：受理后超时",
        "application: taken in, code texted, then time-out",
    ),
    _at(10, _SIGN, FaultKind.ERROR_BEFORE, "签约：受理前 5xx", "application: 5xx, never taken in"),
    _at(11, _SIGN, FaultKind.ERROR_AFTER, "签约：受理后 5xx", "application: taken in, then 5xx"),
    _no(12, _CONFIRM, BankCode.CODE_WRONG, "签约：验证码总是错误", "confirmation: every code is wrong"),
    _no(13, _CONFIRM, BankCode.CODE_EXPIRED, "签约：验证码已过期", "confirmation: the code has expired"),
    _at(
        14,
        _CONFIRM,
        FaultKind.TIME_OUT_BEFORE,
        "签约确认：受理前超时",
        "confirmation: time-out, never taken in",
    ),
    _at(
        15,
        _CONFIRM,
        FaultKind.TIME_OUT_AFTER,
        "签约确认：成功后超时",
        "confirmation: agreement signed, then time-out",
    ),
    _no(20, _DEBIT, BankCode.BALANCE_NOT_ENOUGH, "扣款：余额不足", "debit: insufficient funds"),
    _no(21, _DEBIT, BankCode.LIMIT_EXCEEDED, "扣款：超过银行限额", "debit: over the bank's limit"),
    _no(22, _DEBIT, BankCode.CARD_FROZEN, "扣款：卡已挂失或冻结", "debit: card lost or frozen"),
    _no(23, _DEBIT, BankCode.RISK_REFUSED, "扣款：风控拒绝", "debit: refused by the bank's risk control"),
    _no(
        24,
        _DEBIT,
        BankCode.AGREEMENT_TERMINATED,
        "扣款：协议已在银行解除",
        "debit: payer ended the agreement at the bank",
    ),
    _no(25, _DEBIT, BankCode.SYSTEM_DECLINED, "扣款：其他原因拒绝", "debit: declined for another reason"),
    _at(
        30,
        _DEBIT,
        FaultKind.PROCESSING_THEN_SUCCESS,
        "扣款：处理中，随后成功",
        "debit: processing, then success",
    ),
    _at(
        31,
        _DEBIT,
        FaultKind.PROCESSING_THEN_FAILURE,
        "扣款：处理中，随后失败",
        "debit: processing, then failure",
    ),
    _at(32, _DEBIT, FaultKind.TIME_OUT_BEFORE, "扣款：记账前超时", "debit: time-out, never booked"),
    _at(33, _DEBIT, FaultKind.TIME_OUT_AFTER, "扣款：记账后超时", "debit: booked, then time-out"),
    _at(34, _DEBIT, FaultKind.ERROR_BEFORE, "扣款：记账前 5xx", "debit: 5xx, never booked"),
    _at(35, _DEBIT, FaultKind.ERROR_AFTER, "扣款：记账后 5xx", "debit: booked, then 5xx"),
    _at(36, _DEBIT, FaultKind.DUPLICATE_CALLBACKS, "扣款：重复回调", "debit: the same callback three times"),
    _at(
        37,
        _DEBIT,
        FaultKind.CALLBACKS_OUT_OF_ORDER,
        "扣款：回调乱序",
        "debit: callback before the answer, older one after it",
    ),
    _at(
        38,
        _DEBIT,
        FaultKind.FORGED_CALLBACK,
        "扣款：先有伪造的成功回调，实际失败",
        "debit: forged callback of success, in truth it fails",
    ),
    _at(39, _DEBIT, FaultKind.SLOW, "扣款：应答缓慢", "debit: slow, answers just inside the time-out"),
    _at(
        40,
        _DEBIT,
        FaultKind.LATE_SUCCESS,
        "扣款：超时，长时间处理中，最后成功",
        "debit: time-out, long processing, success at last",
    ),
    _at(
        41,
        _DEBIT,
        FaultKind.ARRIVES_LATE,
        "扣款：请求迟到，查询时尚不存在",
        "debit: arrives late; until then a query finds nothing",
    ),
    _at(
        42,
        _DEBIT,
        FaultKind.ANSWER_UNSIGNED,
        "扣款：记账后应答无签名",
        "debit: booked, the answer is unsigned",
    ),
    _at(
        43,
        _DEBIT,
        FaultKind.ANSWER_FORGED,
        "扣款：失败，但应答被伪造为成功",
        "debit: declined, the answer is forged into success",
    ),
    _at(
        44,
        _DEBIT,
        FaultKind.ANSWER_UNREADABLE,
        "扣款：记账后应答乱码",
        "debit: booked, the answer is unreadable",
    ),
    _at(45, _DEBIT, FaultKind.LINE_BROKEN, "扣款：记账后连接中断", "debit: booked, the line breaks"),
    _no(50, _REFUND, BankCode.SYSTEM_DECLINED, "退款：被拒绝", "refund: declined"),
    _at(
        51,
        _REFUND,
        FaultKind.PROCESSING_THEN_SUCCESS,
        "退款：处理中，随后成功",
        "refund: processing, then success",
    ),
    _at(
        52,
        _REFUND,
        FaultKind.PROCESSING_THEN_FAILURE,
        "退款：处理中，随后失败",
        "refund: processing, then failure",
    ),
    _at(53, _REFUND, FaultKind.TIME_OUT_BEFORE, "退款：记账前超时", "refund: time-out, never booked"),
    _at(54, _REFUND, FaultKind.TIME_OUT_AFTER, "退款：记账后超时", "refund: booked, then time-out"),
    _at(60, _TEXT, FaultKind.TIME_OUT_AFTER, "支付验证码：发送后超时", "payment code: texted, then time-out"),
    _at(61, _TEXT, FaultKind.TIME_OUT_BEFORE, "支付验证码：发送前超时", "payment code: time-out, never texted"),
    _no(62, _VERIFY, BankCode.CODE_WRONG, "支付验证码：总是错误", "payment code: every code is wrong"),
    _no(63, _VERIFY, BankCode.CODE_EXPIRED, "支付验证码：已过期", "payment code: has expired"),
    _at(
        64,
        _VERIFY,
        FaultKind.TIME_OUT_AFTER,
        "支付验证：成功后超时",
        "code verification: right, then time-out",
    ),
    _at(
        65,
        _VERIFY,
        FaultKind.TIME_OUT_BEFORE,
        "支付验证：受理前超时",
        "code verification: time-out, never taken in",
    ),
)

_PAYOUT_ROWS = (
    _no(70, _PAYOUT, BankCode.NAME_NOT_MATCHED, "付款：户名不符", "payout: name does not match"),
    _no(71, _PAYOUT, BankCode.ACCOUNT_CLOSED, "付款：账户已销户", "payout: account closed"),
    _no(72, _PAYOUT, BankCode.ACCOUNT_NOT_FOUND, "付款：账号无效", "payout: no such account"),
    _no(73, _PAYOUT, BankCode.BANK_CLOSED, "付款：银行不营业", "payout: the bank is closed, nothing booked"),
    _no(74, _PAYOUT, BankCode.SYSTEM_DECLINED, "付款：其他原因拒绝", "payout: declined for another reason"),
    _at(75, _PAYOUT, FaultKind.PROCESSING_THEN_SUCCESS, "付款：处理中，随后成功", "payout: processing, then paid"),
    _at(76, _PAYOUT, FaultKind.PROCESSING_THEN_FAILURE, "付款：处理中，随后失败", "payout: processing, then declined"),
    _at(77, _PAYOUT, FaultKind.TIME_OUT_BEFORE, "付款：记账前超时", "payout: time-out, never booked"),
    _at(78, _PAYOUT, FaultKind.TIME_OUT_AFTER, "付款：付出后超时", "payout: paid, then time-out"),
    _at(
        79,
        _PAYOUT,
        FaultKind.LATE_SUCCESS,
        "付款：超时，长时间处理中，最后成功",
        "payout: time-out, long processing, paid at last",
    ),
    _at(
        80,
        _PAYOUT,
        FaultKind.ARRIVES_LATE,
        "付款：请求迟到，查询时尚不存在",
        "payout: arrives late; until then a query finds nothing",
    ),
    _at(81, _PAYOUT, FaultKind.RETURNED_LATER, "付款：成功，稍后退汇", "payout: paid, sent back after a while"),
    _at(82, _PAYOUT, FaultKind.RETURNED_AT_ONCE, "付款：成功，随即退汇", "payout: paid, sent back at once"),
    _at(83, _PAYOUT, FaultKind.DUPLICATE_CALLBACKS, "付款：重复回调", "payout: the same callback three times"),
    _at(
        84,
        _PAYOUT,
        FaultKind.FORGED_CALLBACK,
        "付款：先有伪造的成功回调，实际失败",
        "payout: forged callback of success, in truth it fails",
    ),
    _at(
        85,
        _PAYOUT,
        FaultKind.ANSWER_FORGED,
        "付款：失败，但应答被伪造为成功",
        "payout: declined, the answer is forged into success",
    ),
    _at(86, _PAYOUT, FaultKind.LINE_BROKEN, "付款：付出后连接中断", "payout: paid, the line breaks"),
)

FAULT_CARDS = {row.number: row for row in _ROWS + _PAYOUT_ROWS}
FAULT_ACCOUNTS = {row.number: row for row in _PAYOUT_ROWS}


def card_product(bank_code: str, card_number: str) -> CardProduct | None:
    """The product of a card this bank issued, or None if the bank has no such card."""
    if not luhn.is_valid(card_number):
        return None
    return next(
        (
            product
            for product in CARD_PRODUCTS
            if product.bank_code == bank_code
            and card_number.startswith(product.prefix)
            and len(card_number) == product.length
        ),
        None,
    )


def card_fault(card_number: str, operation: Operation) -> Fault | None:
    """What this card does wrong at this operation, if it is a fault card."""
    found = _FAULT_GROUP.search(card_number)
    row = FAULT_CARDS.get(int(found[1])) if found else None
    return row.fault if row is not None and row.operation is operation else None


def example_card(bank_code: str, fault_number: int | None = None, serial: int = 1, card_type: str = "debit") -> str:
    """A card number of the bank with a valid Luhn digit: the `serial`-th good one, or the `serial`-th with
    that fault.
    """
    product = next(p for p in CARD_PRODUCTS if p.bank_code == bank_code and p.card_type == card_type)
    ending = "880000" if fault_number is None else f"9900{fault_number:02d}"
    middle = f"{serial:0{product.length - len(product.prefix) - len(ending) - 1}d}"
    digits = f"{product.prefix}{middle}{ending}"
    if len(digits) != product.length - 1:
        raise ValueError("serial has too many digits for this card product")
    return digits + luhn.calc_check_digit(digits)
