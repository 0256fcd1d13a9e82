"""Account numbers under which remittances reach one user: a new one for each request."""

from __future__ import annotations

import secrets

from sqlalchemy import insert

from banks.simulator.agreements import forced_decline
from banks.simulator.faults import FaultKind
from banks.simulator.fx_offers import HOLDS, OPENS_RECEIVING_ACCOUNTS
from banks.simulator.fx_protocol import ReceivingAccountBody
from banks.simulator.protocol import Answer, BankCode
from banks.simulator.requests import Call
from banks.simulator.tables import receiving_accounts


def open_receiving_account(call: Call, body: ReceivingAccountBody) -> Answer:
    """Opens a number in the holder's name, which stays in the bank's books."""
    wrong = _refusal(call, body)
    if wrong is not None:
        return call.declined(wrong)
    account_number = f"{call.bank_code}{secrets.randbelow(10**12):012d}"
    call.connection.execute(
        insert(receiving_accounts).values(
            account_number=account_number,
            bank_code=call.bank_code,
            request_number=call.request_number,
            currency=body.currency,
            name=body.name,
            opened_at=call.now,
        )
    )
    return call.succeeded(account_number=account_number, currency=body.currency)


def _refusal(call: Call, body: ReceivingAccountBody) -> BankCode | None:
    if call.fault is not None and call.fault.kind is FaultKind.ANSWER_FORGED:
        return BankCode.SYSTEM_DECLINED
    if call.bank_code not in OPENS_RECEIVING_ACCOUNTS:
        return BankCode.NOT_OFFERED
    if body.currency not in HOLDS[call.bank_code]:
        return BankCode.CURRENCY_NOT_SUPPORTED
    return forced_decline(call)
