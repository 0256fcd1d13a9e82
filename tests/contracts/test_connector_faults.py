"""What every connector must make of a bank or a network that misbehaves: doubt is UNKNOWN, only a signed no
is a no.
"""

from __future__ import annotations

import pytest

from domain.banking import (
    BankConnector,
    BankOutcome,
    DebitRequest,
    DeclineReason,
    PaymentCodeRequest,
    PaymentCodeVerification,
    SignApplication,
    SignConfirmation,
)
from tests.contracts.harness import (
    PAYEE,
    BankHarness,
    number,
    query_until,
    refund_of,
    sign,
    until,
    waived_debit,
)

S, D, P, U, N = (
    BankOutcome.SUCCEEDED,
    BankOutcome.DECLINED,
    BankOutcome.PROCESSING,
    BankOutcome.UNKNOWN,
    BankOutcome.NOT_FOUND,
)


async def _debit_with_fault(bank: BankHarness, connector: BankConnector, fault: str) -> DebitRequest:
    return waived_debit(await sign(bank, connector, bank.payer(("debits", fault))))


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("NAME_NOT_MATCHED", DeclineReason.NAME_MISMATCH),
        ("ID_NOT_MATCHED", DeclineReason.ID_NUMBER_MISMATCH),
        ("CARD_NOT_FOUND", DeclineReason.CARD_NUMBER_INVALID),
        ("MOBILE_NOT_MATCHED", DeclineReason.MOBILE_MISMATCH),
        ("CARD_TYPE_NOT_SUPPORTED", DeclineReason.CARD_NOT_SUPPORTED),
        ("CARD_FROZEN", DeclineReason.CARD_LOST_OR_FROZEN),
        ("RISK_REFUSED", DeclineReason.REJECTED_BY_RISK),
    ],
)
async def test_each_reason_against_an_application_is_told(
    bank: BankHarness, connector: BankConnector, code: str, reason: DeclineReason
) -> None:
    payer = bank.payer(("sign-applications", code))
    request = SignApplication(request_number=number("SG"), elements=payer.elements)
    answer = await connector.apply_to_sign(request)
    assert (answer.outcome, answer.reason, answer.raw_code) == (D, reason, code)
    assert await connector.query(request.request_number) == answer


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("BALANCE_NOT_ENOUGH", DeclineReason.INSUFFICIENT_FUNDS),
        ("LIMIT_EXCEEDED", DeclineReason.BANK_LIMIT_EXCEEDED),
        ("CARD_FROZEN", DeclineReason.CARD_LOST_OR_FROZEN),
        ("RISK_REFUSED", DeclineReason.REJECTED_BY_RISK),
        ("AGREEMENT_TERMINATED", DeclineReason.AGREEMENT_ENDED),
        ("SYSTEM_DECLINED", DeclineReason.OTHER),
    ],
)
async def test_each_reason_against_a_debit_is_told_and_nothing_is_booked(
    bank: BankHarness, connector: BankConnector, code: str, reason: DeclineReason
) -> None:
    debit = await _debit_with_fault(bank, connector, code)
    answer = await connector.debit(debit)
    assert (answer.outcome, answer.reason, answer.raw_code) == (D, reason, code)
    assert await bank.debits_booked(debit.request_number) == 0


@pytest.mark.parametrize(
    ("fault", "reason"), [("CODE_WRONG", DeclineReason.CODE_WRONG), ("CODE_EXPIRED", DeclineReason.CODE_EXPIRED)]
)
async def test_a_card_whose_codes_never_work_says_why(
    bank: BankHarness, connector: BankConnector, fault: str, reason: DeclineReason
) -> None:
    payer, application = bank.payer(("sign-confirmations", fault)), number("SG")
    await connector.apply_to_sign(SignApplication(request_number=application, elements=payer.elements))
    code = await bank.code(payer, application)
    answer = await connector.confirm_sign(
        SignConfirmation(request_number=number("SC"), application_request_number=application, code=code)
    )
    assert (answer.outcome, answer.reason) == (D, reason)


@pytest.mark.parametrize(
    "fault", ["time_out_after", "line_broken", "error_after", "answer_unsigned", "answer_unreadable"]
)
async def test_a_booked_debit_without_a_good_answer_is_unknown_and_the_query_finds_it(
    bank: BankHarness, connector: BankConnector, impatient: BankConnector, fault: str
) -> None:
    debit = await _debit_with_fault(bank, connector, fault)
    assert (await impatient.debit(debit)).outcome is U
    assert (await query_until(connector, debit.request_number, S)).amount_minor == debit.amount_minor
    assert (await connector.debit(debit)).outcome is S
    assert await bank.debits_booked(debit.request_number) == 1


