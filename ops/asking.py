"""Asking a bank again: wakes the process, which asks by request number. Nothing here says what became of anything."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from typing import Any, Literal

from pydantic import BaseModel

from domain.business_time import business_date
from domain.errors import ConflictError, ErrorCode, UnavailableError
from domain.identifiers import BankStep
from domain.states import (
    BINDING_FINAL_STATES,
    PAYMENT_FINAL_STATES,
    PAYOUT_FINAL_STATES,
    REFUND_FINAL_STATES,
    BindingState,
    FxState,
    PaymentState,
    PayoutState,
    ReceivingAccountState,
)
from workflows.names import Process, workflow_id
from workflows.starting import Processes, binding_order, payment_order, payout_order, refund_order
from workflows.starting_fx import fx_order, inbound_return_order, receiving_order

How = Literal["told", "revived", "correcting"]
# A process that is run anew for a binding has this long, at least, to bring it to its end.
_BINDING_TIME = timedelta(minutes=30)
_MOVES_MONEY = frozenset({BankStep.DEBIT, BankStep.REFUND, BankStep.LATE_REFUND, BankStep.PAYOUT})
_DAYS_AFTER_SENDING = 5
# Foreign currency, by what it is; a remittance is in the process that asked its bank about it.
_OF_FX = {
    "fx": Process.SETTLE_FX,
    "inbound_return": Process.RETURN_INBOUND,
    "receiving_account": Process.OPEN_RECEIVING_ACCOUNT,
    "inbound": Process.RECEIVE_INBOUND,
}
# Of foreign currency: its bank has not said the last word.
_AT_BANK = frozenset({FxState.SENDING, FxState.UNKNOWN, FxState.CONVERTED, ReceivingAccountState.OPENING})
_ENDED = frozenset(
    {*PAYMENT_FINAL_STATES, *REFUND_FINAL_STATES, *BINDING_FINAL_STATES, *PAYOUT_FINAL_STATES, BindingState.OPEN}
)


def process_of(instruction: Mapping[str, Any]) -> Process:
    """Which process looks after an instruction."""
    match instruction["object"]:
        case "payment":
            return Process.COLLECT_PAYMENT if instruction["corrected_at"] is None else Process.CORRECT_PAYMENT
        case "refund":
            return Process.REFUND_PAYMENT
        case "payout":
            return Process.RETURN_PAYOUT if instruction["state"] == PayoutState.RETURNED else Process.SEND_PAYOUT
        case kind if kind in _OF_FX:
            return _OF_FX[kind]
        case _ if instruction["state"] in (BindingState.UNBINDING, BindingState.UNBOUND):
            return Process.UNBIND_CARD
        case _:
            return Process.BIND_CARD


def process_id(instruction: Mapping[str, Any]) -> str:
    """Its id in Temporal."""
    if instruction["object"] == "inbound":
        return workflow_id(Process.RECEIVE_INBOUND, f"{instruction['bank_code']}-{instruction['reference']}")
    return workflow_id(process_of(instruction), instruction["id"])


async def ask_bank(processes: Processes, instruction: Mapping[str, Any], now: datetime) -> How:
    """Has the process of a payment, refund, binding, payout or of foreign currency ask its bank now.

    A payment that we have as failed is looked at by a correction, because the bank's word prevails (A4.1c), a payout
    that succeeded by its return, because its payee's bank may have sent it back, and of a conversion that is settled
    its desk is asked whether it was above the quota (A5.2c). Raises
    ConflictError(BANK_NOT_TO_ASK) where nothing was sent or the end is known, UnavailableError if Temporal is away.
    """
    if _is_doubtful_failure(instruction):
        order = payment_order(instruction, instruction["merchant_id"]).model_copy(update={"resumed": True})
        return _done(await processes.correct_payment(order), "correcting")
    if instruction["object"] == "payout" and instruction["state"] == PayoutState.SUCCEEDED:
        return _done(await processes.return_payout(payout_order(instruction, instruction["merchant_id"])), "correcting")
    if _may_have_been_too_much(instruction):
        return _done(await processes.learn_excess(instruction["id"]), "correcting")
    if _has_ended(instruction) or not instruction["effects"]:
        raise ConflictError(ErrorCode.BANK_NOT_TO_ASK, subject_id=instruction["id"])
    process = process_of(instruction)
    takes_notices = process not in (Process.BIND_CARD, Process.UNBIND_CARD)
    if takes_notices and await processes.tell_bank_notice(process, instruction["id"]):
        return "told"
    revived = await processes.revive(process, instruction["id"], _order(instruction, now))
    # A binding's process that runs asks by itself, in short pauses.
    return "revived" if revived else _done(not takes_notices, "told")


async def read_bank_record(processes: Processes, instruction: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """What the bank's own books say of the last step that moved money, beside what we think of it.

    Raises ConflictError(BANK_NOT_TO_ASK) where nothing of the kind was sent, UnavailableError if nobody could tell.
    """
    sent = [effect for effect in instruction["effects"] if effect["step"] in _MOVES_MONEY]
    if not sent:
        raise ConflictError(ErrorCode.BANK_NOT_TO_ASK, subject_id=instruction["id"])
    effect = sent[-1]
    days = _days(business_date(datetime.fromisoformat(effect["claimed_at"])), business_date(now))
    found = await processes.read_bank_record(effect["bank_code"], effect["request_number"], days)
    if found is None:
        raise UnavailableError(ErrorCode.BANK_NO_ANSWER)
    answered = [] if found.amount_minor is None else [found.amount_minor]
    booked = [abs(line.amount_minor) for line in found.lines] or answered
    agrees = booked == [instruction["amount_minor"]] if booked else None
    shown = found.model_dump(mode="json") | {"bank_code": effect["bank_code"], "agrees": agrees}
    return {"object": "bank_record", "instruction_id": instruction["id"]} | shown


def _days(first: date, last: date) -> tuple[date, ...]:
    """The days after it was sent, in which it was booked if it was; and today."""
    after = [first + timedelta(days=day) for day in range(_DAYS_AFTER_SENDING)]
    return tuple(dict.fromkeys([*(day for day in after if day <= last), last]))


def _done(well: bool, how: How) -> How:
    if not well:
        raise UnavailableError(ErrorCode.SERVICE_UNAVAILABLE)
    return how


def _has_ended(instruction: Mapping[str, Any]) -> bool:
    if instruction["object"] in _OF_FX:
        return instruction["state"] not in _AT_BANK
    return instruction["state"] in _ENDED


def _may_have_been_too_much(instruction: Mapping[str, Any]) -> bool:
    if instruction["object"] != "fx" or instruction["kind"] != "conversion":
        return False
    return bool(instruction["state"] == FxState.SETTLED)


def _is_doubtful_failure(instruction: Mapping[str, Any]) -> bool:
    sent = any(effect["step"] == BankStep.DEBIT for effect in instruction["effects"])
    return instruction["object"] == "payment" and instruction["state"] == PaymentState.FAILED and sent


def _order(instruction: Mapping[str, Any], now: datetime) -> BaseModel:
    if instruction["object"] == "binding":
        return binding_order(instruction, instruction["merchant_id"], now + _BINDING_TIME)
    declined = [effect for effect in instruction["effects"] if effect["outcome"] == "declined"]
    counted = {**instruction, "attempt": len(declined)}
    return _ORDERS[instruction["object"]](counted, instruction["merchant_id"])


_ORDERS: Mapping[str, Callable[[Mapping[str, Any], Any], BaseModel]] = {
    "payment": payment_order,
    "refund": refund_order,
    "payout": payout_order,
    "fx": fx_order,
    "inbound_return": inbound_return_order,
    "receiving_account": receiving_order,
}
