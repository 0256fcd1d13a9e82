"""Merchants' endpoints as they are in the world, and what the sender makes of them; days pass in an instant."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from standardwebhooks import Webhook

from domain import webhooks as rules
from storage.webhooks import AttemptRecord, DeliveryQueue
from tests.webhooks.conftest import SECRET, Stand
from tests.webhooks.receiver import Arrived, Receiver, Reply

DAY = timedelta(days=1)


def verified(arrived: Arrived, secret: bytes = SECRET) -> bool:
    """By the library's own arithmetic; its clock is that of the machine, the test's is not."""
    headers = arrived.headers
    at = datetime.fromtimestamp(int(headers["webhook-timestamp"]), UTC)
    expected = Webhook(secret).sign(headers["webhook-id"], at, arrived.body.decode())
    return expected in headers["webhook-signature"].split(" ")


async def test_an_accepted_payment_reaches_its_merchant_signed_and_as_it_then_was(stand: Stand) -> None:
    receiver = await stand.receiver()
    endpoint_id = await stand.endpoint(receiver.url)
    payment = await stand.books.instructions.accept_payment(stand.books.payment())
    assert await stand.settle(stand.sender()) == 1
    [arrived] = receiver.arrived
    event = arrived.event
    assert verified(arrived)
    assert (event["type"], event["object_id"], event["sequence"]) == ("payment.accepted", payment["id"], 1)
    assert event["data"]["state"] == "awaiting_code"
    assert (event["data"]["amount_minor"], type(event["data"]["amount_minor"])) == (10_000, int)
    assert arrived.headers["webhook-id"] == event["id"]
    assert arrived.headers["content-type"] == "application/json"
    assert await stand.states(endpoint_id) == {"delivered": 1}


async def test_an_endpoint_that_fails_first_gets_it_again_seconds_later(stand: Stand) -> None:
    receiver = await stand.receiver()
    receiver.answers(500, 200)
    endpoint_id = await stand.endpoint(receiver.url)
    event_id = await stand.event()
    sender = stand.sender()
    assert await stand.settle(sender) == 1
    assert await stand.next_due() == stand.now + rules.RETRY_PAUSES[0]
    assert await stand.until_nothing_is_left(sender) == 1
    assert {arrived.headers["webhook-id"] for arrived in receiver.arrived} == {event_id}
    log = await stand.log(endpoint_id)
    assert [(entry["number"], entry["status"], entry["response"]) for entry in log] == [
        (1, 500, "said so"),
        (2, 200, "said so"),
    ]


async def test_an_endpoint_that_fails_for_a_day_misses_nothing_and_gets_each_object_in_order(stand: Stand) -> None:
    receiver = await stand.receiver()
    receiver.answers(503)
    endpoint_id = await stand.endpoint(receiver.url)
    began, objects, sender = stand.now, [stand.books.new_id("pay") for _ in range(3)], stand.sender()
    for _ in range(4):
        for object_id in objects:
            await stand.event(object_id)
        await stand.settle(sender)
    while stand.now < began + DAY:
        due = await stand.next_due()
        assert due is not None
        stand.now = due
        await stand.settle(sender)
    # Nothing of an object overtakes what was before it.
    assert {arrived.event["sequence"] for arrived in receiver.arrived} == {1}
    failed = len(receiver.arrived)
    receiver.answers(200)
    due = await stand.next_due()
    assert due is not None
    stand.now = due
    await stand.settle(sender)
    # It has come back: everything at once, not when each of the pauses is over.
    assert await stand.states(endpoint_id) == {"delivered": 12}
    for object_id in objects:
        got = [a.event["sequence"] for a in receiver.arrived[failed:] if a.event["object_id"] == object_id]
        assert got == [1, 2, 3, 4]


async def test_an_endpoint_that_fails_for_three_days_is_disabled_with_notice(stand: Stand) -> None:
    dead, other = await stand.receiver(), await stand.receiver()
    dead.answers(500)
    endpoint_id = await stand.endpoint(dead.url, "payment.*")
    await stand.endpoint(other.url)
    await stand.event()
    sender, began = stand.sender(), stand.now
    await stand.until_nothing_is_left(sender)
    assert await stand.state(endpoint_id) == ("disabled", "failing")
    assert rules.DISABLED_AFTER <= stand.now - began < rules.DISABLED_AFTER + DAY
    assert len(dead.arrived) == rules.MAX_ATTEMPTS
    [notice] = [arrived.event for arrived in other.arrived if arrived.event["object_id"] == endpoint_id]
    assert (notice["type"], notice["data"]["reason"]) == ("webhook_endpoint.disabled", "failing")
    cases = "SELECT count(*) FROM app.case_record WHERE kind = 'webhook_endpoint_disabled' AND subject_id = :e"
    records = "SELECT count(*) FROM app.operation WHERE action = 'disable_webhook_endpoint' AND subject_id = :e"
    assert [await stand.books.value(query, e=endpoint_id) for query in (cases, records)] == [1, 1]
    await stand.event()
    assert await stand.settle(sender) == 1  # to the other one


async def test_pauses_between_attempts_are_those_of_the_schedule(stand: Stand) -> None:
    receiver = await stand.receiver()
    receiver.answers(500)
    endpoint_id = await stand.endpoint(receiver.url)
    await stand.event()
    await stand.until_nothing_is_left(stand.sender())
    started = [entry["started_at"] for entry in await stand.log(endpoint_id)]
    assert tuple(b - a for a, b in pairwise(started)) == rules.RETRY_PAUSES


async def test_410_disables_at_once_and_what_was_waiting_is_cancelled(stand: Stand) -> None:
    receiver = await stand.receiver()
    receiver.answers(410)
    endpoint_id, object_id = await stand.endpoint(receiver.url), stand.books.new_id("pay")
    for _ in range(3):
        await stand.event(object_id)
    assert await stand.settle(stand.sender()) == 1
    assert await stand.state(endpoint_id) == ("disabled", "gone")
    assert await stand.states(endpoint_id) == {"given_up": 1, "cancelled": 2}


async def test_what_was_missed_while_disabled_is_replayed_on_request(stand: Stand) -> None:
    receiver = await stand.receiver()
    receiver.answers(410)
    endpoint_id, sender, began = await stand.endpoint(receiver.url), stand.sender(), stand.now
    object_id = stand.books.new_id("pay")
    missed = [await stand.event(object_id)]
    await stand.settle(sender)
    stand.advance(DAY)
    missed.append(await stand.event(object_id))
    receiver.answers(204)
    receiver.arrived.clear()
    await stand.webhooks.switch(stand.command(endpoint_id), "enabled")
    assert await stand.settle(sender) == 0
    until = stand.now + timedelta(seconds=1)
    replay = await stand.webhooks.replay_span(stand.command(endpoint_id), began, until)
    assert replay["deliveries"] == 3  # the notice of its own end too
    await stand.settle(sender)
    assert [a.headers["webhook-id"] for a in receiver.arrived if a.event["object_id"] == object_id] == missed
    again = await stand.webhooks.replay_event(stand.command(endpoint_id), missed[0])
    twice = await stand.webhooks.replay_event(stand.command(endpoint_id), missed[0])
    assert (again["deliveries"], twice["deliveries"]) == (1, 0)
    await stand.settle(sender)
    assert receiver.arrived[-1].headers["webhook-id"] == missed[0]
    assert [entry["kind"] for entry in await stand.log(endpoint_id)] == [
        "event",
        "replay",
        "replay",
        "replay",
        "replay",
    ]


async def test_a_redirect_is_a_failure_and_is_not_followed(stand: Stand) -> None:
    receiver, inner = await stand.receiver(), await stand.receiver()
    receiver.answers(307, Location=inner.url)
    endpoint_id = await stand.endpoint(receiver.url)
    await stand.event()
    await stand.settle(stand.sender())
    assert inner.arrived == []
    [entry] = await stand.log(endpoint_id)
    assert (entry["status"], entry["error"]) == (307, "redirect_not_followed")


async def test_retry_after_is_kept_and_quietens_the_whole_endpoint(stand: Stand) -> None:
    receiver = await stand.receiver()
    receiver.answers(429, 204, Retry_After="120")
    endpoint_id, sender = await stand.endpoint(receiver.url), stand.sender()
    await stand.event()
    await stand.settle(sender)
    assert await stand.next_due() == stand.now + timedelta(seconds=120)
    stand.advance(timedelta(seconds=60))
    await stand.event()
    assert await stand.settle(sender) == 0
    stand.advance(timedelta(seconds=60))
    assert await stand.settle(sender) == 2
    assert await stand.states(endpoint_id) == {"delivered": 2}


async def test_an_absurd_retry_after_is_bounded(stand: Stand) -> None:
    receiver = await stand.receiver()
    receiver.answers(503, Retry_After="999999")
    await stand.endpoint(receiver.url)
    await stand.event()
    await stand.settle(stand.sender())
    assert await stand.next_due() == stand.now + rules.MAX_RETRY_AFTER


async def test_sequence_numbers_of_an_object_arrive_without_a_gap(stand: Stand) -> None:
    receiver = await stand.receiver()
    receiver.answers(204, 500, 500, 204, 500, 204)
    await stand.endpoint(receiver.url)
    object_id, sender = stand.books.new_id("pay"), stand.sender()
    for _ in range(6):
        await stand.event(object_id)
    await stand.until_nothing_is_left(sender)
    distinct = list(dict.fromkeys(arrived.event["sequence"] for arrived in receiver.arrived))
    assert distinct == [1, 2, 3, 4, 5, 6]


async def test_one_dead_endpoint_among_ten_keeps_one_slot_and_delays_nobody(stand: Stand) -> None:
    stand.timeout_seconds = 30
    dead, well = await stand.receiver(), [await stand.receiver() for _ in range(9)]
    released = asyncio.Event()

    async def hang(_: Arrived) -> Reply:
        await released.wait()
        return Reply(500)

    dead.behaviour = hang
    dead_id = await stand.endpoint(dead.url)
    for receiver in well:
        await stand.endpoint(receiver.url)
    for _ in range(12):
        await stand.event()
    sender, stop = stand.sender(), asyncio.Event()
    running = asyncio.create_task(sender.run(stop))
    for receiver in well:
        await receiver.has(12)
    await dead.has(1)
    assert (len(dead.arrived), dead.most_at_once) == (1, 1)
    assert all(1 < receiver.most_at_once <= rules.HEALTHY_SLOTS for receiver in well)
    assert await stand.states(dead_id) == {"pending": 12}
    released.set()
    stop.set()
    await running


async def test_a_slow_endpoint_goes_on_with_one_slot(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "SLOW_SECONDS", 0)
    receiver = await stand.receiver()
    endpoint_id = await stand.endpoint(receiver.url)
    for _ in range(8):
        await stand.event()
    assert await stand.settle(stand.sender()) == 8
    assert receiver.most_at_once == 1
    assert await stand.states(endpoint_id) == {"delivered": 8}


async def test_an_endpoint_that_does_not_answer_in_time_has_failed(stand: Stand) -> None:
    stand.timeout_seconds = 0.2
    receiver, released = await stand.receiver(), asyncio.Event()

    async def hang(_: Arrived) -> Reply:
        await released.wait()
        return Reply()

    receiver.behaviour = hang
    endpoint_id = await stand.endpoint(receiver.url)
    await stand.event()
    await stand.settle(stand.sender())
    released.set()
    [entry] = await stand.log(endpoint_id)
    assert (entry["status"], entry["error"]) == (None, "timeout")


class _DyingQueue(DeliveryQueue):
    """That of a process which is killed after sending: nothing of it is recorded."""

    async def record(self, attempt: AttemptRecord) -> str | None:
        raise asyncio.CancelledError


async def test_a_sender_that_dies_between_sending_and_recording_sends_again_under_the_same_id(stand: Stand) -> None:
    receiver = await stand.receiver()
    endpoint_id = await stand.endpoint(receiver.url)
    event_id = await stand.event()
    dying = stand.sender(_DyingQueue(stand.queue._statements))
    assert await dying.round() == 1
    await receiver.has(1)
    await dying.finish()
    following = stand.sender()
    assert await stand.settle(following) == 0  # the lease is not over
    stand.advance(rules.LEASE)
    assert await stand.settle(following) == 1
    assert [arrived.headers["webhook-id"] for arrived in receiver.arrived] == [event_id, event_id]
    assert receiver.arrived[0].body == receiver.arrived[1].body
    assert [(e["number"], e["error"]) for e in await stand.log(endpoint_id)] == [(1, "sender_stopped"), (2, None)]
    assert await stand.states(endpoint_id) == {"delivered": 1}


async def test_two_senders_at_once_send_each_event_once(stand: Stand) -> None:
    receiver = await stand.receiver()
    endpoint_id = await stand.endpoint(receiver.url)
    for _ in range(30):
        await stand.event()
    senders = [stand.sender(), stand.sender()]
    while sum(await asyncio.gather(*(sender.round() for sender in senders))):
        await asyncio.gather(*(sender.finish() for sender in senders))
    assert await stand.states(endpoint_id) == {"delivered": 30}
    assert len(receiver.arrived) == len({arrived.headers["webhook-id"] for arrived in receiver.arrived}) == 30
    assert receiver.most_at_once <= rules.HEALTHY_SLOTS


async def test_an_endpoint_gets_the_types_it_asked_for_and_nothing_from_before_it_was_there(stand: Stand) -> None:
    await stand.event()
    receiver = await stand.receiver()
    await stand.endpoint(receiver.url, "refund.*", "payment.succeeded")
    for event_type in ("payment.accepted", "payment.succeeded", "refund.failed", "binding.opened"):
        await stand.event(event_type=event_type)
    await stand.settle(stand.sender())
    assert {arrived.event["type"] for arrived in receiver.arrived} == {"payment.succeeded", "refund.failed"}


async def test_during_a_rotation_both_secrets_sign_and_afterwards_only_the_new_one(stand: Stand) -> None:
    receiver, new = await stand.receiver(), b"n" * 32
    endpoint_id, sender = await stand.endpoint(receiver.url), stand.sender()
    await stand.webhooks.rotate_secret(stand.command(endpoint_id), stand.sealed(endpoint_id, new), DAY)
    await stand.event()
    await stand.settle(sender)
    stand.advance(DAY)
    await stand.event()
    await stand.settle(sender)
    during, after = receiver.arrived
    assert (verified(during), verified(during, new)) == (True, True)
    assert (verified(after), verified(after, new)) == (False, True)


async def test_a_leaked_secret_is_replaced_at_once(stand: Stand) -> None:
    receiver = await stand.receiver()
    endpoint_id = await stand.endpoint(receiver.url)
    for secret, overlap in ((b"2" * 32, DAY), (b"3" * 32, timedelta(0))):
        await stand.webhooks.rotate_secret(stand.command(endpoint_id), stand.sealed(endpoint_id, secret), overlap)
    await stand.event()
    await stand.settle(stand.sender())
    [arrived] = receiver.arrived
    assert len(arrived.headers["webhook-signature"].split(" ")) == 1
    assert verified(arrived, b"3" * 32)


async def test_a_test_event_reaches_that_endpoint_alone(stand: Stand) -> None:
    receiver, other = await stand.receiver(), await stand.receiver()
    endpoint_id = await stand.endpoint(receiver.url, "refund.*")
    await stand.endpoint(other.url)
    delivery = await stand.webhooks.send_test(stand.command(endpoint_id), stand.books.new_id("wht"))
    await stand.settle(stand.sender())
    assert (delivery["kind"], other.arrived) == ("test", [])
    assert [arrived.event["type"] for arrived in receiver.arrived] == ["webhook_endpoint.test"]


async def test_whatever_happens_to_notices_the_payment_stays_what_it_is(stand: Stand) -> None:
    receiver = await stand.receiver()
    receiver.answers(500)
    await stand.endpoint(receiver.url)
    payment = await stand.books.instructions.accept_payment(stand.books.payment())
    before = await stand.books.value("SELECT md5(p::text) FROM app.payment p WHERE p.id = :p", p=payment["id"])
    await stand.until_nothing_is_left(stand.sender())
    assert await stand.books.value("SELECT md5(p::text) FROM app.payment p WHERE p.id = :p", p=payment["id"]) == before


async def test_old_deliveries_are_forgotten_and_events_are_not(stand: Stand) -> None:
    receiver: Receiver = await stand.receiver()
    endpoint_id = await stand.endpoint(receiver.url)
    await stand.event()
    sender = stand.sender()
    await stand.settle(sender)
    stand.advance(rules.KEPT_DELIVERIES + DAY)
    await stand.settle(sender)
    assert await stand.states(endpoint_id) == {}
    assert await stand.books.value("SELECT count(*) FROM app.event") == 1


async def test_a_line_of_the_log_names_event_and_endpoint_and_no_secret(
    stand: Stand, caplog: pytest.LogCaptureFixture
) -> None:
    receiver = await stand.receiver()
    endpoint_id, event_id = await stand.endpoint(receiver.url), await stand.event()
    with caplog.at_level("INFO", logger="webhooks"):
        await stand.settle(stand.sender())
    [line] = [record.__dict__ for record in caplog.records if record.name == "webhooks.sender"]
    assert (line["event_id"], line["endpoint_id"], line["status"]) == (event_id, endpoint_id, 204)
    signature = receiver.arrived[0].headers["webhook-signature"]
    assert not any(signature in str(value) or receiver.url in str(value) for value in line.values())
