"""Somebody else reaches Temporal and tries to move our processes: nothing moves, and nothing gets stuck."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretBytes
from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import EventType
from temporalio.client import (
    Client,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowQueryFailedError,
    WorkflowUpdateFailedError,
    WorkflowUpdateStage,
)
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError
from temporalio.worker import Replayer
from temporalio.worker.workflow_sandbox import SandboxRestrictions

from domain.banking import BankAnswer, DebitRequest
from runtime.interceptors import MESSAGE_REFUSED, MessageGuard, RequestIds
from runtime.logging import current_request_id, request_id
from runtime.payloads import PAYLOAD_REFUSED
from runtime.start_guard import START_REFUSED, GuardedRunner
from runtime.temporal import data_converter
from sweeper import UNFINISHED_AFTER, Sweeper
from tests.conftest import Database
from tests.storage.books import BANK
from tests.workflows.conftest import BINDING_LIFE, House, open_house, result_of
from tests.workflows.scripted_bank import PROCESSING, SUCCEEDED, UNKNOWN
from worker import PASSED_THROUGH, WORKFLOWS, build_worker
from workflows import names
from workflows.messages import CodeVerdictMessage
from workflows.names import Process
from workflows.starting import Processes

OLD, NEW = ("old", SecretBytes(b"o" * 32)), ("new", SecretBytes(b"n" * 32))
NAMESPACE = "default"
Payment = dict[str, Any]


@pytest.fixture
async def house(database: Database) -> AsyncIterator[House]:
    """As in production: encrypted, and with request ids."""
    async with open_house(
        database, data_converter=data_converter([OLD], NAMESPACE), interceptors=[RequestIds()]
    ) as opened:
        yield opened


@pytest.fixture
async def outsider(house: House) -> Client:
    """May write to our namespace, and has no key."""
    return await Client.connect(house.env.client.service_client.config.target_host, namespace=NAMESPACE)


async def awaiting_code(house: House) -> Payment:
    payment = await house.accept()
    assert await house.processes.collect_payment(house.order(payment))
    await house.until("SELECT wait_reason FROM app.payment WHERE id = :id", "payer_code", id=payment["id"])
    return payment


async def confirm(house: House, payment: Payment) -> None:
    attempt = await house.type_code("payment", payment["id"], "confirmed", authorisation="AUTH-1")
    await house.tell("payment", payment["id"], attempt, "confirmed")


def theirs(outsider: Client, payment: Payment) -> WorkflowHandle[Any, Any]:
    return outsider.get_workflow_handle(names.workflow_id(Process.COLLECT_PAYMENT, payment["id"]))


async def refused(update: Any) -> str | None:
    with pytest.raises(WorkflowUpdateFailedError) as failure:
        await update
    assert isinstance(failure.value.cause, ApplicationError)
    return failure.value.cause.type


async def failed_with(handle: WorkflowHandle[Any, Any]) -> str | None:
    with pytest.raises(WorkflowFailureError) as failure:
        await result_of(handle)
    assert isinstance(failure.value.cause, ApplicationError)
    return failure.value.cause.type


async def assert_never_stuck(house: House, payment: Payment) -> None:
    history = await house.handle(Process.COLLECT_PAYMENT, payment["id"]).fetch_history()
    assert EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED not in [event.event_type for event in history.events]


async def update_payload(house: House, payment: Payment) -> Payload:
    """The ciphertext of an update, as whoever may read Temporal's history finds it."""
    history = await house.handle(Process.COLLECT_PAYMENT, payment["id"]).fetch_history()
    [accepted] = [e for e in history.events if e.HasField("workflow_execution_update_accepted_event_attributes")]
    return accepted.workflow_execution_update_accepted_event_attributes.accepted_request.input.args.payloads[0]


async def start_payload(house: House, payment: Payment) -> Payload:
    history = await house.handle(Process.COLLECT_PAYMENT, payment["id"]).fetch_history()
    return history.events[0].workflow_execution_started_event_attributes.input.payloads[0]


