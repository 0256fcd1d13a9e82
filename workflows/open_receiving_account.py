"""Open a number under which remittances reach one user: the bank gets the holder's name, and answers the number (P6b).

The number never enters the process: whoever learns it, an activity, seals and books it at once.
"""

from __future__ import annotations

from datetime import datetime

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities import names as activity_names
    from activities.interfaces import EffectRequest, EffectResult
    from domain.banking import BankOutcome
    from domain.fx import NUMBER_IN_USE, FxEntry
    from domain.identifiers import BankStep as Step
    from domain.identifiers import request_number
    from domain.states import ReceivingAccountState, WaitReason
    from workflows import names, policies
    from workflows.bank_step import BankStep, send_until_known
    from workflows.fx_at_desk import next_pause
    from workflows.messages import ProcessResult, ReceivingOrder
    from workflows.settling_fx import settle_fx
    from workflows.waking import Waker

S = ReceivingAccountState
# What passes: it is tried again, more and more slowly.
STOPS = {
    "partner_not_available": WaitReason.PARTNER,
    "authority_hold": WaitReason.AUTHORITY_ORDER,
    "funds_frozen": WaitReason.FREEZE,
    "function_suspended": WaitReason.FREEZE,
    "user_not_active": WaitReason.FREEZE,
}


@workflow.defn(name=names.Process.OPEN_RECEIVING_ACCOUNT.value)
class OpenReceivingAccount:
    """One receiving account from its acceptance until it is open, or declined."""

    @workflow.init
    def __init__(self, order: ReceivingOrder) -> None:
        self._order = order
        self._waker = Waker()
        self._stopped_by: str | None = None
        self._number = request_number(Step.RECEIVING_ACCOUNT, order.account_id)
        request = EffectRequest(
            kind="receiving_account", subject_id=order.account_id, bank_code=order.bank_code,
            request_number=self._number, now=workflow.now(), user_id=order.user_id,
        )  # fmt: skip
        self._step = BankStep(
            activity_names.OPEN_RECEIVING_ACCOUNT, request, f"Open a receiving account at {order.bank_code}",
            ask=activity_names.ASK_FX_BANK,
        )  # fmt: skip

    @workflow.run
    async def run(self, order: ReceivingOrder) -> ProcessResult:
        pause = policies.FIRST_PAUSE_WHILE_HELD
        while True:
            result = await self._send()
            if result.blocked not in STOPS:
                break
            await self._show_stop(result.blocked)
            await self._waker.woken_by(workflow.now() + pause, "Until it may go on")
            pause = next_pause(pause, policies.LONGEST_PAUSE_WHILE_HELD)
            await self._renew_if_long()
        if result.blocked in ("state_conflict", "not_found"):
            return ProcessResult(state=result.blocked_state or "unknown_to_the_books")
        if result.outcome is BankOutcome.SUCCEEDED:
            return self._settled(result)
        return await self._decline(result)

    @workflow.signal(name=names.BANK_NOTICE_SIGNAL)
    def bank_notice(self) -> None:
        """The bank has something to say; it is asked, and only its answer counts."""
        self._step.notice()
        self._waker.wake()

    @workflow.signal(name=names.LOOK_AGAIN_SIGNAL)
    def look_again(self) -> None:
        """Something that it waits for may have changed."""
        self._waker.wake()

    async def _send(self) -> EffectResult:
        self._tell(f"Asking {self._order.bank_code} for a number.")
        return await send_until_known(
            self._step,
            is_shown=False,
            answer_by=None,
            answer_within=policies.ANSWER_TO_PAYOUT_WITHIN,
            show_as_unknown=self._show_as_unknown,
            park=self._park,
            renew=lambda: workflow.continue_as_new(self._order),
        )

    async def _renew_if_long(self) -> None:
        """A long wait goes on in a fresh history, unless there is something to look at first."""
        if not workflow.info().is_continue_as_new_suggested():
            return
        await workflow.wait_condition(workflow.all_handlers_finished)
        if not self._waker.is_woken:
            workflow.continue_as_new(self._order)

    async def _show_stop(self, obstacle: str) -> None:
        self._tell(f"Stopped: {obstacle}.")
        if obstacle == self._stopped_by:
            return
        self._stopped_by = obstacle
        key = f"stopped:{int(workflow.now().timestamp())}"
        await settle_fx(self._entry(key, None, "refused", reason=obstacle, wait_reason=STOPS[obstacle]))

    async def _show_as_unknown(self, _: EffectResult, answer_by: datetime) -> None:
        self._tell(f"{self._order.bank_code} has not answered; asking until it does.")
        await settle_fx(
            self._entry("unknown", None, "unknown", wait_reason=WaitReason.BANK_ANSWER, wait_deadline=answer_by)
        )

    async def _park(self) -> None:
        self._tell(f"{self._order.bank_code} does not answer; a person has to look.")
        await settle_fx(self._entry("parked", None, "unknown", wait_reason=WaitReason.OPERATOR))

    def _settled(self, result: EffectResult) -> ProcessResult:
        """The bank gave a number, and whoever learned it has settled what comes of it."""
        if result.reason == NUMBER_IN_USE:
            self._tell(f"Ended as {S.DECLINED}: the number is another user's; a person asks {self._order.bank_code}.")
            return ProcessResult(state=S.DECLINED, reason=NUMBER_IN_USE)
        self._tell("Open.")
        return ProcessResult(state=S.OPEN)

    async def _decline(self, result: EffectResult) -> ProcessResult:
        reason = result.reason or result.blocked or "declined"
        sent = {} if result.blocked else {"effect_number": self._number, "effect_outcome": "declined"}
        settled = await settle_fx(
            self._entry(
                "declined", S.DECLINED, "failed", reason=reason, raw_code=result.raw_code,
                event_type="receiving_account.declined", **sent,
            )
        )  # fmt: skip
        self._tell(f"Ended as {settled.state or S.DECLINED} because of {reason}.")
        return ProcessResult(state=settled.state or S.DECLINED, reason=reason)

    def _entry(self, key: str, state: ReceivingAccountState | None, outcome: str, **fields: object) -> FxEntry:
        return FxEntry.model_validate(
            {
                "key": f"{self._order.account_id}:{key}", "kind": "receiving_account", "id": self._order.account_id,
                "state": state, "at": workflow.now(), "action": "open_receiving_account", "outcome": outcome,
                "expect": (S.OPENING,), **fields,
            }
        )  # fmt: skip

    def _tell(self, sentence: str) -> None:
        workflow.set_current_details(f"{sentence} ({workflow.now():%Y-%m-%d %H:%M:%S} UTC)")