@pytest.mark.parametrize("fault", ["time_out_before", "error_before"])
async def test_a_debit_that_never_arrived_is_unknown_then_not_found_and_a_resend_books_it_once(
    bank: BankHarness, connector: BankConnector, impatient: BankConnector, fault: str
) -> None:
    debit = await _debit_with_fault(bank, connector, fault)
    assert (await impatient.debit(debit)).outcome is U
    assert (await connector.query(debit.request_number)).outcome is N
    assert (await connector.debit(debit)).outcome is S
    assert await bank.debits_booked(debit.request_number) == 1


async def test_a_declined_debit_whose_answer_is_forged_into_success_is_unknown_then_declined(
    bank: BankHarness, connector: BankConnector
) -> None:
    debit = await _debit_with_fault(bank, connector, "answer_forged")
    forged = await connector.debit(debit)
    assert (forged.outcome, forged.bank_reference) == (U, None)
    assert (await connector.query(debit.request_number)).outcome is D
    assert await bank.debits_booked(debit.request_number) == 0


@pytest.mark.parametrize(("fault", "end"), [("processing_then_success", S), ("processing_then_failure", D)])
async def test_a_debit_in_process_ends_as_the_bank_decides(
    bank: BankHarness, connector: BankConnector, fault: str, end: BankOutcome
) -> None:
    debit = await _debit_with_fault(bank, connector, fault)
    assert (await connector.debit(debit)).outcome is P
    assert (await query_until(connector, debit.request_number, S, D)).outcome is end
    assert await bank.debits_booked(debit.request_number) == (1 if end is S else 0)


async def test_a_success_that_comes_long_after_the_time_out_is_found(
    bank: BankHarness, connector: BankConnector, impatient: BankConnector
) -> None:
    debit = await _debit_with_fault(bank, connector, "late_success")
    assert (await impatient.debit(debit)).outcome is U
    assert (await query_until(connector, debit.request_number, P, S, D)).outcome is P
    assert (await query_until(connector, debit.request_number, S, D)).outcome is S


async def test_a_debit_that_arrives_late_is_not_found_first_and_booked_after_all(
    bank: BankHarness, connector: BankConnector, impatient: BankConnector
) -> None:
    debit = await _debit_with_fault(bank, connector, "arrives_late")
    assert (await impatient.debit(debit)).outcome is U
    assert (await connector.query(debit.request_number)).outcome is N
    assert (await query_until(connector, debit.request_number, S)).outcome is S


async def test_a_slow_bank_is_waited_for(bank: BankHarness, connector: BankConnector) -> None:
    debit = await _debit_with_fault(bank, connector, "slow")
    assert (await connector.debit(debit)).outcome is S


async def test_an_application_that_timed_out_after_it_was_taken_in_still_leads_to_an_agreement(
    bank: BankHarness, connector: BankConnector, impatient: BankConnector
) -> None:
    payer, application = bank.payer(("sign-applications", "time_out_after")), number("SG")
    request = SignApplication(request_number=application, elements=payer.elements)
    assert (await impatient.apply_to_sign(request)).outcome is U
    assert (await query_until(connector, application, S)).code_expires_at is not None
    confirmed = await connector.confirm_sign(
        SignConfirmation(
            request_number=number("SC"),
            application_request_number=application,
            code=await bank.code(payer, application),
        )
    )
    assert confirmed.agreement_number


async def test_an_application_that_never_arrived_can_be_sent_again(
    bank: BankHarness, connector: BankConnector, impatient: BankConnector
) -> None:
    payer, application = bank.payer(("sign-applications", "time_out_before")), number("SG")
    request = SignApplication(request_number=application, elements=payer.elements)
    assert (await impatient.apply_to_sign(request)).outcome is U
    assert (await connector.query(application)).outcome is N
    assert (await connector.apply_to_sign(request)).outcome is S


