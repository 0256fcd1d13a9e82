"""Closing at the banks: agreements end, silence is asked about, and whoever got data is told (P4.2b, P4.5c)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from temporalio.common import RetryPolicy

from domain.banking import MOST_NUMBERS_OF_A_NOTICE, DeclineReason, ErasureOutcome, ErasureReply
from tests.conftest import Database
from tests.storage.books import BANK, OTHER_BANK
from tests.workflows.closing_house import ClosingHouse, open_closing_house
from tests.workflows.scripted_bank import ERASED, SUCCEEDED, UNKNOWN, declined
from workflows import policies

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
RECEIVED = ErasureReply(outcome=ErasureOutcome.RECEIVED)
KEPT = ErasureReply(outcome=ErasureOutcome.KEPT, kept_reason="law")
REFUSED = ErasureReply(outcome=ErasureOutcome.DECLINED, reason=DeclineReason.OTHER)
REUSED = ErasureReply(outcome=ErasureOutcome.DECLINED, reason=DeclineReason.REQUEST_NUMBER_REUSED)
NOT_FOUND = ErasureReply(outcome=ErasureOutcome.NOT_FOUND)
SILENT = ErasureReply(outcome=ErasureOutcome.UNKNOWN)


@pytest.fixture
async def at(database: Database) -> AsyncIterator[ClosingHouse]:
    async with open_closing_house(database) as opened:
        yield opened


async def until(at: ClosingHouse, closure: str, **notices: str) -> None:
    """Until the recipients have replied so; no time is skipped."""
    for _ in range(600):
        if (found := await at.notices(closure)) == notices:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"{found}, not {notices}")


async def test_an_unsign_that_a_bank_answers_with_silence_for_three_days_is_asked_about_until_it_is_known(
    at: ClosingHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P4.5c: nobody is forgotten whose agreement may still be in force."""
    monkeypatch.setattr(policies, "PATIENTLY", RetryPolicy(initial_interval=HOUR, maximum_interval=6 * HOUR))
    at.bank.script("unsign", UNKNOWN)
    at.bank.script("query", UNKNOWN)
    closure = await at.begun()
    await at.until(closure, "unsigning")
    await at.seen(closure, "agreement")
    await at.bank.was_asked("unsign")
    await at.sleep(3 * DAY)
    await at.seen(closure, "agreement")
    assert await at.closures.state(closure) == "unsigning"
    assert (await at.has_key(), await at.kept()) == (True, [])
    at.bank.script("query", SUCCEEDED)
    await at.sleep(12 * HOUR)
    await at.until(closure, "completed")
    assert len(at.bank.asked("unsign")) == 1
    ended = datetime.fromisoformat((await at.answer(closure))["answered_at"])
    received = datetime.fromisoformat((await at.answer(closure))["received_at"])
    assert ended - received > 3 * DAY


@pytest.mark.long
async def test_an_unsign_that_a_bank_refuses_waits_for_an_operator_and_is_tried_again(at: ClosingHouse) -> None:
    at.bank.script("unsign", declined(DeclineReason.OTHER), SUCCEEDED)
    closure = await at.begun()
    await at.until(closure, "unsigning")
    await at.seen(closure, "agreement")
    await at.house.until("SELECT wait_reason FROM app.binding", "operator")
    await at.sleep(policies.PAUSE_WHILE_OPERATOR_ACTS + HOUR)
    await at.until(closure, "completed")
    assert len(at.bank.asked("unsign")) == 2