async def test_messages_that_are_not_encrypted_are_refused_and_the_payment_goes_on(
    house: House, outsider: Client, caplog: pytest.LogCaptureFixture
) -> None:
    payment = await awaiting_code(house)
    handle = theirs(outsider, payment)
    verdict = {"attempt_id": "att_1", "verdict": "confirmed"}
    with caplog.at_level(logging.WARNING, "runtime"):
        assert await refused(handle.execute_update(names.CODE_VERDICT_UPDATE, verdict)) == PAYLOAD_REFUSED
        await handle.signal(names.BANK_NOTICE_SIGNAL, {"outcome": "succeeded"})
        await house.env.client.get_workflow_handle(handle.id).query("__temporal_workflow_metadata")
    lines = [vars(line) for line in caplog.records if line.name == "runtime.codec"]
    assert [(line["levelname"], line["workflow_id"], line["reason"]) for line in lines] == [
        ("WARNING", handle.id, "not_encrypted")
    ] * 2
    with pytest.raises(WorkflowQueryFailedError):
        await handle.query("__stack_trace", "of whom?", reject_condition=None)
    assert house.bank.asked("debit") == house.bank.asked("query") == []
    await confirm(house, payment)
    assert (await house.end_of(Process.COLLECT_PAYMENT, payment["id"])).state == "succeeded"
    await assert_never_stuck(house, payment)


async def test_messages_that_no_handler_takes_change_nothing_and_are_not_kept(
    house: House, outsider: Client, caplog: pytest.LogCaptureFixture
) -> None:
    payment = await awaiting_code(house)
    handle, own = theirs(outsider, payment), await start_payload(house, payment)
    with caplog.at_level(logging.WARNING, "runtime.interceptors"):
        for name in ("release", "confirmed", names.CODE_VERDICT_UPDATE):
            await handle.signal(name)
        await handle.signal(names.BANK_NOTICE_SIGNAL, RawValue(own))
        assert await refused(handle.execute_update(names.CODE_VERDICT_UPDATE)) == MESSAGE_REFUSED
        twice = handle.execute_update(names.CODE_VERDICT_UPDATE, args=[RawValue(own), RawValue(own)])
        assert await refused(twice) == MESSAGE_REFUSED
    names_logged = [vars(line)["message_name"] for line in caplog.records if line.name == "runtime.interceptors"]
    assert names_logged == ["release", "confirmed", "code_verdict", "code_verdict", "code_verdict"]
    assert await refused(handle.execute_update("release_hold")) == "RuntimeError"
    assert await refused(handle.execute_update(names.CODE_VERDICT_UPDATE, RawValue(own))) is not None
    assert (await house.payment(payment["id"]))["state"] == "awaiting_code"
    await confirm(house, payment)
    assert (await house.end_of(Process.COLLECT_PAYMENT, payment["id"])).state == "succeeded"
    await assert_never_stuck(house, payment)


@pytest.mark.parametrize("process", WORKFLOWS, ids=lambda process: process.__name__)
def test_a_handler_bears_the_name_of_its_message_so_that_the_guard_finds_it(process: type) -> None:
    definition = workflow._Definition.must_from_class(process)
    handlers = {**definition.signals, **definition.updates}
    assert {name: getattr(process, str(name)) for name in handlers} == {n: defn.fn for n, defn in handlers.items()}


async def test_a_notice_by_an_outsider_makes_the_process_ask_its_bank_and_no_more(
    house: House, outsider: Client
) -> None:
    house.bank.script("debit", UNKNOWN)
    house.bank.script("query", PROCESSING)
    payment = await house.accept_waived()
    assert await house.processes.collect_payment(house.order(payment))
    await house.bank.was_asked("query")
    asked = len(house.bank.asked("query"))
    for _ in range(5):
        await theirs(outsider, payment).signal(names.BANK_NOTICE_SIGNAL)
    for _ in range(1500):
        await asyncio.sleep(0.02)
        if len(house.bank.asked("query")) > asked:
            break
    assert asked < len(house.bank.asked("query")) <= asked + 6
    assert (await house.payment(payment["id"]))["state"] == "sending"
    assert len(house.bank.asked("debit")) == 1


