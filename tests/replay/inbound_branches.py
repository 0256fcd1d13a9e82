"""Branches of what arrives in foreign currency, goes back, or is above a quota; registered like the others."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from domain.banking import DeclineReason
from tests.replay.branches import P
from tests.replay.fx_branches import branch
from tests.storage.fx_books import OVERSEAS
from tests.workflows.fx_house import FxHouse
from tests.workflows.test_open_receiving_account import ACCOUNT, accepted, consent, give_to_another

R = DeclineReason
REFERENCE = "IN0000009001"
RETURN_WAITS = "SELECT wait_reason FROM app.inbound_return WHERE id = :id"
ACCOUNT_WAITS = "SELECT wait_reason FROM app.receiving_account WHERE id = :id"

# Returns


async def _return(house: FxHouse) -> str:
    house.desk.weather.append(R.FX_REFUSED_BY_POLICY)
    fx = await house.mandated()
    await house.begin(fx, "refused")
    return str((await house.fx.dispose(fx["id"], "return", await house.now()))["return_id"])


async def _returned(house: FxHouse, *weather: Any) -> str:
    return_id = await _return(house)
    house.overseas.weather.extend(weather)
    await house.return_(return_id)
    return return_id


@branch(P.RETURN_INBOUND)
async def returned(house: FxHouse) -> str:
    return await _returned(house)


@branch(P.RETURN_INBOUND)
async def not_returned(house: FxHouse) -> str:
    return await _returned(house, R.RETURN_EXCEEDS_REMITTANCE)


@branch(P.RETURN_INBOUND)
async def never_arrived_and_returned(house: FxHouse) -> str:
    return await _returned(house, "lost")


@branch(P.RETURN_INBOUND)
async def stopped_and_returned(house: FxHouse) -> str:
    return_id = await _return(house)
    await house.switch(OVERSEAS, on=False)
    await house.begin_return(return_id)
    await house.come_to(RETURN_WAITS, "partner", {"id": return_id})
    await house.switch(OVERSEAS, on=True)
    await house.end_of(P.RETURN_INBOUND, return_id)
    return return_id


@branch(P.RETURN_INBOUND)
async def without_an_answer_and_concluded(house: FxHouse) -> str:
    house.overseas.capabilities = house.overseas.capabilities.model_copy(
        update={"remembers_request_numbers_seconds": 7200}
    )
    return_id = await _return(house)
    house.overseas.weather.append("processing")
    await house.begin_return(return_id)
    await house.come_to(RETURN_WAITS, "bank_answer", {"id": return_id})
    await house.env.sleep(timedelta(hours=2))
    house.overseas.forget(house.overseas.numbers[0])
    await house.come_to(RETURN_WAITS, "operator", {"id": return_id})
    assert await house.conclude("inbound_return", return_id)
    await house.end_of(P.RETURN_INBOUND, return_id)
    return return_id


# Receiving accounts


async def _account(house: FxHouse, *weather: Any) -> str:
    await consent(house)
    account = await accepted(house)
    house.overseas.weather.extend(weather)
    await house.begin_account(account)
    await house.end_of(P.OPEN_RECEIVING_ACCOUNT, account["id"])
    return str(account["id"])


@branch(P.OPEN_RECEIVING_ACCOUNT)
async def opened(house: FxHouse) -> str:
    return await _account(house)


@branch(P.OPEN_RECEIVING_ACCOUNT)
async def declined(house: FxHouse) -> str:
    return await _account(house, R.NAME_MISMATCH)


@branch(P.OPEN_RECEIVING_ACCOUNT)
async def number_of_another_user(house: FxHouse) -> str:
    await give_to_another(house)
    return await _account(house)


@branch(P.OPEN_RECEIVING_ACCOUNT)
async def unheard_and_its_number_learned_later(house: FxHouse) -> str:
    return await _account(house, "unheard")


@branch(P.OPEN_RECEIVING_ACCOUNT)
async def without_an_answer_for_days(house: FxHouse) -> str:
    await consent(house)
    account = await accepted(house)
    house.overseas.weather.append("dealt_then_silent")
    await house.begin_account(account)
    await house.come_to(ACCOUNT_WAITS, "operator", account)
    house.overseas.silent = False
    await house.end_of(P.OPEN_RECEIVING_ACCOUNT, account["id"])
    return str(account["id"])


@branch(P.OPEN_RECEIVING_ACCOUNT)
async def stopped_and_opened(house: FxHouse) -> str:
    await consent(house)
    account = await accepted(house)
    await house.switch(OVERSEAS, on=False)
    await house.begin_account(account)
    await house.come_to(ACCOUNT_WAITS, "partner", account)
    await house.switch(OVERSEAS, on=True)
    await house.come_to(ACCOUNT, "open", account)
    return str(account["id"])


@branch(P.OPEN_RECEIVING_ACCOUNT)
async def contract_over(house: FxHouse) -> str:
    await consent(house)
    account = await accepted(house)
    await house.books.run("UPDATE app.export_contract SET valid_until = '2020-01-01'")
    await house.begin_account(account)
    await house.end_of(P.OPEN_RECEIVING_ACCOUNT, account["id"])
    return str(account["id"])


# What banks announce


async def _announced(house: FxHouse) -> str:
    assert await house.announce(REFERENCE)
    assert await house.processes.receive_inbound(OVERSEAS, REFERENCE)
    await house.end_of(P.RECEIVE_INBOUND, f"{OVERSEAS}-{REFERENCE}")
    return f"{OVERSEAS}-{REFERENCE}"


@branch(P.RECEIVE_INBOUND)
async def credited(house: FxHouse) -> str:
    await house.remittance(REFERENCE)
    return await _announced(house)


@branch(P.RECEIVE_INBOUND)
async def in_suspense(house: FxHouse) -> str:
    await house.remittance(REFERENCE, receiver_name="TEST YI")
    return await _announced(house)


@branch(P.RECEIVE_INBOUND)
async def unknown_to_the_bank(house: FxHouse) -> str:
    return await _announced(house)


@branch(P.RECEIVE_INBOUND)
async def something_else_than_before(house: FxHouse) -> str:
    await house.remittance(REFERENCE)
    await _announced(house)
    await house.remittance(REFERENCE, 100_001)
    assert await house.processes.receive_inbound(OVERSEAS, REFERENCE)
    await house.end_of(P.RECEIVE_INBOUND, f"{OVERSEAS}-{REFERENCE}")
    return f"{OVERSEAS}-{REFERENCE}"


async def _excess(house: FxHouse, *, shows_after: timedelta | None) -> str:
    fx = await house.dealt()
    if shows_after == timedelta(0):
        house.desk.found_excess[house.number(fx)] = 40_000
    assert await house.processes.learn_excess(fx["id"])
    if shows_after:
        await house.env.sleep(shows_after)
        house.desk.found_excess[house.number(fx)] = 40_000
    await house.end_of(P.LEARN_EXCESS, fx["id"])
    return str(fx["id"])


@branch(P.LEARN_EXCESS)
async def shown_at_once(house: FxHouse) -> str:
    return await _excess(house, shows_after=timedelta(0))


@branch(P.LEARN_EXCESS)
async def shown_later(house: FxHouse) -> str:
    return await _excess(house, shows_after=timedelta(minutes=20))


@branch(P.LEARN_EXCESS)
async def never_shown(house: FxHouse) -> str:
    return await _excess(house, shows_after=None)


@branch(P.LEARN_EXCESS)
async def announced_once_more(house: FxHouse) -> str:
    fx = await house.dealt()
    assert await house.processes.learn_excess(fx["id"])
    await house.env.sleep(timedelta(minutes=10))
    assert await house.processes.learn_excess(fx["id"])
    await house.env.sleep(timedelta(minutes=5))
    house.desk.found_excess[house.number(fx)] = 40_000
    await house.end_of(P.LEARN_EXCESS, fx["id"])
    return str(fx["id"])
