"""Every branch of binding a card: only the issuer's confirmation opens it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from domain.banking import BankAnswer, DeclineReason, SignApplication
from domain.errors import ConflictError
from domain.identifiers import BankStep, request_number
from tests.storage.books import BANK, ELEMENTS
from tests.workflows.conftest import House
from tests.workflows.scripted_bank import NOT_FOUND, PROCESSING, SUCCEEDED, UNKNOWN, declined
from workflows import names
from workflows.messages import CodeResendMessage
from workflows.starting import binding_order

Binding = dict[str, Any]
ISSUERS_NO = (
    DeclineReason.NAME_MISMATCH,
    DeclineReason.ID_NUMBER_MISMATCH,
    DeclineReason.CARD_NUMBER_INVALID,
    DeclineReason.MOBILE_MISMATCH,
    DeclineReason.CARD_NOT_SUPPORTED,
    DeclineReason.CARD_LOST_OR_FROZEN,
    DeclineReason.REJECTED_BY_RISK,
    DeclineReason.OTHER,
)
STATE = "SELECT state FROM app.binding WHERE id = :id"


async def awaiting_code(house: House) -> Binding:
    """An application whose code has been texted."""
    binding = await house.accept_binding()
    await house.begin_to_bind(binding)
    await house.until(STATE, "awaiting_code", id=binding["id"])
    return binding


async def type_right_code(house: House, binding: Binding, *, tell: bool = True) -> None:
    agreement = await house.books.bank_vault.seal_agreement(house.books.user_id, "AG-2")
    attempt = await house.type_code("binding", binding["id"], "confirmed", agreement=agreement)
    if tell:
        await house.tell("binding", binding["id"], attempt, "confirmed")


async def end_of(house: House, binding: Binding) -> tuple[str, str | None]:
    result = await house.end_of(names.Process.BIND_CARD, binding["id"])
    return result.state, result.reason


async def agreement_of(house: House, binding: Binding) -> str:
    """The agreement number that a debit on this binding would use."""
    [row] = [
        dict(row)
        for row in (
            await house.books.value(
                "SELECT vault.open_one(jsonb_build_object('user_id', b.user_id, 'actor', 'test', 'at', now(), 'tokens',"
                " jsonb_build_array(b.agreement_token), 'purpose', 'execute_instruction', 'allowed_fields',"
                " '[\"agreement_number\"]'::jsonb)) FROM app.binding b WHERE id = :id",
                id=binding["id"],
            )
        )["items"]
    ]
    return await house.books.bank_vault.open_agreement(house.books.user_id, [row])


async def test_a_card_opens_when_the_issuer_confirms_the_payers_code(house: House) -> None:
    await house.books.run("UPDATE app.end_user SET person_index = NULL")
    binding = await awaiting_code(house)
    waiting = (await house.view("binding", binding["id"]))["waiting_for"]
    assert (waiting["reason"], waiting["until"] is not None, waiting["deadline"] is not None) == (
        "payer_code", True, True,
    )  # fmt: skip
    await type_right_code(house, binding)
    assert await end_of(house, binding) == ("open", None)
    found = await house.view("binding", binding["id"])
    assert (found["state"], found["reason"], found["waiting_for"]) == ("open", None, None)
    assert await agreement_of(house, binding) == "AG-2"
    assert await house.books.value("SELECT person_index FROM app.end_user") == "person-1"
    assert await house.events(binding["id"]) == ["binding.accepted", "binding.code_sent", "binding.opened"]


async def test_exactly_the_four_elements_reach_the_issuer_and_the_disclosure_is_on_record_before(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_record: list[Any] = []

    async def look_before_answering(request: SignApplication) -> BankAnswer:
        row = await house.books.value(
            "SELECT to_jsonb(d) FROM vault.disclosure d WHERE request_number = :number", number=request.request_number
        )
        on_record.append((request, row))
        return declined(DeclineReason.OTHER)

    monkeypatch.setattr(house.bank, "apply_to_sign", look_before_answering)
    binding = await house.accept_binding()
    await house.bind(binding)
    [(request, row)] = on_record
    assert request.elements.model_dump() == ELEMENTS
    assert request.request_number == request_number(BankStep.SIGN, binding["id"])
    assert (row["recipient"], row["role"], row["operation"]) == (BANK, "domestic_bank", "sign_application")
    assert sorted(row["fields"]) == sorted(ELEMENTS)
    assert (row["purpose"], row["ground"], row["cross_border"]) == ("quick_pay", "necessary_for_service", False)


async def test_an_issuers_no_declines_the_application_with_its_reason(house: House) -> None:
    for reason in ISSUERS_NO:
        house.bank.script("apply_to_sign", declined(reason))
        binding = await house.accept_binding()
        result = await house.bind(binding)
        assert (result.state, result.reason) == ("declined", reason.value)
        found = await house.view("binding", binding["id"])
        assert (found["state"], found["reason"], found["waiting_for"]) == ("declined", reason.value, None)


@pytest.mark.parametrize("silence", [UNKNOWN, PROCESSING], ids=["silent", "processing"])
async def test_an_issuer_that_never_says_yes_lets_the_application_expire(house: House, silence: BankAnswer) -> None:
    house.bank.script("apply_to_sign", silence)
    house.bank.script("query", silence)
    binding = await house.accept_binding()
    result = await house.bind(binding)
    assert (result.state, result.reason) == ("expired", "issuer_gave_no_answer")
    assert len(house.bank.asked("apply_to_sign")) == 1
    assert await house.books.value("SELECT agreement_token FROM app.binding WHERE id = :id", id=binding["id"]) is None


async def test_an_application_that_could_not_even_be_claimed_ends_at_its_deadline(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(command: object) -> None:
        raise ConnectionError("the database is away")

    monkeypatch.setattr(house.books.instructions, "claim_effect", away)
    house.bank.script("query", UNKNOWN)
    binding = await house.accept_binding()
    result = await house.bind(binding)
    assert (result.state, result.reason) == ("expired", "issuer_gave_no_answer")
    assert house.bank.asked("apply_to_sign") == []


async def test_an_application_of_which_nothing_was_heard_is_asked_about(house: House) -> None:
    house.bank.script("apply_to_sign", UNKNOWN)
    house.bank.script("query", UNKNOWN, PROCESSING, SUCCEEDED)
    binding = await house.accept_binding()
    await house.begin_to_bind(binding)
    await house.until(STATE, "awaiting_code", id=binding["id"])
    assert len(house.bank.asked("apply_to_sign")) == 1
    assert await end_of(house, binding) == ("expired", "no_right_code_in_time")


async def test_an_application_that_never_arrived_is_sent_again_under_the_same_number(house: House) -> None:
    house.bank.script("apply_to_sign", UNKNOWN, SUCCEEDED)
    house.bank.script("query", NOT_FOUND)
    binding = await awaiting_code(house)
    first, second = house.bank.asked("apply_to_sign")
    assert first == second
    await type_right_code(house, binding)
    assert await end_of(house, binding) == ("open", None)


async def test_an_application_without_a_right_code_expires_and_frees_the_card(house: House) -> None:
    binding = await awaiting_code(house)
    assert await end_of(house, binding) == ("expired", "no_right_code_in_time")
    assert (await house.accept_binding())["state"] == "accepted"


async def test_a_wrong_code_leaves_the_application_waiting_for_the_right_one(house: House) -> None:
    binding = await awaiting_code(house)
    attempt = await house.type_code("binding", binding["id"], "wrong")
    await house.tell("binding", binding["id"], attempt, "wrong")
    assert (await house.view("binding", binding["id"]))["state"] == "awaiting_code"
    await type_right_code(house, binding)
    assert await end_of(house, binding) == ("open", None)


async def test_an_issuers_final_no_to_a_code_declines_the_application(house: House) -> None:
    binding = await awaiting_code(house)
    attempt = await house.type_code("binding", binding["id"], "declined", reason="card_lost_or_frozen")
    await house.tell("binding", binding["id"], attempt, "declined")
    assert await end_of(house, binding) == ("declined", "issuer_declined_code")


async def test_another_code_comes_under_a_number_of_its_own_and_its_verdict_opens_the_card(house: House) -> None:
    binding = await awaiting_code(house)
    assert await house.processes.tell_resend("binding", binding["id"], CodeResendMessage(attempt=1))
    assert await house.processes.tell_resend("binding", binding["id"], CodeResendMessage(attempt=1))
    await house.until("SELECT count(*) FROM app.effect WHERE step = 'SG' AND outcome = 'succeeded'", 2)
    first, second = house.bank.asked("apply_to_sign")
    assert second.request_number == first.request_number + "01"
    assert second.elements == first.elements
    await type_right_code(house, binding)
    assert await end_of(house, binding) == ("open", None)


async def test_an_issuer_that_will_not_send_another_code_ends_the_application(house: House) -> None:
    house.bank.script("apply_to_sign", SUCCEEDED, declined(DeclineReason.REJECTED_BY_RISK))
    binding = await awaiting_code(house)
    await house.processes.tell_resend("binding", binding["id"], CodeResendMessage(attempt=1))
    assert await end_of(house, binding) == ("declined", "issuer_declined_code")


async def test_a_right_code_counts_although_another_was_asked_for_at_the_same_time(house: House) -> None:
    binding = await awaiting_code(house)
    await type_right_code(house, binding, tell=False)
    assert await house.processes.tell_resend("binding", binding["id"], CodeResendMessage(attempt=1))
    assert await end_of(house, binding) == ("open", None)
    assert (await house.view("binding", binding["id"]))["state"] == "open"
    assert len(house.bank.asked("apply_to_sign")) == 1


async def test_a_verdict_that_was_lost_in_a_crash_is_learned_and_opens_the_card_with_its_agreement(
    house: House,
) -> None:
    binding = await awaiting_code(house)
    attempt = await house.type_code("binding", binding["id"], None)
    house.bank.script("query", UNKNOWN, SUCCEEDED.model_copy(update={"agreement_number": "AG-3"}))
    await house.tell("binding", binding["id"], attempt, None)
    assert await end_of(house, binding) == ("open", None)
    assert await agreement_of(house, binding) == "AG-3"


async def test_a_code_confirmed_just_before_a_crash_opens_the_card_even_at_the_deadline(house: House) -> None:
    binding = await awaiting_code(house)
    await house.type_code("binding", binding["id"], None)
    house.bank.script("query", *[UNKNOWN] * 5, SUCCEEDED.model_copy(update={"agreement_number": "AG-4"}))
    assert await end_of(house, binding) == ("open", None)
    assert await agreement_of(house, binding) == "AG-4"


async def test_an_attempt_that_never_reached_the_issuer_is_lost_and_the_application_expires(house: House) -> None:
    binding = await awaiting_code(house)
    await house.type_code("binding", binding["id"], None)
    house.bank.script("query", NOT_FOUND)
    assert await end_of(house, binding) == ("expired", "no_right_code_in_time")
    assert await house.books.value("SELECT verdict FROM app.code_attempt") == "lost"


async def test_a_code_typed_in_the_instant_of_the_deadline_is_waited_for(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    binding = await awaiting_code(house)
    real, typed = house.books.instructions.settle, False

    async def typed_meanwhile(settlement: Any) -> str | None:
        nonlocal typed
        if not typed and settlement.state == "expired":
            typed = True
            await house.type_code("binding", binding["id"], None)
        return await real(settlement)

    monkeypatch.setattr(house.books.instructions, "settle", typed_meanwhile)
    house.bank.code_lifetime = timedelta(days=1)
    await house.books.run("UPDATE app.binding SET code_expires_at = code_expires_at + interval '1 day'")
    house.bank.script("query", UNKNOWN, SUCCEEDED.model_copy(update={"agreement_number": "AG-5"}))
    assert await end_of(house, binding) == ("open", None)
    assert await agreement_of(house, binding) == "AG-5"


async def test_a_forged_update_opens_nothing(house: House) -> None:
    binding = await awaiting_code(house)
    await house.tell("binding", binding["id"], "att_forged", "confirmed")
    assert await end_of(house, binding) == ("expired", "no_right_code_in_time")
    assert await house.books.value("SELECT agreement_token FROM app.binding WHERE id = :id", id=binding["id"]) is None


async def test_a_forged_no_ends_nothing(house: House) -> None:
    binding = await awaiting_code(house)
    await house.tell("binding", binding["id"], "att_forged", "declined")
    await type_right_code(house, binding)
    assert await end_of(house, binding) == ("open", None)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        ("UPDATE app.end_user SET state = 'suspended'", "user_not_active"),
        ("UPDATE app.partner SET enabled = false", "partner_not_available"),
    ],
)
async def test_what_comes_in_the_way_keeps_the_elements_here(house: House, spoil: str, reason: str) -> None:
    binding = await house.accept_binding()
    await house.books.run(spoil)
    result = await house.bind(binding)
    assert (result.state, result.reason) == ("declined", reason)
    assert house.bank.asked("apply_to_sign") == []
    assert await house.books.value("SELECT count(*) FROM vault.disclosure") == 0


async def test_two_applications_for_one_card_at_once_become_one(house: House) -> None:
    answers = await asyncio.gather(*(house.accept_binding() for _ in range(5)), return_exceptions=True)
    [accepted] = [answer for answer in answers if isinstance(answer, dict)]
    refused = [answer for answer in answers if isinstance(answer, ConflictError)]
    assert {error.code.value for error in refused} == {"BINDING_IN_PROGRESS"}
    assert len(refused) == 4
    assert {error.subject_id for error in refused} == {accepted["id"]}


async def test_a_second_start_of_the_same_application_finds_the_first(house: House) -> None:
    binding = await awaiting_code(house)
    await house.begin_to_bind(binding)
    await type_right_code(house, binding)
    assert await end_of(house, binding) == ("open", None)
    await house.begin_to_bind(binding)
    assert len(house.bank.asked("apply_to_sign")) == 1


async def test_an_application_that_is_found_after_its_deadline_discloses_nothing(house: House) -> None:
    binding = await house.accept_binding()
    order = binding_order(binding, house.books.merchant_id, await house.now() - timedelta(seconds=1))
    await house.processes.bind_card(order)
    assert await end_of(house, binding) == ("expired", "not_started_in_time")
    assert house.bank.calls == []
    assert await house.books.value("SELECT count(*) FROM vault.disclosure") == 0
