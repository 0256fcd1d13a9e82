"""The steps of foreign currency at a bank: deal, send a remittance back, open a receiving account, ask (A5.1b, A5.2a).

As in `bank_steps`: each claims its effect first and sends once. A deal is claimed with a quote that was fetched for it
a moment before: the rate is that of the conversion, never one that was kept.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeVar

from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from activities import names
from activities.bank_steps import blocked as refused_claim
from activities.bank_steps import surely_remembered, unsent, waited_for_a_worker
from activities.fx_terms import attempted_at, difference, is_deal, terms_of
from activities.interfaces import Deal, EffectQuery, EffectRequest, EffectResult, FxQuestion, SettleResult
from activities.settling import OVERTAKEN
from domain.banking import BankOutcome
from domain.disclosure import PartnerRole
from domain.errors import EffectRefusedError, ErrorCode, SettlementRefusedError
from domain.fx import NUMBER_IN_USE, ClaimedFxEffect, ClaimFxEffect, FxEntry, FxStanding, SentFx
from domain.fx_banking import (
    ConversionRequest,
    FxAnswer,
    FxConnector,
    FxQuote,
    InboundReturnRequest,
    QuoteSide,
    QuoteUnavailableError,
    ReceivingAccountRequest,
)
from domain.identifiers import BankStep, request_number
from domain.personal_data import PersonalField
from domain.states import ReceivingAccountState

_LONGEST_WAIT_BEFORE_SENDING_SECONDS = 4.0
# What stops a conversion while a case about its desk's words is open (`app.fx_obstacle`).
CONTRADICTED = "bank_contradicts_itself"
T = TypeVar("T")
Opened = Mapping[PersonalField, str]
Send = Callable[[FxConnector, ClaimedFxEffect, Opened], Awaitable[FxAnswer]]


class FxBook(Protocol):
    """The books of foreign currency (`storage.fx.FxBook`)."""

    async def claim(self, command: ClaimFxEffect) -> ClaimedFxEffect: ...

    async def settle(self, entry: FxEntry) -> str | None: ...

    async def standing(self, fx_id: str, now: datetime) -> FxStanding | None: ...

    async def sent_terms(self, request_number: str) -> SentFx | None: ...

    async def desk_of(self, request_number: str) -> str | None: ...

    async def contradicted(self, bank_code: str, request_number: str, at: datetime) -> None: ...


class FxVault(Protocol):
    """The vault as these steps need it (`vault.fx_steps.FxVault`)."""

    async def open_person(self, user_id: str, rows: Any) -> dict[PersonalField, str]: ...

    def disclose_converter(self, user_id: str, bank_code: str, request_number: str) -> tuple[dict[str, Any], ...]: ...

    def disclose_holder(
        self, user_id: str, bank_code: str, request_number: str, *, abroad: bool
    ) -> tuple[dict[str, Any], ...]: ...

    async def seal_number(self, user_id: str, number: str) -> Any: ...


class FxDirectory(Protocol):
    """From a bank code to its connector."""

    def fx_connector_for_sent(self, bank_code: str) -> FxConnector: ...

    def role(self, bank_code: str) -> PartnerRole: ...


class FxSteps:
    """Activities that reach a bank about foreign currency."""

    def __init__(self, book: FxBook, vault: FxVault, banks: FxDirectory) -> None:
        self._book = book
        self._vault = vault
        self._banks = banks

    @activity.defn(name=names.CONVERT)
    async def convert(self, request: EffectRequest) -> EffectResult:
        """A deal at the rate that the desk publishes now, once under one number (A5.1b); or its reversal (A5.2c)."""
        is_reversal = request.request_number.startswith(BankStep.FX_REVERSAL)
        step = BankStep.FX_REVERSAL if is_reversal else BankStep.FX_CONVERSION

        async def send(bank: FxConnector, claimed: ClaimedFxEffect, opened: Opened) -> FxAnswer:
            answer = await bank.deal(_deal_of(request, claimed, opened))
            differs = difference(answer, terms_of(claimed), request.now + waited_for_a_worker())
            # Whatever it is about: it is asked about.
            return answer if differs is None else FxAnswer(outcome=BankOutcome.UNKNOWN, raw_code=differs)

        unclear = await self._before_another_number(request, step)
        if unclear is not None:
            return unclear
        return await self._perform(request, step, send, quote=QuoteSide.SELLS if is_reversal else QuoteSide.BUYS)

    async def _before_another_number(self, request: EffectRequest, step: BankStep) -> EffectResult | None:
        """What the desk turned away, or never got, it is asked about once more before another number goes out.

        If it has it after all, people look, and nothing goes out as long as it says so, whatever they find. Nor does
        anything as long as it does not say.
        """
        if request.attempt == 0 or await self._book.desk_of(request.request_number) is not None:
            return None
        number = request_number(step, request.subject_id, request.attempt - 1)
        # It may have gone to another desk than the one whose turn it is now.
        desk = await self._book.desk_of(number)
        if desk is None:
            return None
        answer = await self._banks.fx_connector_for_sent(desk).fx_query(number)
        if answer.outcome in (BankOutcome.DECLINED, BankOutcome.NOT_FOUND):
            return None
        obstacle = None
        if answer.outcome is not BankOutcome.UNKNOWN:
            await self._book.contradicted(desk, number, request.now)
            standing = await self._book.standing(request.subject_id, request.now)
            obstacle = standing and standing.obstacle
        blocked = obstacle if obstacle == CONTRADICTED else "not_claimed"
        return EffectResult(outcome=BankOutcome.DECLINED, blocked=blocked, request_number=request.request_number)

    @activity.defn(name=names.RETURN_INBOUND)
    async def return_inbound(self, request: EffectRequest) -> EffectResult:
        """Foreign currency goes back to where it came from."""

        async def send(bank: FxConnector, claimed: ClaimedFxEffect, _: Opened) -> FxAnswer:
            return await bank.return_inbound(
                InboundReturnRequest(
                    request_number=request.request_number,
                    inbound_reference=_known(claimed.inbound_reference),
                    amount_minor=_known(claimed.amount_minor),
                    currency=_known(claimed.currency),
                )
            )

        return await self._perform(request, BankStep.INBOUND_RETURN, send)

    @activity.defn(name=names.OPEN_RECEIVING_ACCOUNT)
    async def open_receiving_account(self, request: EffectRequest) -> EffectResult:
        """The bank gets the holder's name and nothing else (P6b); the number it answers is sealed here and now.

        A number that is another user's comes with the reason `NUMBER_IN_USE`: the account has ended with it.
        """
        in_use: str | None = None

        async def send(bank: FxConnector, claimed: ClaimedFxEffect, opened: Opened) -> FxAnswer:
            nonlocal in_use
            answer = await bank.open_receiving_account(
                ReceivingAccountRequest(
                    request_number=request.request_number,
                    currency=_known(claimed.currency),
                    holder_name=opened[PersonalField.NAME],
                )
            )
            in_use = await self._keep_number(
                request.subject_id, request.request_number, claimed.user_id, request.now, answer
            )
            return answer

        result = await self._perform(request, BankStep.RECEIVING_ACCOUNT, send)
        return result if in_use is None else result.model_copy(update={"reason": in_use})

    @activity.defn(name=names.ASK_FX_BANK)
    async def ask_fx_bank(self, query: EffectQuery) -> EffectResult:
        """What the bank knows of a request number. No answer is retried for as long as the process wants to know."""
        bank = self._banks.fx_connector_for_sent(query.bank_code)
        answer = await bank.fx_query(query.request_number)
        if answer.outcome is BankOutcome.UNKNOWN:
            raise ApplicationError(
                f"{query.bank_code} did not answer",
                type=ErrorCode.BANK_NO_ANSWER.value,
                category=ApplicationErrorCategory.BENIGN,
            )
        if is_deal(query.request_number):
            return await self._about_deal(query, bank, answer)
        moved = answer.amount_minor
        if (
            answer.outcome is BankOutcome.SUCCEEDED
            and None not in (moved, query.amount_minor)
            and moved != query.amount_minor
        ):
            # Neither success nor failure of what was asked for: it stays pending, for a person to see.
            raise ApplicationError(f"{query.bank_code} booked another amount", type="BANK_AMOUNT_DIFFERS")
        if query.subject_id is not None and answer.account_number is not None:
            now = activity.info().current_attempt_scheduled_time
            in_use = await self._keep_number(query.subject_id, query.request_number, None, now, answer)
            return _result(answer, bank, query.request_number).model_copy(update={"reason": in_use or answer.reason})
        return _result(answer, bank, query.request_number)

    async def _about_deal(self, query: EffectQuery, bank: FxConnector, answer: FxAnswer) -> EffectResult:
        """Believed if it is about what was claimed; what the process remembers of it may be of an older plan."""
        sent = await self._book.sent_terms(query.request_number)
        result = _result(answer, bank, query.request_number)
        if sent is None and answer.outcome is BankOutcome.NOT_FOUND:
            # Neither the books nor the desk know of it: whoever was to claim it never did.
            return result.model_copy(update={"outcome": BankOutcome.DECLINED, "blocked": "not_claimed"})
        now = attempted_at(query.now or activity.info().scheduled_time)
        differs = None if sent is None else difference(answer, sent, now)
        if sent is None or sent.desk != query.bank_code or differs is not None:
            # Neither success nor failure of what was asked for: it stays pending, for a person to see.
            raise ApplicationError(
                f"{query.bank_code} speaks of something else than was sent", type=differs or "BANK_TERMS_DIFFER"
            )
        return result.model_copy(update={"claimed_at": sent.claimed_at})

    @activity.defn(name=names.SETTLE_FX)
    async def settle_fx(self, entry: FxEntry) -> SettleResult:
        """Idempotent by the entry's key. What the ledger refuses stays pending, for an operator to see."""
        try:
            return SettleResult(state=await self._book.settle(entry))
        except SettlementRefusedError as refused:
            if refused.error in OVERTAKEN:
                return SettleResult(state=refused.state, refused=refused.error)
            raise ApplicationError(
                f"the books refused the settlement: {refused.error}", type="SETTLEMENT_REFUSED"
            ) from refused

    @activity.defn(name=names.LOOK_AT_FX)
    async def look_at_fx(self, question: FxQuestion) -> FxStanding:
        """The state that holds, and what of the kinds that pass stands in the way of sending it."""
        return await self._book.standing(question.fx_id, question.now) or FxStanding(state="not_found")

    async def _perform(
        self, request: EffectRequest, step: BankStep, send: Send, *, quote: QuoteSide | None = None
    ) -> EffectResult:
        bank = self._banks.fx_connector_for_sent(request.bank_code)
        began = time.monotonic()
        found = await self._quoted(bank, request, quote)
        quoted = time.monotonic()
        now = request.now + waited_for_a_worker() + timedelta(seconds=quoted - began)
        try:
            claimed = await self._book.claim(self._claim(request, step, bank, now, found))
        except EffectRefusedError as refused:
            return refused_claim(refused).model_copy(update={"request_number": request.request_number})
        if claimed.already and not request.resend:
            return unsent(claimed.claimed_at).model_copy(update={"request_number": request.request_number})
        opened = await self._vault.open_person(_known(claimed.user_id), claimed.sealed) if claimed.sealed else {}
        if time.monotonic() - quoted > _LONGEST_WAIT_BEFORE_SENDING_SECONDS:
            # The process has given this attempt up, or is about to: what it sent now, nobody would expect.
            return unsent(claimed.claimed_at).model_copy(update={"request_number": request.request_number})
        answer = await send(bank, claimed, opened)
        result = _result(answer, bank, request.request_number)
        return result.model_copy(update={"claimed_at": claimed.claimed_at})

    async def _quoted(self, bank: FxConnector, request: EffectRequest, side: QuoteSide | None) -> FxQuote | None:
        """What the desk deals at now. None where it says nothing: the claim then says what is to be done.

        One that took long to come is none, either: with it and the deal the attempt would outlast its time-out.
        """
        if side is None:
            return None
        began = time.monotonic()
        try:
            quote = await bank.fx_quote(_known(request.currency), side)
        except QuoteUnavailableError:
            return None
        return quote if time.monotonic() - began <= _LONGEST_WAIT_BEFORE_SENDING_SECONDS else None

    def _claim(
        self, request: EffectRequest, step: BankStep, bank: FxConnector, now: datetime, quote: FxQuote | None
    ) -> ClaimFxEffect:
        return ClaimFxEffect.model_validate(
            {
                "now": now, "kind": request.kind, "id": request.subject_id, "step": step.value,
                "request_number": request.request_number, "attempt": request.attempt, "resend": request.resend,
                "remembered_since": now - surely_remembered(bank.capabilities), "quote": quote,
                "disclosures": self._disclosures(request, step),
            }
        )  # fmt: skip

    def _disclosures(self, request: EffectRequest, step: BankStep) -> tuple[dict[str, Any], ...] | None:
        """What of whose data the step discloses, for the record that is made before it leaves."""
        if request.user_id is None:
            return None
        if step is BankStep.RECEIVING_ACCOUNT:
            abroad = self._banks.role(request.bank_code) is PartnerRole.OVERSEAS_BANK
            return self._vault.disclose_holder(
                request.user_id, request.bank_code, request.request_number, abroad=abroad
            )
        if step in (BankStep.FX_CONVERSION, BankStep.FX_REVERSAL):
            return self._vault.disclose_converter(request.user_id, request.bank_code, request.request_number)
        return None

    async def _keep_number(
        self, account_id: str, request_number: str, user_id: str | None, now: datetime, answer: FxAnswer
    ) -> str | None:
        """No number is ever handed to a process: it is sealed and settled by whoever learned it.

        Answers why it was not kept, where the books say that it is another user's.
        """
        if answer.outcome is not BankOutcome.SUCCEEDED or answer.account_number is None:
            return None
        owner = user_id or await self._owner_of(account_id)
        sealed = await self._vault.seal_number(owner, answer.account_number)
        state = await self._book.settle(
            FxEntry(
                key=f"{account_id}:opened", kind="receiving_account", id=account_id, expect=("opening",), state="open",
                at=now, action="open_receiving_account", outcome="done", raw_code=answer.raw_code,
                bank_reference=answer.bank_reference, effect_number=request_number, effect_outcome="succeeded",
                event_type="receiving_account.opened", account_index=sealed.blind_index, account_last4=sealed.last4,
                account_token=sealed.token, sealed=(sealed.item,),
            )
        )  # fmt: skip
        return NUMBER_IN_USE if state == ReceivingAccountState.DECLINED else None

    async def _owner_of(self, account_id: str) -> str:
        """The send claim of what was claimed already answers whose it is, and sends nothing."""
        number = f"{BankStep.RECEIVING_ACCOUNT.value}{account_id.rsplit('_', 1)[-1]}"
        claimed = await self._book.claim(
            ClaimFxEffect(
                now=activity.info().current_attempt_scheduled_time, kind="receiving_account", id=account_id,
                step=BankStep.RECEIVING_ACCOUNT.value, request_number=number,
            )
        )  # fmt: skip
        return _known(claimed.user_id)


