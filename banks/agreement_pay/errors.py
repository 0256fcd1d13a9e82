"""The bank's answer codes in our words. A code that is not here is `OTHER`, and its raw form reaches the
operator.
"""

from __future__ import annotations

from domain.banking import DeclineReason

DECLINE_REASONS: dict[str, DeclineReason] = {
    "NAME_NOT_MATCHED": DeclineReason.NAME_MISMATCH,
    "ID_NOT_MATCHED": DeclineReason.ID_NUMBER_MISMATCH,
    "CARD_NOT_FOUND": DeclineReason.CARD_NUMBER_INVALID,
    "MOBILE_NOT_MATCHED": DeclineReason.MOBILE_MISMATCH,
    "CARD_TYPE_NOT_SUPPORTED": DeclineReason.CARD_NOT_SUPPORTED,
    "CARD_FROZEN": DeclineReason.CARD_LOST_OR_FROZEN,
    "BALANCE_NOT_ENOUGH": DeclineReason.INSUFFICIENT_FUNDS,
    "LIMIT_EXCEEDED": DeclineReason.BANK_LIMIT_EXCEEDED,
    "AGREEMENT_NOT_FOUND": DeclineReason.AGREEMENT_NOT_FOUND,
    "AGREEMENT_TERMINATED": DeclineReason.AGREEMENT_ENDED,
    "CODE_WRONG": DeclineReason.CODE_WRONG,
    "CODE_EXPIRED": DeclineReason.CODE_EXPIRED,
    "CODE_USED": DeclineReason.CODE_EXPIRED,
    "CODE_TOO_MANY_ATTEMPTS": DeclineReason.CODE_ATTEMPTS_EXHAUSTED,
    "AUTHORISATION_REQUIRED": DeclineReason.AUTHORISATION_INVALID,
    "AUTHORISATION_INVALID": DeclineReason.AUTHORISATION_INVALID,
    "DEBIT_NOT_FOUND": DeclineReason.PAYMENT_NOT_FOUND,
    "REFUND_OVER_DEBIT": DeclineReason.REFUND_EXCEEDS_PAYMENT,
    "REQUEST_NUMBER_REUSED": DeclineReason.REQUEST_NUMBER_REUSED,
    "RISK_REFUSED": DeclineReason.REJECTED_BY_RISK,
    "ACCOUNT_NOT_FOUND": DeclineReason.ACCOUNT_NUMBER_INVALID,
    "BANK_ID_INVALID": DeclineReason.ACCOUNT_NUMBER_INVALID,
    "ACCOUNT_CLOSED": DeclineReason.ACCOUNT_CLOSED,
    "BANK_CLOSED": DeclineReason.BANK_CLOSED,
    "DESK_CLOSED": DeclineReason.DESK_CLOSED,
    "QUOTE_EXPIRED": DeclineReason.QUOTE_EXPIRED,
    "FX_QUOTA_EXCEEDED": DeclineReason.FX_QUOTA_EXCEEDED,
    "FX_POLICY_REFUSED": DeclineReason.FX_REFUSED_BY_POLICY,
    "DEAL_NOT_FOUND": DeclineReason.FX_DEAL_NOT_FOUND,
    "REVERSAL_OVER_DEAL": DeclineReason.REVERSAL_EXCEEDS_DEAL,
    "REMITTANCE_NOT_FOUND": DeclineReason.REMITTANCE_NOT_FOUND,
    "RETURN_OVER_REMITTANCE": DeclineReason.RETURN_EXCEEDS_REMITTANCE,
    "NOT_OFFERED": DeclineReason.OTHER,
    "REGION_NOT_SUPPORTED": DeclineReason.OTHER,
    "CURRENCY_NOT_SUPPORTED": DeclineReason.OTHER,
    "SYSTEM_DECLINED": DeclineReason.OTHER,
}

# Signed refusals that say for certain that this content was not and will not be taken in under this number.
# A 401 is not among them: a replayed copy is refused although the first copy was booked.
DEFINITE_REFUSALS = {
    (400, "REQUEST_INVALID"),
    (413, "REQUEST_TOO_LARGE"),
    (409, "REQUEST_NUMBER_REUSED"),
}