async def test_the_query_brings_the_agreement_number_of_a_confirmation_that_timed_out(
    bank: BankHarness, connector: BankConnector, impatient: BankConnector
) -> None:
    payer, application = bank.payer(("sign-confirmations", "time_out_after")), number("SG")
    await connector.apply_to_sign(SignApplication(request_number=application, elements=payer.elements))
    confirmation = SignConfirmation(
        request_number=number("SC"),
        application_request_number=application,
        code=await bank.code(payer, application),
    )
    assert (await impatient.confirm_sign(confirmation)).outcome is U
    found = await query_until(connector, confirmation.request_number, S)
    assert found.agreement_number
    assert (await connector.debit(waived_debit(found.agreement_number))).outcome is S


async def test_the_query_brings_the_authorisation_of_a_verification_that_timed_out(
    bank: BankHarness, connector: BankConnector, impatient: BankConnector
) -> None:
    payer = bank.payer(("payment-code-verifications", "time_out_after"))
    debit, code_number = waived_debit(await sign(bank, connector, payer)), number("PC")
    await connector.send_payment_code(
        PaymentCodeRequest(
            request_number=code_number,
            debit_request_number=debit.request_number,
            agreement_number=debit.agreement_number,
            amount_minor=debit.amount_minor,
            currency=debit.currency,
            payee=PAYEE,
        )
    )
    verification = PaymentCodeVerification(
        request_number=number("VC"),
        code_request_number=code_number,
        code=await bank.code(payer, code_number),
    )
    assert (await impatient.verify_payment_code(verification)).outcome is U
    found = await query_until(connector, verification.request_number, S)
    answer = await connector.debit(debit.model_copy(update={"authorisation": found.authorisation}))
    assert answer.outcome is S


@pytest.mark.parametrize("fault", ["time_out_before", "time_out_after"])
async def test_a_payment_code_request_that_timed_out_can_be_sent_again_under_its_number(
    bank: BankHarness, connector: BankConnector, impatient: BankConnector, fault: str
) -> None:
    payer = bank.payer(("payment-codes", fault))
    debit = waived_debit(await sign(bank, connector, payer))
    request = PaymentCodeRequest(
        request_number=number("PC"),
        debit_request_number=debit.request_number,
        agreement_number=debit.agreement_number,
        amount_minor=debit.amount_minor,
        currency=debit.currency,
        payee=PAYEE,
    )
    assert (await impatient.send_payment_code(request)).outcome is U
    assert (await connector.send_payment_code(request)).outcome is S
    assert await bank.code(payer, request.request_number)


@pytest.mark.parametrize(
    ("fault", "first", "end"),
    [
        ("SYSTEM_DECLINED", D, D),
        ("processing_then_success", P, S),
        ("processing_then_failure", P, D),
        ("time_out_after", U, S),
        ("time_out_before", U, N),
    ],
)
async def test_a_refund_that_goes_wrong_ends_as_the_bank_decides(
    *,
    bank: BankHarness,
    connector: BankConnector,
    impatient: BankConnector,
    fault: str,
    first: BankOutcome,
    end: BankOutcome,
) -> None:
    debit = waived_debit(await sign(bank, connector, bank.payer(("refunds", fault))))
    await connector.debit(debit)
    refund = refund_of(debit, debit.amount_minor)
    answer = await (impatient if first is U else connector).refund(refund)
    assert answer.outcome is first
    assert (await query_until(connector, refund.request_number, end)).outcome is end


async def test_a_refund_that_failed_leaves_the_whole_debit_refundable(
    bank: BankHarness, connector: BankConnector
) -> None:
    debit = waived_debit(await sign(bank, connector, bank.payer(("refunds", "processing_then_failure"))))
    await connector.debit(debit)
    failing = refund_of(debit, debit.amount_minor)
    await connector.refund(failing)
    assert (await connector.refund(refund_of(debit, 1))).reason is DeclineReason.REFUND_EXCEEDS_PAYMENT
    await query_until(connector, failing.request_number, D)
    # The fault card fails every refund the same way; being taken in at all is what shows that the money is
    # free again.
    assert (await connector.refund(refund_of(debit, debit.amount_minor))).outcome is P


@pytest.mark.parametrize(
    "fault", ["error_before", "answer_unsigned", "answer_forged", "answer_unreadable", "line_broken"]
)
async def test_a_query_without_a_trustworthy_answer_is_unknown_never_not_found(
    bank: BankHarness, connector: BankConnector, fault: str
) -> None:
    never_sent = number("DB")
    await bank.order_fault("requests", fault, never_sent)
    assert (await connector.query(never_sent)).outcome is U
    assert (await until(lambda: connector.query(never_sent), lambda answer: True, 5)).outcome is N