def _deal_of(request: EffectRequest, claimed: ClaimedFxEffect, opened: Opened) -> ConversionRequest:
    return ConversionRequest.model_validate(
        {
            "request_number": request.request_number, "kind": _known(claimed.kind),
            "quote_id": _known(claimed.quote_id), "rate_e8": _known(claimed.rate_e8),
            "foreign_minor": _known(claimed.amount_minor),
            "foreign_currency": _known(claimed.currency), "foreign_at": _known(claimed.held_at),
            "purpose_code": _known(claimed.purpose_code), "is_trade": _known(claimed.is_trade),
            "residency": _known(claimed.residency), "name": opened.get(PersonalField.NAME),
            "id_number": opened.get(PersonalField.ID_NUMBER), "reverses": claimed.reverses,
        }
    )  # fmt: skip


def _result(answer: FxAnswer, bank: FxConnector, request_number: str) -> EffectResult:
    deal = None
    if answer.rate_e8 is not None and answer.foreign_minor is not None and answer.cny_minor is not None:
        deal = Deal(
            rate_e8=answer.rate_e8,
            foreign_minor=answer.foreign_minor,
            cny_minor=answer.cny_minor,
            delivered_at=answer.delivered_at,
            delivery_reference=answer.delivery_reference,
            excess_minor=answer.excess_minor,
        )
    return EffectResult(
        outcome=answer.outcome,
        request_number=request_number,
        reason=answer.reason,
        raw_code=answer.raw_code,
        bank_reference=answer.bank_reference,
        booked_at=answer.booked_at,
        deal=deal,
        request_validity_seconds=bank.capabilities.request_validity_seconds,
        remembered_seconds=int(surely_remembered(bank.capabilities).total_seconds()),
    )


def _known(value: T | None) -> T:
    """What the send claim always answers for this step; its absence is a defect of ours, not a bank's answer."""
    if value is None:
        raise ApplicationError("the send claim lacks a value that this step needs", non_retryable=True)
    return value