async def test_a_process_that_somebody_starts_by_hand_fails_at_once_and_ours_can_be_started(
    house: House, outsider: Client
) -> None:
    payment = await house.accept_waived()
    start: dict[str, Any] = {
        "id": names.workflow_id(Process.COLLECT_PAYMENT, payment["id"]), "task_queue": names.TASK_QUEUE,
    }  # fmt: skip
    order = house.order(payment).model_dump(mode="json") | {"state": "late_refunding"}
    assert await failed_with(await outsider.start_workflow("collect-payment", order, **start)) == PAYLOAD_REFUSED
    assert await failed_with(await outsider.start_workflow("collect-payment", **start)) == START_REFUSED
    too_many = await outsider.start_workflow("collect-payment", args=[order, order], **start)
    assert await failed_with(too_many) == START_REFUSED
    assert house.bank.calls == []
    assert (await house.collect(payment)).state == "succeeded"


async def test_a_workflow_that_takes_the_place_of_a_process_is_replaced_by_it(house: House, outsider: Client) -> None:
    payment = await house.accept_waived()
    workflow_id = names.workflow_id(Process.COLLECT_PAYMENT, payment["id"])
    await outsider.start_workflow("collect-payment", id=workflow_id, task_queue="nobody-works-here")
    assert await house.processes.collect_payment(house.order(payment))
    assert (await house.payment(payment["id"]))["state"] == "ready"
    assert await sweep(house) >= 1
    await house.until("SELECT state FROM app.payment", "succeeded")


async def test_what_was_made_for_one_process_is_refused_by_every_other(house: House, outsider: Client) -> None:
    first, second = await awaiting_code(house), await awaiting_code(house)
    await confirm(house, first)
    await house.until("SELECT state FROM app.payment WHERE id = :id", "succeeded", id=first["id"])
    captured = RawValue(await update_payload(house, first))
    moved = theirs(outsider, second).execute_update(names.CODE_VERDICT_UPDATE, captured)
    assert await refused(moved) == PAYLOAD_REFUSED
    order = RawValue(await start_payload(house, second))
    copy = await outsider.start_workflow("collect-payment", order, id="collect-payment/x", task_queue=names.TASK_QUEUE)
    assert await failed_with(copy) == PAYLOAD_REFUSED
    assert (await house.payment(second["id"]))["state"] == "awaiting_code"
    assert len(house.bank.asked("debit")) == 1


async def test_a_verdict_that_is_sent_again_to_its_own_process_confirms_nothing(house: House, outsider: Client) -> None:
    payment = await awaiting_code(house)
    wrong = await house.type_code("payment", payment["id"], "wrong")
    await house.tell("payment", payment["id"], wrong, "wrong")
    again = RawValue(await update_payload(house, payment))
    for number in range(3):
        await theirs(outsider, payment).start_update(
            names.CODE_VERDICT_UPDATE, again, id=f"again-{number}", wait_for_stage=WorkflowUpdateStage.COMPLETED
        )
    assert (await house.payment(payment["id"]))["state"] == "awaiting_code"
    await confirm(house, payment)
    assert (await house.end_of(Process.COLLECT_PAYMENT, payment["id"])).state == "succeeded"
    assert len(house.bank.asked("debit")) == 1


async def debiting(house: House, monkeypatch: pytest.MonkeyPatch) -> tuple[Payment, asyncio.Event]:
    """A payment whose debit is at the bank, and the event at which the bank answers."""
    reached, answers = asyncio.Event(), asyncio.Event()

    async def slow(_: DebitRequest) -> BankAnswer:
        reached.set()
        await answers.wait()
        return UNKNOWN

    monkeypatch.setattr(house.bank, "debit", slow)
    house.bank.script("query", PROCESSING)
    payment = await house.accept_waived()
    assert await house.processes.collect_payment(house.order(payment))
    await reached.wait()
    return payment, answers


async def sweep(house: House) -> int:
    later = await house.now() + UNFINISHED_AFTER + timedelta(seconds=1)
    return await Sweeper(house.books.app, house.processes, lambda: later, BINDING_LIFE).sweep()


async def activity_result(house: House, payment: Payment) -> Payload:
    history = await house.handle(Process.COLLECT_PAYMENT, payment["id"]).fetch_history()
    completed = [e for e in history.events if e.HasField("activity_task_completed_event_attributes")]
    return completed[-1].activity_task_completed_event_attributes.result.payloads[0]


