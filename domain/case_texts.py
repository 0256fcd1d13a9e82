"""What each kind of case is about, in a sentence for the person who opens it."""

from __future__ import annotations

from collections.abc import Mapping

# In Chinese, and in English.
CASE_TEXTS: Mapping[str, tuple[str, str]] = {
    "operator_needed": (
        "需要人员查看：自动流程无法继续，或银行前后说法不一",
        "A person has to look: the process cannot go on, or a bank contradicts itself",
    ),
    "waiver_objection": ("用户对免验证支付提出异议", "The user objects to a payment without a code"),
    "bank_correction": ("银行更正了先前的答复", "A bank corrects what it said before"),
    "restriction_review": ("冻结或限制到期，须重新审视", "A freeze or suspension has to be looked at again"),
    "webhook_endpoint_disabled": (
        "商户的通知地址已停用",
        "The merchant's address for events was switched off",
    ),
    "return_not_confirmed": (
        "银行通知退回出款，查询却无退回",
        "A bank announced the return of a payout and, asked for it, knows of none",
    ),
    "settlement_unpaid": ("商户结算款支付失败或被退回", "A settlement's payout failed or came back"),
    "review_overdue": ("出款审核超过时限", "A review was not decided in time"),
    "payout_overdue": ("出款超过目标时间", "A payout takes longer than it should"),
    "payout_unanswered": ("出款银行逾期未答复", "A payout's bank has not answered in its time"),
    "inbound_unmatched": (
        "外币汇款无法确认收款人，暂记挂账：认领给用户，或退回汇款行",
        "Foreign currency has arrived and nobody knows whose it is: assign it to a user, or return it",
    ),
    "inbound_differs": (
        "银行对已入账的汇款编号报出不同内容（金额、币种、收款人、起息日或用途）：以首次入账为准，须向银行核实",
        "A bank says something else of a remittance that is booked: what was booked stands; ask the bank",
    ),
    "receiving_number_in_use": (
        "银行给出的收款账号已属于另一用户，未予开立：须向银行核实该账号属谁；到账仍只按账号、户名、币种三者一致入账",
        "A bank gave a number that is another user's: it was not opened; ask the bank whose it is. What arrives there"
        " is credited by number, name and currency alone",
    ),
    "inbound_unreadable": (
        "银行通知有外币汇款到账，但其说明无法采信，或超过二十四小时没有可用答复：款项在银行，尚未入账，须向银行核实",
        "A bank has announced foreign currency and does not say what it is in a way that can be booked:"
        " the money lies at the bank, outside the books; ask the bank",
    ),
    "inbound_return_failed": (
        "汇款退回失败，资金仍在挂账：查明原因后重新决定",
        "A remittance could not be returned; it is in suspense again: find out why, and decide anew",
    ),
    "user_receivable": (
        "结汇被冲回时用户余额不足，差额为应收用户款",
        "The CNY of a reversed conversion had been taken out already: the user owes what is missing",
    ),
    "reversal_refused": (
        "结汇超额部分的冲回被银行拒绝：须与银行商定处理",
        "A desk refused to reverse what was above the quota: settle with the bank what becomes of it",
    ),
    "fx_without_window": (
        "结汇无可用时段：银行与主管机关在可见期内没有共同的营业时间，或起息日过远；修正日历或撤回",
        "A conversion can be dealt at no time that is known: correct hours, calendars or value date, or withdraw it",
    ),
    "excess_of_exempt": (
        "银行称一笔不占额度的结汇超额：未作冲回，须核对贸易凭证",
        "A bank calls a conversion above the quota that is exempt: nothing was reversed; check its evidence",
    ),
    "closure_due": (
        "注销或删除申请三个工作日内到期：处理其障碍（closures show）",
        "A request to close or to delete is due in three working days: see to what is in its way (closures show)",
    ),
    "closure_overdue": (
        "注销或删除申请已超过答复期限：立即处理其障碍，并向用户说明",
        "A request to close or to delete is overdue: see to what is in its way at once, and tell the user",
    ),
    "identity_unverified": (
        "注销或删除申请的申请人身份多次核验未通过，不再核验：由两人拒绝（closures refuse，理由 identity_not_verified）",
        "Who asks to close or to delete could not be verified, and is not checked any more: two people refuse it"
        " (closures refuse, ground identity_not_verified)",
    ),
    "closure_unknown": (
        "恢复的数据中没有此用户的注销或删除申请（备份之后提出）：请商户或用户重新提出，期限自原申请之日起算",
        "A request to close or to delete that restored data do not know: it was asked after the backup. Have it asked"
        " again; its time runs from the day on which it was asked first",
    ),
    "erasure_reply_missing": (
        "用户信息的接收方在期限内未答复是否删除：须联系对方",
        "Whoever got a user's data has not said in time whether they are deleted: ask them",
    ),
    "erasure_failed": (
        "到期应删除的资料无法打开，未能依法留存，因此未删除：须由技术人员查明原因",
        "What was due to be erased cannot be opened, so what the law keeps of it could not be copied, and it was not"
        " erased: have the developers find out why",
    ),
    "money_after_closing": (
        "已注销用户的账户有资金到账：资金属于用户，须设法支付",
        "Money came for a user who has left: it is the user's; find a way to pay it",
    ),
    "retained_copies_lost": (
        "用户已被遗忘，依法应留存的资料在恢复的数据中缺失，密钥已销毁，无法重新留存：从其他副本寻回，或报告主管机关",
        "What the law keeps of a user who was forgotten is missing in restored data, and the key that could open it is"
        " destroyed: find it in another copy, or report the loss",
    ),
}


def explain_case(kind: str) -> dict[str, str] | None:
    """The sentence in both languages; None for a kind that says it all, or is none of a person's concern."""
    found = CASE_TEXTS.get(kind)
    return None if found is None else {"zh": found[0], "en": found[1]}