async def test_every_agreement_ends_before_the_account_does(at: ClosingHouse) -> None:
    """P4.5c: two cards at two banks; the slower one is waited for."""
    await at.books.open_bank()
    second = at.books.new_id("bnd")
    await at.books.run(
        "INSERT INTO app.binding SELECT (jsonb_populate_record(b, jsonb_build_object('id', CAST(:new AS text),"
        " 'bank_code', CAST(:bank AS text), 'card_index', 'card-7'))).* FROM app.binding b WHERE b.id = :old",
        new=second, bank=OTHER_BANK, old=at.books.binding_id,
    )  # fmt: skip
    at.bank.script("unsign", SUCCEEDED, UNKNOWN)
    at.bank.script("query", UNKNOWN, UNKNOWN, SUCCEEDED)
    closure = await at.begun()
    await at.house.until("SELECT count(*) FROM app.binding WHERE state = 'unbound'", 0)
    await at.until(closure, "unsigning")
    await at.sweep()
    await at.house.until("SELECT count(*) FROM app.binding WHERE state = 'unbound'", 1)
    assert (await at.closures.state(closure), await at.has_key()) == ("unsigning", True)
    await at.sleep(HOUR)
    await at.until(closure, "completed")
    assert await at.books.value("SELECT count(*) FROM app.binding WHERE state = 'unbound'") == 2


async def test_a_bank_that_has_the_notice_is_asked_until_it_has_deleted(at: ClosingHouse) -> None:
    """P4.2b: told under the numbers under which it got the data, and known by one number of its own."""
    await at.disclosed()
    at.bank.erasure_replies = deque([RECEIVED, RECEIVED, ERASED])
    closure = await at.begun()
    await at.until(closure, "completed")
    assert await at.notices(closure) == {"merchant": "none", BANK: "received"}
    [notice] = at.bank.asked("send_erasure_notice")
    assert (notice.scope, len(notice.disclosed_under)) == ("account", 1)
    effect = "SELECT (step, outcome)::text FROM app.effect WHERE request_number = :n"
    assert await at.books.value(effect, n=notice.request_number) == "(EN,succeeded)"
    await at.sleep(HOUR)
    await until(at, closure, merchant="none", **{BANK: "erased"})
    assert set(at.bank.asked("ask_erasure_notice")) == {notice.request_number}
    assert (await at.closures.reply(closure, now=await at.house.now()))["ok"]
    assert await at.house.processes.tell_closure(closure)
    assert (await at.end(closure)).state == "completed"
    assert await at.closures.cases(closure) == []
    asked = len(at.bank.calls)
    await at.sleep(40 * DAY)
    assert len(at.bank.calls) == asked


async def test_a_bank_that_got_more_than_a_notice_takes_is_told_in_two_and_both_are_followed(at: ClosingHouse) -> None:
    """P4.2b: nothing is left out; the certificate names the bank once, as far as the slower of the two is."""
    await at.disclosed(times=MOST_NUMBERS_OF_A_NOTICE + 1)
    at.bank.erasure_replies = deque([ERASED, RECEIVED, ERASED])
    closure = await at.begun()
    await at.until(closure, "completed")
    first, second = at.bank.asked("send_erasure_notice")
    assert (len(first.disclosed_under), len(second.disclosed_under)) == (MOST_NUMBERS_OF_A_NOTICE, 1)
    assert first.request_number != second.request_number
    [told] = [told for told in (await at.answer(closure))["told"] if told["kind"] == "bank"]
    assert (told["reply"], told["told_at"] is None, told["replied_at"]) == ("received", False, None)
    assert (await at.closures.reply(closure, now=await at.house.now()))["ok"]
    await at.sleep(HOUR)
    assert (await at.end(closure)).state == "completed"
    assert at.bank.asked("ask_erasure_notice") == [second.request_number]
    assert await at.closures.cases(closure) == []


@pytest.mark.long
async def test_a_bank_that_has_lost_the_notice_is_told_once_more_under_the_same_number(at: ClosingHouse) -> None:
    await at.disclosed()
    at.bank.erasure_replies = deque([RECEIVED, NOT_FOUND, ERASED])
    closure = await at.begun()
    await at.until(closure, "completed")
    await at.sleep(HOUR)
    await until(at, closure, merchant="none", **{BANK: "erased"})
    first, second = at.bank.asked("send_erasure_notice")
    assert first == second


