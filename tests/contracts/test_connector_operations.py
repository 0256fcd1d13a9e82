"""What every connector must do with a bank that behaves."""

from __future__ import annotations

import asyncio
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from domain.banking import (
    BankConnector,
    BankOutcome,
    DeclineReason,
    PaymentCodeRequest,
    PaymentCodeVerification,
    SignApplication,
    SignConfirmation,
    StatementUnavailableError,
    UnsignRequest,
)
from tests.contracts.harness import (
    PAYEE,
    BankHarness,
    authorise,
    number,
    refund_of,
    sign,
    waived_debit,
)


async def test_a_card_is_signed_with_the_texted_code(bank: BankHarness, connector: BankConnector) -> None:
    payer, application = bank.payer(), number("SG")
    applied = await connector.apply_to_sign(SignApplication(request_number=application, elements=payer.elements))
    assert applied.outcome is BankOutcome.SUCCEEDED
    assert applied.code_expires_at is not None
    assert applied.code_expires_at.tzinfo is not None
    confirmation = SignConfirmation(
        request_number=number("SC"),
        application_request_number=application,
        code=await bank.code(payer, application),
    )
    confirmed = await connector.confirm_sign(confirmation)
    assert confirmed.agreement_number
    asked = await connector.query(confirmation.request_number)
    assert (asked.outcome, asked.agreement_number) == (BankOutcome.SUCCEEDED, confirmed.agreement_number)
    assert (await connector.query(application)).outcome is BankOutcome.SUCCEEDED


async def test_a_wrong_code_costs_attempts_until_none_is_left_and_then_the_right_one_fails(
    bank: BankHarness, connector: BankConnector
) -> None:
    payer, application = bank.payer(), number("SG")
    await connector.apply_to_sign(SignApplication(request_number=application, elements=payer.elements))
    right = await bank.code(payer, application)
    wrong = f"{(int(right) + 1) % 1_000_000:06d}"
    seen = []
    for code in (wrong, wrong, wrong, right):
        answer = await connector.confirm_sign(
            SignConfirmation(request_number=number("SC"), application_request_number=application, code=code)
        )
        assert answer.agreement_number is None
        seen.append((answer.reason, answer.attempts_left))
    assert seen == [
        (DeclineReason.CODE_WRONG, 2),
        (DeclineReason.CODE_WRONG, 1),
        (DeclineReason.CODE_WRONG, 0),
        (DeclineReason.CODE_ATTEMPTS_EXHAUSTED, 0),
    ]


@pytest.mark.parametrize("mistyped", ["1234", "12345", "12345678"])
async def test_a_code_with_a_digit_too_few_or_too_many_is_a_wrong_code_and_the_right_one_is_still_good(
    bank: BankHarness, connector: BankConnector, mistyped: str
) -> None:
    payer, application = bank.payer(), number("SG")
    await connector.apply_to_sign(SignApplication(request_number=application, elements=payer.elements))
    right = await bank.code(payer, application)
    seen = []
    for code in (mistyped, right):
        answer = await connector.confirm_sign(
            SignConfirmation(request_number=number("SC"), application_request_number=application, code=code)
        )
        seen.append((answer.outcome, answer.reason))
    assert seen == [(BankOutcome.DECLINED, DeclineReason.CODE_WRONG), (BankOutcome.SUCCEEDED, None)]


async def test_a_code_is_good_for_one_agreement_only(bank: BankHarness, connector: BankConnector) -> None:
    payer, application = bank.payer(), number("SG")
    await connector.apply_to_sign(SignApplication(request_number=application, elements=payer.elements))
    code = await bank.code(payer, application)
    answers = [
        await connector.confirm_sign(
            SignConfirmation(request_number=number("SC"), application_request_number=application, code=code)
        )
        for _ in range(2)
    ]
    assert [answer.outcome for answer in answers] == [BankOutcome.SUCCEEDED, BankOutcome.DECLINED]


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("name", "陈大满", DeclineReason.NAME_MISMATCH),
        ("id_number", "110101199003078881", DeclineReason.ID_NUMBER_MISMATCH),
        ("mobile", "13900000000", DeclineReason.MOBILE_MISMATCH),
    ],
)
async def test_elements_that_differ_from_the_banks_records_are_declined_with_the_reason(
    bank: BankHarness, connector: BankConnector, field: str, value: str, reason: DeclineReason
) -> None:
    payer = bank.payer()
    await sign(bank, connector, payer)
    other = payer.elements.model_copy(update={field: value})
    answer = await connector.apply_to_sign(SignApplication(request_number=number("SG"), elements=other))
    assert (answer.outcome, answer.reason) == (BankOutcome.DECLINED, reason)


