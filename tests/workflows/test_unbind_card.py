"""Every branch of unbinding a card: it has ended when the issuer says so, and pays nothing meanwhile."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from temporalio.common import RetryPolicy

from domain.banking import DeclineReason
from domain.errors import RefusedError
from domain.identifiers import BankStep, request_number
from tests.workflows.conftest import House
from tests.workflows.scripted_bank import NOT_FOUND, SUCCEEDED, UNKNOWN, declined
from workflows import policies


async def unbinding(house: House) -> dict[str, Any]:
    return await house.accept_unbinding(house.books.binding_id)


async def test_an_agreement_that_the_issuer_ends_unbinds_the_card(house: House) -> None:
    binding = await unbinding(house)
    assert (await house.unbind(binding)).state == "unbound"
    [request] = house.bank.asked("unsign")
    assert (request.request_number, request.agreement_number) == (
        request_number(BankStep.UNSIGN, binding["id"]), "AG-1",
    )  # fmt: skip
    found = await house.view("binding", binding["id"])
    assert (found["state"], found["waiting_for"]) == ("unbound", None)
    assert await house.events(binding["id"]) == ["binding.unbinding", "binding.unbound"]


@pytest.mark.parametrize("reason", [DeclineReason.AGREEMENT_ENDED, DeclineReason.AGREEMENT_NOT_FOUND])
async def test_an_agreement_that_had_ended_at_the_issuer_unbinds_the_card(house: House, reason: DeclineReason) -> None:
    house.bank.script("unsign", declined(reason))
    assert (await house.unbind(await unbinding(house))).state == "unbound"


async def test_an_issuer_that_is_silent_for_three_days_is_asked_until_it_answers(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policies, "PATIENTLY", RetryPolicy(initial_interval=timedelta(hours=1)))
    house.bank.script("unsign", UNKNOWN)
    house.bank.script("query", *[UNKNOWN] * 7, SUCCEEDED)
    binding = await unbinding(house)
    assert (await house.unbind(binding)).state == "unbound"
    ended = datetime.fromisoformat((await house.view("binding", binding["id"]))["state_since"])
    assert ended - datetime.fromisoformat(binding["state_since"]) > timedelta(days=3)
    assert len(house.bank.asked("unsign")) == 1


async def test_a_request_that_never_arrived_is_sent_again_under_the_same_number(house: House) -> None:
    house.bank.script("unsign", UNKNOWN, SUCCEEDED)
    house.bank.script("query", NOT_FOUND)
    assert (await house.unbind(await unbinding(house))).state == "unbound"
    first, second = house.bank.asked("unsign")
    assert first == second


async def test_an_issuers_no_waits_for_an_operator_and_is_tried_anew_under_another_number(house: House) -> None:
    house.bank.script("unsign", declined(DeclineReason.OTHER), declined(DeclineReason.REJECTED_BY_RISK), SUCCEEDED)
    binding = await unbinding(house)
    assert (await house.unbind(binding)).state == "unbound"
    # The issuer answers a number that it has refused with the same no for ever.
    numbers = [request.request_number for request in house.bank.asked("unsign")]
    assert numbers == [request_number(BankStep.UNSIGN, binding["id"], attempt) for attempt in range(3)]
    refused = await house.books.value(
        "SELECT array_agg(reason ORDER BY id) FROM app.operation WHERE action = 'unbind_card' AND outcome = 'failed'"
    )
    assert refused == ["other", "rejected_by_risk"]


async def test_while_an_operator_is_needed_the_card_says_so(house: House) -> None:
    house.bank.script("unsign", declined(DeclineReason.OTHER))
    binding = await unbinding(house)
    await house.processes.unbind_card(house.binding_order(binding, await house.now()))
    await house.until("SELECT wait_reason FROM app.binding", "operator")
    waiting = (await house.view("binding", binding["id"]))["waiting_for"]
    assert (waiting["reason"], waiting["until"] is not None) == ("operator", True)


async def test_a_card_that_is_being_unbound_pays_nothing(house: House) -> None:
    await unbinding(house)
    with pytest.raises(RefusedError, match="BINDING_NOT_OPEN"):
        await house.accept()


async def test_unbinding_twice_ends_one_agreement_once(house: House) -> None:
    binding = await unbinding(house)
    await house.unbind(binding)
    assert (await unbinding(house))["state"] == "unbound"
    await house.unbind(binding)
    assert len(house.bank.asked("unsign")) == 1