async def test_what_a_bank_keeps_by_law_is_on_the_certificate(at: ClosingHouse) -> None:
    await at.disclosed()
    at.bank.erasure_replies = deque([KEPT])
    closure = await at.begun()
    await at.until(closure, "completed")
    [told] = [told for told in (await at.answer(closure))["told"] if told["kind"] == "bank"]
    assert (told["reply"], told["reply_reason"], told["replied_at"] is None) == ("kept", "law", False)
    assert at.bank.asked("ask_erasure_notice") == []


@pytest.mark.parametrize(
    "silence", [SILENT, ConnectionError("down"), REFUSED], ids=["no answer", "not reached", "not taken in"]
)
async def test_a_silent_bank_holds_up_no_answer_and_is_told_when_it_is_back(at: ClosingHouse, silence: Any) -> None:
    """P4.2b: the same notice under the same number, days later."""
    await at.disclosed()
    at.bank.erasure_replies = deque([silence])
    closure = await at.begun()
    await at.until(closure, "completed")
    assert await at.notices(closure) == {"merchant": "none", BANK: "not told"}
    [told] = [told for told in (await at.answer(closure))["told"] if told["kind"] == "bank"]
    assert (told["told_at"], told["reply"]) == (None, "none")
    await at.sleep(3 * DAY)
    assert await at.notices(closure) == {"merchant": "none", BANK: "not told"}
    at.bank.erasure_replies = deque([ERASED])
    await at.sleep(2 * DAY)
    await until(at, closure, merchant="none", **{BANK: "erased"})
    assert len({notice.request_number for notice in at.bank.asked("send_erasure_notice")}) == 1


async def test_recipients_that_never_reply_are_a_case_after_thirty_days_and_no_sooner(at: ClosingHouse) -> None:
    """P4.2b: the bank has it and says no more, the merchant says nothing; the account has long been closed."""
    await at.disclosed()
    at.bank.erasure_replies = deque([RECEIVED])
    closure = await at.begun()
    await at.until(closure, "completed")
    answered = await at.books.value("SELECT answered_at FROM app.closure")
    await at.sleep(29 * DAY)
    assert await at.closures.cases(closure) == []
    assert (await at.end(closure)).state == "completed"
    assert await at.closures.cases(closure) == ["erasure_reply_missing"]
    assert timedelta(days=30) <= await at.books.value("SELECT followed_at FROM app.closure") - answered < 31 * DAY
    # A reply that comes after all is taken.
    assert (await at.closures.reply(closure, "kept", reason="law", now=await at.house.now()))["ok"]
    assert await at.notices(closure) == {"merchant": "kept", BANK: "received"}


@pytest.mark.long
async def test_a_bank_that_hangs_holds_up_the_answer_for_two_minutes(
    at: ClosingHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P3.4: within the due time whatever a bank does."""
    monkeypatch.setattr(policies, "TELLING_BEFORE_THE_ANSWER", timedelta(seconds=1))
    hangs = asyncio.Event()

    async def hang(notice: Any) -> ErasureReply:
        await hangs.wait()
        return ERASED

    await at.disclosed()
    monkeypatch.setattr(at.bank, "send_erasure_notice", hang)
    closure = await at.begun()
    await at.until(closure, "completed")
    assert await at.notices(closure) == {"merchant": "none", BANK: "not told"}
    hangs.set()
    await at.sleep(HOUR)
    await until(at, closure, merchant="none", **{BANK: "erased"})


async def test_a_bank_that_has_the_number_with_other_content_is_asked_what_it_has_replied(at: ClosingHouse) -> None:
    """Books that were put back know fewer of the numbers under which it got data than it was told of before."""
    await at.disclosed()
    at.bank.erasure_replies = deque([REUSED, ERASED])
    closure = await at.begun()
    await at.until(closure, "completed")
    [told] = [told for told in (await at.answer(closure))["told"] if told["kind"] == "bank"]
    assert (told["reply"], told["told_at"] is None) == ("erased", False)
    [sent] = at.bank.asked("send_erasure_notice")
    assert at.bank.asked("ask_erasure_notice") == [sent.request_number]