async def test_a_card_number_with_a_wrong_check_digit_is_declined(bank: BankHarness, connector: BankConnector) -> None:
    elements = bank.payer().elements
    last = (int(elements.card_number[-1]) + 1) % 10
    wrong = elements.model_copy(update={"card_number": f"{elements.card_number[:-1]}{last}"})
    answer = await connector.apply_to_sign(SignApplication(request_number=number("SG"), elements=wrong))
    assert answer.reason is DeclineReason.CARD_NUMBER_INVALID


async def test_a_debit_with_code_brings_reference_time_and_amount(bank: BankHarness, connector: BankConnector) -> None:
    payer = bank.payer()
    debit = waived_debit(await sign(bank, connector, payer), 12_345)
    answer = await connector.debit(await authorise(bank, connector, payer, debit))
    assert (answer.outcome, answer.amount_minor) == (BankOutcome.SUCCEEDED, 12_345)
    assert answer.bank_reference
    assert answer.booked_at is not None
    assert await connector.query(debit.request_number) == answer
    assert await bank.debits_booked(debit.request_number) == 1


async def test_an_authorisation_is_good_for_its_own_debit_only_and_only_once(
    bank: BankHarness, connector: BankConnector
) -> None:
    payer = bank.payer()
    debit = await authorise(bank, connector, payer, waived_debit(await sign(bank, connector, payer)))
    for change in (
        {"request_number": number("DB")},
        {"request_number": number("DB"), "amount_minor": debit.amount_minor + 1},
        {"request_number": number("DB"), "payee": "另一家店"},
    ):
        stolen = await connector.debit(debit.model_copy(update=change))
        assert (stolen.outcome, stolen.reason) == (BankOutcome.DECLINED, DeclineReason.AUTHORISATION_INVALID)
    assert (await connector.debit(debit)).outcome is BankOutcome.SUCCEEDED
    again = await connector.debit(debit.model_copy(update={"request_number": number("DB")}))
    assert again.reason is DeclineReason.AUTHORISATION_INVALID
    assert await bank.debits_booked(debit.request_number) == 1


async def test_an_authorisation_does_not_fit_another_amount_under_its_own_number(
    bank: BankHarness, connector: BankConnector
) -> None:
    payer = bank.payer()
    debit = await authorise(bank, connector, payer, waived_debit(await sign(bank, connector, payer)))
    dearer = await connector.debit(debit.model_copy(update={"amount_minor": debit.amount_minor + 1}))
    assert dearer.reason is DeclineReason.AUTHORISATION_INVALID
    assert await bank.debits_booked(debit.request_number) == 0


async def test_a_resent_payment_code_replaces_the_earlier_one(bank: BankHarness, connector: BankConnector) -> None:
    payer = bank.payer()
    agreement, debit_number = await sign(bank, connector, payer), number("DB")
    sent = []
    for _ in range(2):
        request = PaymentCodeRequest(
            request_number=number("PC"),
            debit_request_number=debit_number,
            agreement_number=agreement,
            amount_minor=100,
            currency="CNY",
            payee=PAYEE,
        )
        await connector.send_payment_code(request)
        sent.append((request.request_number, await bank.code(payer, request.request_number)))
    answers = [
        await connector.verify_payment_code(
            PaymentCodeVerification(request_number=number("VC"), code_request_number=code_number, code=code)
        )
        for code_number, code in sent
    ]
    assert answers[0].reason is DeclineReason.CODE_EXPIRED
    assert answers[1].authorisation is not None


async def test_one_number_sent_fifty_times_at_once_is_debited_once(bank: BankHarness, connector: BankConnector) -> None:
    debit = waived_debit(await sign(bank, connector, bank.payer()))
    answers = await asyncio.gather(*(connector.debit(debit) for _ in range(50)))
    assert {answer.outcome for answer in answers} == {BankOutcome.SUCCEEDED}
    assert len({answer.bank_reference for answer in answers}) == 1
    assert await bank.debits_booked(debit.request_number) == 1


