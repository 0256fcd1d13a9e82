"""Names that Temporal shows: workflow ids, the task queue, search attributes."""

from __future__ import annotations

from enum import StrEnum

from temporalio.common import SearchAttributeKey

TASK_QUEUE = "liushui-payments"

# Plain in Temporal on purpose, so that operators can look things up; identifiers of ours and merchants' order numbers
# only, never personal information.
MERCHANT = SearchAttributeKey.for_keyword("LiushuiMerchant")
USER = SearchAttributeKey.for_keyword("LiushuiUser")
ORDER = SearchAttributeKey.for_keyword("LiushuiOrder")
BANK = SearchAttributeKey.for_keyword("LiushuiBank")
WAITING_FOR = SearchAttributeKey.for_keyword("LiushuiWaitingFor")
SEARCH_ATTRIBUTES: list[SearchAttributeKey[str]] = [MERCHANT, USER, ORDER, BANK, WAITING_FOR]


class Process(StrEnum):
    """Workflow types, which are also the first part of every workflow id."""

    COLLECT_PAYMENT = "collect-payment"
    CORRECT_PAYMENT = "correct-payment"
    REFUND_PAYMENT = "refund-payment"
    BIND_CARD = "bind-card"
    UNBIND_CARD = "unbind-card"
    SEND_PAYOUT = "send-payout"
    RETURN_PAYOUT = "return-payout"
    REPLAN_PAYOUTS = "replan-payouts"
    SETTLE_MERCHANTS = "settle-merchants"
    READ_BANK_RECORD = "read-bank-record"
    SETTLE_FX = "settle-fx"
    REPLAN_FX = "replan-fx"
    RETURN_INBOUND = "return-inbound"
    OPEN_RECEIVING_ACCOUNT = "open-receiving-account"
    RECEIVE_INBOUND = "receive-inbound"
    LEARN_EXCESS = "learn-excess"
    CLOSE_ACCOUNT = "close-account"
    PURGE_RETAINED = "purge-retained"


# Messages a running process takes. An update or a signal only says where to look: the database decides.
CODE_VERDICT_UPDATE = "code_verdict"
CODE_RESEND_UPDATE = "code_resend"
BANK_NOTICE_SIGNAL = "bank_notice"
DECISION_UPDATE = "decision"
# Something that a payout waits for may have changed: its plan, its review, a freeze. It looks for itself.
LOOK_AGAIN_SIGNAL = "look_again"


def workflow_id(process: Process, subject_id: str) -> str:
    """`collect-payment/pay_01J…`: short, bounded and derived, so that a second start finds the first."""
    return f"{process.value}/{subject_id}"
