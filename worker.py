"""The worker: runs the processes and their activities, and sweeps up after crashes. It wires the rooms."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from temporalio.client import Client
from temporalio.worker import Worker
from temporalio.worker.workflow_sandbox import SandboxRestrictions

from activities.assessing import Assessing
from activities.bank_records import BankRecords
from activities.bank_steps import BankSteps
from activities.closing import Closing
from activities.deciding import Deciding
from activities.fx_planning import FxPlanning
from activities.fx_steps import FxSteps
from activities.looking import Looking
from activities.planning import Planning
from activities.ports import BankDirectory, InstructionBook, PersonalVault
from activities.purging import Purge, PurgingRetained
from activities.receiving import Receiving
from activities.reviewing import Reviewing
from activities.settling import Settling
from activities.settling_merchants import SettlingMerchants
from calendars.book import CalendarBook
from closure_sweeper import ClosureSweeper
from config.policy import read_policy
from config.settings import WorkerSettings, load_or_exit
from domain.business_time import SHANGHAI
from domain.policy import Policy
from domain.retention import RetentionRules
from domain.settlements import SettlementRules
from fx_sweeper import FxLauncher, FxSweeper
from runtime.clock import SystemClock
from runtime.codec import Refusal, log_refusal
from runtime.health import serve_health
from runtime.id_source import UlidSource
from runtime.interceptors import MessageGuard
from runtime.logging import configure_logging
from runtime.schedules import DailyProcess, keep_schedule
from runtime.start_guard import GuardedRunner
from runtime.temporal import connect
from screening.lists import ListScreening
from screening.rounds import ScreeningRounds
from screening.screener import Screener
from storage.calendars import Calendars, ReleaseSlots
from storage.closures import ClosureBook
from storage.fx import FxBook, FxSlots
from storage.fx_reading import FxReading
from storage.instructions import Instructions
from storage.refused_messages import RefusedMessages
from storage.reviews import Reviews
from storage.risk import RiskBook
from storage.screening import ScreeningBook
from storage.settlements import SettlementBook
from sweeper import OLDER_THAN, UNFINISHED_A_ROUND, Sweeper
from vault.bank_steps import BankStepVault
from vault.fx_steps import FxVault
from vault.leaving import Leaving, Retaining
from vault.purging import RetentionPurge
from wiring import Adapters, open_adapters
from workflows import names
from workflows.bind_card import BindCard
from workflows.close_account import CloseAccount
from workflows.collect_payment import CollectPayment
from workflows.correct_payment import CorrectPayment
from workflows.learn_excess import LearnExcess
from workflows.open_receiving_account import OpenReceivingAccount
from workflows.purge_retained import PurgeRetained
from workflows.read_bank_record import ReadBankRecord
from workflows.receive_inbound import ReceiveInbound
from workflows.refund_payment import RefundPayment
from workflows.replan_payouts import ReplanFx, ReplanPayouts
from workflows.return_inbound import ReturnInbound
from workflows.return_payout import ReturnPayout
from workflows.send_payout import SendPayout
from workflows.settle_fx import SettleFx
from workflows.settle_merchants import SettleMerchants
from workflows.starting import Processes
from workflows.unbind_card import UnbindCard

WORKFLOWS: Sequence[type] = (
    BindCard, CloseAccount, CollectPayment, CorrectPayment, LearnExcess, OpenReceivingAccount, PurgeRetained,
    ReadBankRecord, ReceiveInbound, RefundPayment, ReplanFx, ReplanPayouts, ReturnInbound, ReturnPayout, SendPayout,
    SettleFx, SettleMerchants, UnbindCard,
)  # fmt: skip
# Longer than the longest bank exchange, so that a stop never abandons a debit in the middle.
GRACE = timedelta(seconds=25)
PASSED_THROUGH = ("activities", "domain", "workflows", "pydantic", "pydantic_core", "annotated_types", "zoneinfo")


def build_worker(
    client: Client,
    book: InstructionBook,
    vault: PersonalVault,
    banks: BankDirectory,
    *,
    others: Sequence[Callable[..., Any]] = (),
    task_queue: str = names.TASK_QUEUE,
) -> Worker:
    """The worker with every process and activity; used by tests with other adapters.

    `others`: the activities that need more than books, vault and banks: they assess, plan and review payouts.
    """
    steps, settling = BankSteps(book, vault, banks), Settling(book)
    return Worker(
        client,
        task_queue=task_queue,
        workflows=WORKFLOWS,
        activities=[
            steps.apply_to_sign,
            steps.unsign,
            steps.send_payment_code,
            steps.debit,
            steps.refund,
            steps.refund_late_success,
            steps.pay_out,
            steps.ask_bank,
            steps.ask_about_code,
            settling.settle,
            Deciding(book).check_decision,
            Looking(book).look_at_payout,
            BankRecords(banks).read_bank_record,
            *others,
        ],
        workflow_runner=GuardedRunner(
            restrictions=SandboxRestrictions.default.with_passthrough_modules(*PASSED_THROUGH)
        ),
        interceptors=[MessageGuard()],
        graceful_shutdown_timeout=GRACE,
        max_concurrent_activities=200,
        max_concurrent_local_activities=200,
    )


def settling_merchants(
    book: SettlementBook, calendars: CalendarBook, ids: UlidSource, policy: Policy
) -> list[Callable[..., Any]]:
    """The activities that settle merchants."""
    settling = SettlingMerchants(
        book,
        calendars,
        ids.ulid,
        working_days=policy.settlements.working_days,
        route=policy.settlement_route,
        agreement_version=policy.agreement.version,
    )
    return [settling.settlement_day, settling.report_settlements, settling.pay_settlements]


def foreign_currency(
    adapters: Adapters, calendars: CalendarBook, policy: Policy, processes: Processes
) -> list[Callable[..., Any]]:
    """The activities that receive and convert foreign currency."""
    book, vault = FxBook(adapters.engine), FxVault(adapters.vault)
    steps = FxSteps(book, vault, adapters.banks)
    planning = FxPlanning(FxSlots(adapters.engine), calendars, policy.fx, processes)
    receiving = Receiving(book, vault, adapters.banks, FxLauncher(FxReading(adapters.engine), processes))
    return [
        steps.convert, steps.return_inbound, steps.open_receiving_account, steps.ask_fx_bank, steps.settle_fx,
        steps.look_at_fx, planning.plan_fx, planning.replan_fx_page, receiving.receive_inbound, receiving.learn_excess,
    ]  # fmt: skip


def retaining(adapters: Adapters, ids: UlidSource) -> Retaining:
    """What copies the data that the law keeps, before anything is destroyed."""
    return Retaining(ClosureBook(adapters.engine), adapters.vault, adapters.retention, ids.ulid)


def closing_accounts(
    adapters: Adapters, calendars: CalendarBook, ids: UlidSource, policy: Policy
) -> list[Callable[..., Any]]:
    """The activities that close accounts and forget."""
    book, keeps = ClosureBook(adapters.engine), retaining(adapters, ids)
    closing = Closing(
        book,
        Leaving(book, keeps, adapters.retention, adapters.forgetting()),
        calendars,
        adapters.banks,
        rules=policy.closing,
        retention=policy.retention,
    )
    return [
        closing.look_at_closure, closing.retain_page, closing.forget, closing.tell_recipients, closing.complete_closure,
        closing.end_following,
    ]  # fmt: skip


def purging_retained(purge: Purge, rules: RetentionRules) -> list[Callable[..., Any]]:
    """The activities that purge what no clock keeps any longer."""
    purging = PurgingRetained(purge, rules)
    return [purging.purge_page, purging.report_purge]


def purge_schedule(rules: RetentionRules) -> DailyProcess:
    """When retained records are purged."""
    return DailyProcess(
        schedule_id=names.Process.PURGE_RETAINED.value,
        workflow=names.Process.PURGE_RETAINED.value,
        workflow_id=names.workflow_id(names.Process.PURGE_RETAINED, "scheduled"),
        task_queue=names.TASK_QUEUE,
        at=rules.run_at,
        time_zone=SHANGHAI.key,
        catch_up=timedelta(days=rules.catch_up_days),
        note="Purges what neither law nor agreement nor consent keeps any longer (docs/decisions/0017).",
    )


def merchants_schedule(rules: SettlementRules) -> DailyProcess:
    """When merchants are settled."""
    return DailyProcess(
        schedule_id=names.Process.SETTLE_MERCHANTS.value,
        workflow=names.Process.SETTLE_MERCHANTS.value,
        workflow_id=names.workflow_id(names.Process.SETTLE_MERCHANTS, "scheduled"),
        task_queue=names.TASK_QUEUE,
        at=rules.run_at,
        time_zone=SHANGHAI.key,
        catch_up=timedelta(days=rules.catch_up_days),
        note="Adds up what merchants are owed and pays it out (docs/operators/settlements.md).",
    )


@asynccontextmanager
async def running(settings: WorkerSettings) -> AsyncIterator[None]:
    """Everything the worker needs, open; closed in good order."""
    clock, policy = SystemClock(), Policy.model_validate(read_policy())
    async with open_adapters(settings, functions=("app.claim_effects", "app.settle")) as adapters:
        # Before anything else: data that were restored from a backup have not forgotten yet (P3.3, P4.5).
        await adapters.forgetting(retaining(adapters, UlidSource()).everything).apply_missing()
        refused = RefusedMessages(adapters.engine, clock.now)

        def on_refusal(workflow_id: str, why: Refusal) -> None:
            log_refusal(workflow_id, why)
            refused.note(workflow_id, why.value)

        client = await connect(settings.payload_keys, environment=settings.environment, on_refusal=on_refusal)
        book = Instructions(adapters.engine, adapters.batchers)
        deadline = timedelta(seconds=policy.codes.binding_deadline_seconds)
        ids, lists, processes = UlidSource(), ScreeningBook(adapters.engine), Processes(client)
        screener = Screener(ListScreening(lists, policy.screening, clock.now), adapters.vault, ids.ulid)
        unfinished_after = timedelta(seconds=settings.unfinished_after_seconds)
        rounds: dict[str, Any] = {
            "older_than": OLDER_THAN, "unfinished_after": unfinished_after, "unfinished_a_round": UNFINISHED_A_ROUND
        }  # fmt: skip
        sweeper = Sweeper(
            adapters.engine,
            processes,
            clock.now,
            deadline,
            unfinished_after=unfinished_after,
            rounds=(
                ScreeningRounds(lists, screener, policy.screening.subjects_a_round, clock.now).one,
                FxSweeper(adapters.engine, processes, clock.now, **rounds).one,
                ClosureSweeper(adapters.engine, processes, clock.now, **rounds).one,
            ),
        )
        assessing = Assessing(RiskBook(adapters.engine), screener, policy.risk, ids.ulid)
        planner = CalendarBook(Calendars(adapters.engine))
        planning = Planning(ReleaseSlots(adapters.engine), planner, policy.payout_routes, processes)
        others: tuple[Callable[..., Any], ...] = (
            Reviewing(Reviews(adapters.engine)).review_standing, assessing.assess_payout, planning.plan_payout,
            planning.replan_page, *settling_merchants(SettlementBook(adapters.engine), planner, ids, policy),
            *foreign_currency(adapters, planner, policy, processes),
            *closing_accounts(adapters, planner, ids, policy),
            *purging_retained(RetentionPurge(adapters.engine, adapters.forgetting(), clock.now), policy.retention),
        )  # fmt: skip
        await keep_schedule(client, merchants_schedule(policy.settlements))
        await keep_schedule(client, purge_schedule(policy.retention))
        async with build_worker(client, book, BankStepVault(adapters.vault), adapters.banks, others=others):
            sweeping = asyncio.create_task(sweeper.run(), name="sweeper")
            async with serve_health(settings.worker_health_port, adapters.database_answers):
                try:
                    yield
                finally:
                    sweeping.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await sweeping
        await refused.close()


async def main() -> None:
    """Runs until SIGTERM or SIGINT."""
    settings = load_or_exit(WorkerSettings)
    configure_logging("worker", settings.log_level)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with running(settings):
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(main())