async def test_a_used_number_with_other_content_is_refused_and_the_first_stays(
    bank: BankHarness, connector: BankConnector
) -> None:
    debit = waived_debit(await sign(bank, connector, bank.payer()))
    first = await connector.debit(debit)
    other = await connector.debit(debit.model_copy(update={"amount_minor": debit.amount_minor + 1}))
    assert (other.outcome, other.reason) == (BankOutcome.DECLINED, DeclineReason.REQUEST_NUMBER_REUSED)
    assert await connector.query(debit.request_number) == first


async def test_a_number_the_bank_never_saw_is_not_found(connector: BankConnector) -> None:
    assert (await connector.query(number("DB"))).outcome is BankOutcome.NOT_FOUND


async def test_a_debit_over_the_balance_is_declined_and_moves_nothing(
    bank: BankHarness, connector: BankConnector
) -> None:
    debit = waived_debit(await sign(bank, connector, bank.payer()), 1_000_001)
    answer = await connector.debit(debit)
    assert (answer.outcome, answer.reason) == (BankOutcome.DECLINED, DeclineReason.INSUFFICIENT_FUNDS)
    assert await bank.debits_booked(debit.request_number) == 0


async def test_racing_debits_never_take_more_than_the_balance(bank: BankHarness, connector: BankConnector) -> None:
    agreement = await sign(bank, connector, bank.payer())
    answers = await asyncio.gather(*(connector.debit(waived_debit(agreement, 300_000)) for _ in range(10)))
    assert sum(answer.outcome is BankOutcome.SUCCEEDED for answer in answers) == 3
    assert sum(answer.reason is DeclineReason.INSUFFICIENT_FUNDS for answer in answers) == 7


async def test_racing_refunds_never_give_back_more_than_was_debited(
    bank: BankHarness, connector: BankConnector
) -> None:
    debit = waived_debit(await sign(bank, connector, bank.payer()), 1_000)
    await connector.debit(debit)
    answers = await asyncio.gather(*(connector.refund(refund_of(debit, 300)) for _ in range(10)))
    assert sum(answer.outcome is BankOutcome.SUCCEEDED for answer in answers) == 3
    assert sum(answer.reason is DeclineReason.REFUND_EXCEEDS_PAYMENT for answer in answers) == 7
    rest = await connector.refund(refund_of(debit, 100))
    assert rest.outcome is BankOutcome.SUCCEEDED


async def test_a_refund_of_a_debit_that_never_was_is_declined(connector: BankConnector) -> None:
    never = waived_debit("NOAGREEMENT0000001")
    assert (await connector.refund(refund_of(never, 1))).reason is DeclineReason.PAYMENT_NOT_FOUND


async def test_an_ended_agreement_takes_no_debit_and_ends_twice_without_complaint(
    bank: BankHarness, connector: BankConnector
) -> None:
    agreement = await sign(bank, connector, bank.payer())
    for _ in range(2):
        ended = await connector.unsign(UnsignRequest(request_number=number("US"), agreement_number=agreement))
        assert ended.outcome is BankOutcome.SUCCEEDED
    assert (await connector.debit(waived_debit(agreement))).reason is DeclineReason.AGREEMENT_ENDED


async def test_an_unknown_agreement_takes_no_debit(connector: BankConnector) -> None:
    assert (await connector.debit(waived_debit("NOAGREEMENT0000001"))).reason is DeclineReason.AGREEMENT_NOT_FOUND


async def test_the_statement_lists_what_was_booked_with_its_sign(bank: BankHarness, connector: BankConnector) -> None:
    debit = waived_debit(await sign(bank, connector, bank.payer()), 700)
    refund = refund_of(debit, 200)
    answers = [await connector.debit(debit), await connector.refund(refund)]
    day = datetime.now(ZoneInfo("Asia/Shanghai")).date()
    lines = {line.request_number: line async for line in connector.statement(day)}
    assert lines[debit.request_number].amount_minor == 700
    assert lines[refund.request_number].amount_minor == -200
    assert [
        lines[debit.request_number].bank_reference,
        lines[refund.request_number].bank_reference,
    ] == [answer.bank_reference for answer in answers]


async def test_a_statement_of_the_future_is_unavailable(connector: BankConnector) -> None:
    future = datetime(2099, 1, 1, tzinfo=ZoneInfo("Asia/Shanghai")).date()
    with pytest.raises(StatementUnavailableError):
        [line async for line in connector.statement(future)]
