"""Everything that can be instructed: what it carries, and who at the bank carries it out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from banks.simulator import (
    agreements,
    erasure_notices,
    fx_desk,
    fx_quota,
    inbound,
    payments,
    payouts,
    receiving_accounts,
)
from banks.simulator.fx_protocol import FxDealBody, InboundReturnBody, OfficialQuotaBody, ReceivingAccountBody
from banks.simulator.protocol import (
    Answer,
    Body,
    DebitBody,
    ErasureNoticeBody,
    Operation,
    PaymentCodeBody,
    PaymentCodeVerificationBody,
    PayoutBody,
    RefundBody,
    SignApplicationBody,
    SignConfirmationBody,
    UnsignBody,
)
from banks.simulator.requests import Call

BODIES: Mapping[Operation, type[Body]] = {
    Operation.SIGN_APPLICATION: SignApplicationBody,
    Operation.SIGN_CONFIRMATION: SignConfirmationBody,
    Operation.UNSIGN: UnsignBody,
    Operation.PAYMENT_CODE: PaymentCodeBody,
    Operation.PAYMENT_CODE_VERIFICATION: PaymentCodeVerificationBody,
    Operation.DEBIT: DebitBody,
    Operation.REFUND: RefundBody,
    Operation.PAYOUT: PayoutBody,
    Operation.FX_DEAL: FxDealBody,
    Operation.RECEIVING_ACCOUNT: ReceivingAccountBody,
    Operation.INBOUND_RETURN: InboundReturnBody,
    Operation.OFFICIAL_QUOTA: OfficialQuotaBody,
    Operation.ERASURE_NOTICE: ErasureNoticeBody,
}

HANDLERS: Mapping[Operation, Callable[[Call, Any], Answer]] = {
    Operation.SIGN_APPLICATION: agreements.apply_to_sign,
    Operation.SIGN_CONFIRMATION: agreements.confirm_sign,
    Operation.UNSIGN: agreements.unsign,
    Operation.PAYMENT_CODE: payments.send_payment_code,
    Operation.PAYMENT_CODE_VERIFICATION: payments.verify_payment_code,
    Operation.DEBIT: payments.debit,
    Operation.REFUND: payments.refund,
    Operation.PAYOUT: payouts.pay_out,
    Operation.FX_DEAL: fx_desk.deal,
    Operation.RECEIVING_ACCOUNT: receiving_accounts.open_receiving_account,
    Operation.INBOUND_RETURN: inbound.return_inbound,
    Operation.OFFICIAL_QUOTA: fx_quota.official_quota,
    Operation.ERASURE_NOTICE: erasure_notices.take_notice,
}
