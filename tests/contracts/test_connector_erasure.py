"""P4.2b: a bank is told to delete what it got, and what every connector must make of its reply, and of its silence."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from domain.banking import (
    MOST_NUMBERS_OF_A_NOTICE,
    BankConnector,
    BankOutcome,
    DeclineReason,
    ErasureNotice,
    ErasureOutcome,
    ErasureReply,
    KeptReason,
    SignApplication,
    SignConfirmation,
    UnsignRequest,
)
from domain.closing import ClosureScope
from domain.fx_banking import ReceivingAccountRequest
from tests.contracts.fx_stage import ABROAD, FxStage
from tests.contracts.harness import (
    BankHarness,
    Payer,
    funded_payout,
    notice_of,
    number,
    reply_until,
    sign,
    waived_debit,
)
from tests.simulator_process import SimulatorProcess

RECEIVED, ERASED, KEPT, DECLINED, UNKNOWN, NOT_FOUND = (
    ErasureOutcome.RECEIVED,
    ErasureOutcome.ERASED,
    ErasureOutcome.KEPT,
    ErasureOutcome.DECLINED,
    ErasureOutcome.UNKNOWN,
    ErasureOutcome.NOT_FOUND,
)
LAW, OWN = KeptReason.LAW, KeptReason.OWN_AUTHORISATION


async def signed(bank: BankHarness, connector: BankConnector, payer: Payer) -> tuple[str, str]:
    """The number of an application and the agreement that came of it."""
    application = number("SG")
    await connector.apply_to_sign(SignApplication(request_number=application, elements=payer.elements))
    code = await bank.code(payer, application)
    confirmed = await connector.confirm_sign(
        SignConfirmation(request_number=number("SC"), application_request_number=application, code=code)
    )
    assert confirmed.agreement_number is not None, confirmed
    return application, confirmed.agreement_number


async def unsign(connector: BankConnector, agreement_number: str) -> None:
    request = UnsignRequest(request_number=number("US"), agreement_number=agreement_number)
    assert (await connector.unsign(request)).outcome is BankOutcome.SUCCEEDED


async def ended(bank: BankHarness, connector: BankConnector, payer: Payer | None = None) -> str:
    """The number of an application whose agreement has ended."""
    application, agreement = await signed(bank, connector, payer or bank.payer())
    await unsign(connector, agreement)
    return application


async def test_a_bank_that_is_told_deletes_what_an_ended_agreement_brought_and_says_so_as_often_as_it_is_asked(
    bank: BankHarness, connector: BankConnector
) -> None:
    notice = notice_of(await ended(bank, connector))
    reply = await connector.send_erasure_notice(notice)
    assert reply == ErasureReply(outcome=ERASED, raw_code="OK")
    assert await connector.send_erasure_notice(notice) == reply
    assert await connector.ask_erasure_notice(notice.request_number) == reply


@pytest.mark.parametrize("scope", list(ClosureScope))
async def test_every_scope_is_understood_and_a_number_that_never_arrived_is_nothing_to_hold(
    connector: BankConnector, scope: ClosureScope
) -> None:
    assert (await connector.send_erasure_notice(notice_of(number("SG"), scope=scope))).outcome is ERASED


async def test_what_is_booked_is_kept_by_law_and_the_rest_is_deleted(
    bank: BankHarness, connector: BankConnector
) -> None:
    application, agreement = await signed(bank, connector, bank.payer())
    debit, paid = waived_debit(agreement), await funded_payout(bank)
    declined = await funded_payout(bank, "ACCOUNT_CLOSED")
    await connector.debit(debit)
    await connector.pay_out(paid)
    await connector.pay_out(declined)
    await unsign(connector, agreement)
    numbers = (application, debit.request_number, paid.request_number, declined.request_number)
    reply = await connector.send_erasure_notice(notice_of(*numbers))
    assert (reply.outcome, reply.kept_reason, reply.kept_count) == (KEPT, LAW, 2)
    assert (await connector.query(paid.request_number)).outcome is BankOutcome.SUCCEEDED
    assert (await bank.payouts_booked(paid.request_number), await bank.debits_booked(debit.request_number)) == (
        (1, 0),
        1,
    )
    assert (await connector.send_erasure_notice(notice_of(application, declined.request_number))).outcome is ERASED


async def test_elements_are_kept_while_another_agreement_of_the_payer_needs_them(
    bank: BankHarness, connector: BankConnector
) -> None:
    """Two merchants, one person: the end of the one agreement does not touch the other."""
    payer = bank.payer()
    other_application, other = await signed(bank, connector, payer)
    application = await ended(bank, connector, payer)
    reply = await connector.send_erasure_notice(notice_of(application))
    assert (reply.outcome, reply.kept_reason, reply.kept_count) == (KEPT, OWN, 1)
    assert (await connector.debit(waived_debit(other))).outcome is BankOutcome.SUCCEEDED
    assert await sign(bank, connector, payer)
    in_force = await connector.send_erasure_notice(notice_of(other_application))
    assert (in_force.outcome, in_force.kept_reason) == (KEPT, OWN)


async def test_a_card_that_was_forgotten_signs_again_from_nothing(bank: BankHarness, connector: BankConnector) -> None:
    """P4.5d"""
    payer = bank.payer()
    await connector.send_erasure_notice(notice_of(await ended(bank, connector, payer)))
    somebody_else = payer.elements.model_copy(update={"name": "林小雨"})
    agreement = await sign(bank, connector, Payer(somebody_else))
    assert (await connector.debit(waived_debit(agreement))).outcome is BankOutcome.SUCCEEDED


async def test_a_deal_and_a_receiving_account_are_kept_when_money_has_moved(fx: FxStage) -> None:
    deal, declined = await fx.conversion(), await fx.conversion()
    await fx.fault("decline", declined.request_number, code="FX_POLICY_REFUSED")
    for each in (deal, declined):
        await fx.desk.deal(each)
    at_desk = await fx.desk.send_erasure_notice(notice_of(deal.request_number, declined.request_number))
    assert (at_desk.outcome, at_desk.kept_reason, at_desk.kept_count) == (KEPT, LAW, 1)
    empty, reached = (
        ReceivingAccountRequest(request_number=number("RA"), currency="USD", holder_name="陈小满") for _ in range(2)
    )
    await fx.abroad.open_receiving_account(empty)
    opened = await fx.abroad.open_receiving_account(reached)
    await fx.order(
        "inbound",
        **{"bank_code": ABROAD, "currency": "USD", "amount_minor": 1, "receiver_name": "陈小满"},
        account_number=opened.account_number,
    )
    abroad = await fx.abroad.send_erasure_notice(notice_of(empty.request_number, reached.request_number))
    assert (abroad.outcome, abroad.kept_reason, abroad.kept_count) == (KEPT, LAW, 1)


@pytest.mark.parametrize(
    "fault", ["time_out_after", "error_after", "line_broken", "answer_unsigned", "answer_unreadable"]
)
async def test_a_notice_that_was_carried_out_in_silence_is_unknown_and_asking_tells(
    bank: BankHarness, connector: BankConnector, impatient: BankConnector, fault: str
) -> None:
    notice = notice_of(await ended(bank, connector))
    await bank.order_fault("erasure-notices", fault, notice.request_number)
    assert (await impatient.send_erasure_notice(notice)).outcome is UNKNOWN
    assert (await connector.ask_erasure_notice(notice.request_number)).outcome is ERASED


@pytest.mark.parametrize("fault", ["time_out_before", "error_before"])
async def test_a_notice_that_never_arrived_is_unknown_then_not_found_and_can_be_sent_again(
    bank: BankHarness, connector: BankConnector, impatient: BankConnector, fault: str
) -> None:
    notice = notice_of(await ended(bank, connector))
    await bank.order_fault("erasure-notices", fault, notice.request_number)
    assert (await impatient.send_erasure_notice(notice)).outcome is UNKNOWN
    assert (await connector.ask_erasure_notice(notice.request_number)).outcome is NOT_FOUND
    assert (await connector.send_erasure_notice(notice)).outcome is ERASED


async def test_a_query_that_is_not_answered_is_unknown(
    bank: BankHarness, connector: BankConnector, impatient: BankConnector
) -> None:
    notice = notice_of(number("SG"))
    await connector.send_erasure_notice(notice)
    await bank.order_fault("requests", "time_out_before", notice.request_number)
    assert (await impatient.ask_erasure_notice(notice.request_number)).outcome is UNKNOWN
    assert (await impatient.ask_erasure_notice(notice.request_number)).outcome is ERASED


async def test_a_slow_reply_is_a_reply(bank: BankHarness, connector: BankConnector) -> None:
    notice = notice_of(number("SG"))
    await bank.order_fault("erasure-notices", "slow", notice.request_number)
    assert (await connector.send_erasure_notice(notice)).outcome is ERASED


async def test_a_forged_reply_is_not_believed(bank: BankHarness, connector: BankConnector) -> None:
    notice = notice_of(number("SG"))
    await bank.order_fault("erasure-notices", "answer_forged", notice.request_number)
    assert (await connector.send_erasure_notice(notice)).outcome is UNKNOWN
    declined = await connector.ask_erasure_notice(notice.request_number)
    assert (declined.outcome, declined.reason) == (DECLINED, DeclineReason.OTHER)


@pytest.mark.parametrize(
    ("fault", "outcomes"),
    [
        ("processing_then_success", (RECEIVED, ERASED)),
        ("processing_then_failure", (RECEIVED, DECLINED)),
        ("late_success", (UNKNOWN, ERASED)),
    ],
)
async def test_a_bank_that_replies_later_has_received_it_until_then(
    bank: BankHarness, connector: BankConnector, impatient: BankConnector, fault: str, outcomes: tuple[str, str]
) -> None:
    notice = notice_of(await ended(bank, connector))
    await bank.order_fault("erasure-notices", fault, notice.request_number)
    first, last = outcomes
    told = await (impatient if first == UNKNOWN else connector).send_erasure_notice(notice)
    assert told.outcome == first
    assert (await connector.ask_erasure_notice(notice.request_number)).outcome is RECEIVED
    reply = await reply_until(connector, notice.request_number, ERASED, DECLINED)
    assert reply.outcome == last
    assert await connector.send_erasure_notice(notice) == reply


@pytest.mark.parametrize("kept", [None, *KeptReason])
async def test_a_bank_replies_when_it_pleases_by_deleting_or_by_keeping(
    bank: BankHarness, connector: BankConnector, kept: KeptReason | None
) -> None:
    application = await ended(bank, connector)
    notice = notice_of(application, number("PO"))
    await bank.order_fault("erasure-notices", "replies_on_command", notice.request_number)
    assert (await connector.send_erasure_notice(notice)).outcome is RECEIVED
    assert (await connector.ask_erasure_notice(notice.request_number)).outcome is RECEIVED
    await bank.reply_to_notice(notice.request_number, kept)
    reply = await connector.ask_erasure_notice(notice.request_number)
    wanted = (ERASED, None, None) if kept is None else (KEPT, kept, 2)
    assert (reply.outcome, reply.kept_reason, reply.kept_count) == wanted


@pytest.mark.parametrize(("fault", "reason"), [("kept_by_law", LAW), ("kept_by_own_authorisation", OWN)])
async def test_a_bank_that_keeps_says_why_and_deletes_nothing(
    bank: BankHarness, connector: BankConnector, fault: str, reason: KeptReason
) -> None:
    payer = bank.payer()
    notice = notice_of(await ended(bank, connector, payer))
    await bank.order_fault("erasure-notices", fault, notice.request_number)
    reply = await connector.send_erasure_notice(notice)
    assert (reply.outcome, reply.kept_reason, reply.kept_count) == (KEPT, reason, 1)
    assert await connector.send_erasure_notice(notice) == reply
    somebody_else = payer.elements.model_copy(update={"name": "林小雨"})
    again = await connector.apply_to_sign(SignApplication(request_number=number("SG"), elements=somebody_else))
    assert again.reason is DeclineReason.NAME_MISMATCH


async def test_the_same_number_with_other_content_is_refused_and_the_first_notice_stands(
    bank: BankHarness, connector: BankConnector
) -> None:
    application, kept = await ended(bank, connector), (await signed(bank, connector, bank.payer()))[0]
    notice = notice_of(application, kept)
    first = await connector.send_erasure_notice(notice)
    assert (first.outcome, first.kept_count) == (KEPT, 1)
    in_another_order = notice.model_copy(update={"disclosed_under": (kept, application)})
    assert await connector.send_erasure_notice(in_another_order) == first
    for change in ({"disclosed_under": (application,)}, {"scope": ClosureScope.QUICK_PAY}):
        other = await connector.send_erasure_notice(notice.model_copy(update=change))
        assert (other.outcome, other.reason) == (DECLINED, DeclineReason.REQUEST_NUMBER_REUSED)
    assert await connector.ask_erasure_notice(notice.request_number) == first


async def test_a_notice_names_a_thousand_requests_and_no_more_each_once_and_never_itself(
    connector: BankConnector,
) -> None:
    numbers = tuple(number("SG") + "01" for _ in range(MOST_NUMBERS_OF_A_NOTICE))
    assert (await connector.send_erasure_notice(notice_of(*numbers))).outcome is ERASED
    itself = number("EN")
    for wrong in ((), (*numbers, number("SG")), (numbers[0], numbers[0]), (itself,), ("陈小满陈小满陈小满",)):
        with pytest.raises(ValidationError):
            ErasureNotice(request_number=itself, disclosed_under=wrong, scope=ClosureScope.ACCOUNT)


async def test_a_notice_is_remembered_longer_than_a_payment(
    bank: BankHarness, connector: BankConnector, simulator: SimulatorProcess
) -> None:
    """A reply may take weeks, and asking must not begin anew."""
    application, agreement = await signed(bank, connector, bank.payer())
    debit = waived_debit(agreement)
    await connector.debit(debit)
    notice = notice_of(application)
    await bank.order_fault("erasure-notices", "replies_on_command", notice.request_number)
    await connector.send_erasure_notice(notice)
    await simulator.change_settings(remembers_request_numbers_seconds=0)
    assert (await connector.query(debit.request_number)).outcome is BankOutcome.NOT_FOUND
    assert (await connector.send_erasure_notice(notice)).outcome is RECEIVED
    await bank.reply_to_notice(notice.request_number, LAW)
    assert (await connector.ask_erasure_notice(notice.request_number)).outcome is KEPT


async def test_a_notice_is_no_payment_and_a_payment_no_notice(bank: BankHarness, connector: BankConnector) -> None:
    notice, payout = notice_of(number("SG")), await funded_payout(bank)
    await connector.send_erasure_notice(notice)
    await connector.pay_out(payout)
    as_payment = await connector.query(notice.request_number)
    as_notice = await connector.ask_erasure_notice(payout.request_number)
    assert (as_payment.outcome, as_payment.raw_code) == (BankOutcome.UNKNOWN, "ANSWER_MISMATCH")
    assert (as_notice.outcome, as_notice.raw_code) == (UNKNOWN, "ANSWER_MISMATCH")
    taken = notice.model_copy(update={"request_number": payout.request_number})
    assert (await connector.send_erasure_notice(taken)).reason is DeclineReason.REQUEST_NUMBER_REUSED