@pytest.mark.parametrize("captured", [False, True], ids=["plain", "captured"])
async def test_a_debit_that_an_outsider_reports_as_done_is_asked_about_at_the_bank(
    house: House, outsider: Client, monkeypatch: pytest.MonkeyPatch, captured: bool
) -> None:
    honest = await house.accept_waived()
    assert (await house.collect(honest)).state == "succeeded"
    payment, answers = await debiting(house, monkeypatch)
    handle = theirs(outsider, payment)
    forged = RawValue(await activity_result(house, honest)) if captured else {"outcome": "succeeded"}
    activity = outsider.get_async_activity_handle(workflow_id=handle.id, run_id=None, activity_id="1")
    await activity.complete(forged)
    assert await failed_with(handle) == PAYLOAD_REFUSED
    assert (await house.payment(payment["id"]))["state"] == "sending"
    answers.set()
    house.bank.script("query", SUCCEEDED)
    assert await sweep(house) == 1
    await house.until("SELECT state FROM app.payment WHERE id = :id", "succeeded", id=payment["id"])
    assert house.bank.asked("query")[-1].startswith("DB")
    assert await house.books.balance(f"reserve:{BANK}:CNY") == 20_000


async def test_what_the_bank_said_of_one_step_does_not_count_for_another(
    house: House, outsider: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached, answers = asyncio.Event(), asyncio.Event()

    async def query(number: str) -> BankAnswer:
        if number.startswith("DB"):
            reached.set()
            await answers.wait()
        return SUCCEEDED.model_copy(update={"code_expires_at": await house.now() + timedelta(minutes=5)})

    house.bank.script("send_payment_code", UNKNOWN)
    house.bank.script("debit", UNKNOWN)
    monkeypatch.setattr(house.bank, "query", query)
    payment = await awaiting_code(house)
    history = await house.handle(Process.COLLECT_PAYMENT, payment["id"]).fetch_history()
    told = [e for e in history.events if e.HasField("activity_task_completed_event_attributes")][-1]
    about_the_code = told.activity_task_completed_event_attributes.result.payloads[0]
    await confirm(house, payment)
    await reached.wait()
    handle = theirs(outsider, payment)
    [asking] = (await handle.describe()).raw_description.pending_activities
    activity = outsider.get_async_activity_handle(workflow_id=handle.id, run_id=None, activity_id=asking.activity_id)
    reached.clear()
    await activity.complete(RawValue(about_the_code))
    await reached.wait()
    assert (await house.payment(payment["id"]))["state"] == "sending"
    answers.set()
    assert (await house.end_of(Process.COLLECT_PAYMENT, payment["id"])).state == "succeeded"


async def test_a_debit_that_an_outsider_reports_as_failed_is_unknown_and_asked_about(
    house: House, outsider: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    payment, answers = await debiting(house, monkeypatch)
    activity = outsider.get_async_activity_handle(
        workflow_id=theirs(outsider, payment).id, run_id=None, activity_id="1"
    )
    await activity.fail(ApplicationError("declined by hand", type="DECLINED", non_retryable=True))
    await house.bank.was_asked("query")
    answers.set()
    house.bank.script("query", SUCCEEDED)
    assert (await house.end_of(Process.COLLECT_PAYMENT, payment["id"])).state == "succeeded"


@pytest.mark.long
async def test_a_process_whose_key_is_missing_waits_for_the_key_and_fails_no_payment(house: House) -> None:
    payment = await house.accept_waived()
    rotated = await Client.connect(
        house.env.client.service_client.config.target_host,
        namespace=NAMESPACE, data_converter=data_converter([NEW, OLD], NAMESPACE),
    )  # fmt: skip
    assert await Processes(rotated).collect_payment(house.order(payment))
    handle = house.handle(Process.COLLECT_PAYMENT, payment["id"])
    for _ in range(600):
        history = await handle.fetch_history()
        if EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED in [event.event_type for event in history.events]:
            break
        await asyncio.sleep(0.05)
    else:
        raise AssertionError("the worker without the key did not stop")
    assert (await handle.describe()).status is WorkflowExecutionStatus.RUNNING
    assert (await house.payment(payment["id"]))["state"] == "ready"
    async with build_worker(rotated, house.books.instructions, house.books.bank_vault, house.bank):
        await house.until("SELECT state FROM app.payment", "succeeded")


async def test_a_history_is_not_played_again_without_the_messages_that_no_key_opens(house: House) -> None:
    rotated = await Client.connect(
        house.env.client.service_client.config.target_host,
        namespace=NAMESPACE, data_converter=data_converter([NEW, OLD], NAMESPACE),
    )  # fmt: skip
    async with build_worker(
        rotated, house.books.instructions, house.books.bank_vault, house.bank, task_queue="rotated"
    ):
        payment = await house.accept()
        workflow_id = names.workflow_id(Process.COLLECT_PAYMENT, payment["id"])
        await rotated.start_workflow("collect-payment", house.order(payment), id=workflow_id, task_queue="rotated")
        await house.until("SELECT wait_reason FROM app.payment", "payer_code")
        attempt = await house.type_code("payment", payment["id"], "confirmed", authorisation="AUTH-1")
        # The answer is under the new key, which this client does not have.
        told = CodeVerdictMessage(attempt_id=attempt, verdict="confirmed")
        assert not await house.processes.tell_verdict("payment", payment["id"], told)
        await house.until("SELECT state FROM app.payment", "succeeded")
        history = await house.handle(Process.COLLECT_PAYMENT, payment["id"]).fetch_history()

    async def replay(*keys: tuple[str, SecretBytes]) -> Exception | None:
        replayer = Replayer(
            workflows=WORKFLOWS,
            data_converter=data_converter(keys, NAMESPACE),
            interceptors=[RequestIds(), MessageGuard()],
            workflow_runner=GuardedRunner(
                restrictions=SandboxRestrictions.default.with_passthrough_modules(*PASSED_THROUGH)
            ),
        )
        return (await replayer.replay_workflow(history, raise_on_replay_failure=False)).replay_failure

    assert await replay(NEW, OLD) is None
    assert await replay(NEW) is not None


async def test_a_message_whose_key_is_missing_is_left_to_be_told_again_and_stops_nothing(house: House) -> None:
    payment = await awaiting_code(house)
    rotated = await Client.connect(
        house.env.client.service_client.config.target_host,
        namespace=NAMESPACE, data_converter=data_converter([NEW, OLD], NAMESPACE),
    )  # fmt: skip
    attempt = await house.type_code("payment", payment["id"], "confirmed", authorisation="AUTH-1")
    told = House(house.books, house.bank, house.env, Processes(rotated), house.checks)
    with pytest.raises(AssertionError):
        await told.tell("payment", payment["id"], attempt, "confirmed")
    await house.tell("payment", payment["id"], attempt, "confirmed")
    assert (await house.end_of(Process.COLLECT_PAYMENT, payment["id"])).state == "succeeded"


async def test_two_processes_of_one_payment_under_different_ids_debit_once(house: House) -> None:
    payment = await house.accept_waived()
    await house.processes.collect_payment(house.order(payment))
    for number in range(3):
        await house.env.client.start_workflow(
            "collect-payment", house.order(payment), id=f"collect-payment/{number}", task_queue=names.TASK_QUEUE
        )
    house.bank.script("query", SUCCEEDED)
    await house.until("SELECT state FROM app.payment", "succeeded")
    for number in range(3):
        async with house.env.time_skipping_unlocked():  # type: ignore[attr-defined]
            await house.env.client.get_workflow_handle(f"collect-payment/{number}").result()
    assert len(house.bank.asked("debit")) == 1
    assert await house.books.balance(f"reserve:{BANK}:CNY") == 10_000
    assert await house.events(payment["id"]) == ["payment.accepted", "payment.succeeded"]


async def test_the_id_of_the_request_that_moved_a_process_is_known_at_the_bank_call(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked_for: dict[str, str | None] = {}

    def noting(operation: str) -> Any:
        real = getattr(house.bank, operation)

        async def note(request: Any) -> BankAnswer:
            asked_for[operation] = current_request_id()
            answer: BankAnswer = await real(request)
            return answer

        return note

    for operation in ("send_payment_code", "debit"):
        monkeypatch.setattr(house.bank, operation, noting(operation))
    began, typed = house.books.new_id("req"), house.books.new_id("req")
    with request_id(began):
        payment = await awaiting_code(house)
    with request_id(typed):
        await confirm(house, payment)
    assert (await house.end_of(Process.COLLECT_PAYMENT, payment["id"])).state == "succeeded"
    assert asked_for == {"send_payment_code": began, "debit": typed}
