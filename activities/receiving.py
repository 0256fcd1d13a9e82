"""Foreign currency that has arrived, and what a desk finds out later: the bank is asked, and its answer is booked.

Names and numbers of a remittance go from the bank's answer into the vault and nowhere else.
"""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Any, Protocol

from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from activities import names
from activities.fx_terms import attempted_at
from activities.interfaces import ExcessLearned, ExcessQuestion, InboundQuestion, InboundReceived
from domain.banking import BankOutcome
from domain.business_time import business_date
from domain.errors import ErrorCode, SettlementRefusedError
from domain.fx import DoubtfulInbound, FxStanding, OpenReversal, ReceivedInbound, ReceiveInbound
from domain.fx_banking import (
    PATIENCE_FOR_REMITTANCE,
    FxConnector,
    InboundRemittance,
    RemittanceUnavailableError,
    RemittanceUnreadableError,
    check_value_date,
)
from domain.identifiers import IdPrefix, derived_ulid, identifier
from domain.states import FxState

log = logging.getLogger(__name__)

# As long as it is in one of these, what it was dealt at may still become known.
_UNDER_WAY = (FxState.SENDING, FxState.UNKNOWN, FxState.CONVERTED)


class InboundBook(Protocol):
    """The books (`storage.fx.FxBook`)."""

    async def receiver_of(self, bank: str, account_index: str, name_index: str, currency: str) -> str | None: ...

    async def standing(self, fx_id: str, now: datetime) -> FxStanding | None: ...

    async def deal_of(self, fx_id: str) -> tuple[str, str] | None: ...

    async def receive_inbound(self, command: ReceiveInbound) -> ReceivedInbound: ...

    async def no_such_inbound(self, bank: str, reference: str, now: datetime) -> None: ...

    async def doubt_inbound(self, command: DoubtfulInbound) -> str | None: ...

    async def open_reversal(self, command: OpenReversal) -> str | None: ...


class RemittanceVault(Protocol):
    """The vault (`vault.fx_steps.FxVault`)."""

    def number_index(self, number: str) -> str: ...

    def name_index(self, name: str) -> str: ...

    async def seal_remittance(self, owner: str, remittance: InboundRemittance) -> Any: ...


class ConnectorDirectory(Protocol):
    """From a bank code to its connector."""

    def fx_connector_for_sent(self, bank_code: str) -> FxConnector: ...


class FxStarter(Protocol):
    """Starts the process of a conversion by its id (`fx_sweeper.FxLauncher`); the sweeper does it otherwise."""

    async def begin_fx(self, fx_id: str) -> bool: ...


class Receiving:
    """The activities that ask banks what arrived, and what was above a quota."""

    def __init__(
        self,
        book: InboundBook,
        vault: RemittanceVault,
        banks: ConnectorDirectory,
        starter: FxStarter,
    ) -> None:
        self._book = book
        self._vault = vault
        self._banks = banks
        self._starter = starter

    @activity.defn(name=names.RECEIVE_INBOUND)
    async def receive_inbound(self, question: InboundQuestion) -> InboundReceived:
        """Asked and booked in one go, once by the bank's reference; safe to run again after any of its steps."""
        bank, now = self._banks.fx_connector_for_sent(question.bank_code), attempted_at(question.now)
        try:
            remittance = await bank.inbound(question.reference)
            check_value_date(remittance, business_date(now))
        except RemittanceUnavailableError as error:
            if not error.is_unknown:
                return await self._doubted(question, error, now)
            await self._book.no_such_inbound(question.bank_code, question.reference, now)
            return InboundReceived()
        received = await self._book.receive_inbound(await self._sealed(question, remittance, now))
        if received.error == "try_again":
            raise ApplicationError("its receiving account was opened or closed meanwhile", type="TRY_AGAIN")
        if received.error == "reference_reused":
            # The books have opened a case: nothing that is asked again changes it.
            return InboundReceived(inbound_id=received.inbound_id, state="differs")
        if received.error is not None:
            raise ApplicationError(f"the books refused it: {received.error}", type="SETTLEMENT_REFUSED")
        if received.fx_id is not None:
            await self._starter.begin_fx(received.fx_id)
        return InboundReceived(inbound_id=received.inbound_id, state=received.state, fx_id=received.fx_id)

    @activity.defn(name=names.LEARN_EXCESS)
    async def learn_excess(self, question: ExcessQuestion) -> ExcessLearned:
        """What a desk says of a conversion now; exactly what is new of an excess is taken back (A5.2c)."""
        dealt = await self._book.deal_of(question.fx_id)
        now = attempted_at(question.now)
        if dealt is None:
            standing = await self._book.standing(question.fx_id, now)
            if standing is not None and standing.state in _UNDER_WAY:
                raise ApplicationError("its deal is not booked yet", type="TRY_AGAIN")
            return ExcessLearned(excess_minor=0)
        number, desk = dealt
        answer = await self._banks.fx_connector_for_sent(desk).fx_query(number)
        if answer.outcome is BankOutcome.UNKNOWN:
            raise _no_answer(desk)
        if answer.outcome is not BankOutcome.SUCCEEDED or answer.excess_minor <= 0:
            return ExcessLearned(excess_minor=0)
        command = OpenReversal(
            now=now, fx_id=question.fx_id, excess_minor=answer.excess_minor,
            reversal_id=identifier(IdPrefix.FX, derived_ulid(question.now, "reversal", question.fx_id)),
        )  # fmt: skip
        try:
            reversal_id = await self._book.open_reversal(command)
        except SettlementRefusedError as refused:
            raise ApplicationError(f"cannot be taken back yet: {refused.error}", type="TRY_AGAIN") from refused
        if reversal_id is not None:
            await self._starter.begin_fx(reversal_id)
        return ExcessLearned(excess_minor=answer.excess_minor, reversal_id=reversal_id)

    async def _doubted(
        self, question: InboundQuestion, error: RemittanceUnavailableError, now: datetime
    ) -> InboundReceived:
        """People are told of what cannot be believed, and of a long silence; the bank is asked again all the same."""
        ulid = derived_ulid(question.now, "inbound_unreadable", question.bank_code, question.reference)
        about = {
            "now": now, "case_id": identifier(IdPrefix.CASE, ulid), "bank_code": question.bank_code,
            "reference": question.reference, "reason": error.reason,
        }  # fmt: skip
        if not isinstance(error, RemittanceUnreadableError):
            patience = int(PATIENCE_FOR_REMITTANCE.total_seconds())
            await self._book.doubt_inbound(DoubtfulInbound.model_validate(about | {"patience_seconds": patience}))
            raise _no_answer(question.bank_code) from None
        booked = await self._book.doubt_inbound(DoubtfulInbound.model_validate(about | {"fields": error.fields}))
        if booked is not None:
            return InboundReceived(inbound_id=booked, state="differs")
        raise ApplicationError(
            f"what {question.bank_code} says of it cannot be believed: {error.reason}", type="REMITTANCE_UNREADABLE",
            category=ApplicationErrorCategory.BENIGN,
        ) from None  # fmt: skip

    async def _sealed(self, question: InboundQuestion, remittance: InboundRemittance, now: datetime) -> ReceiveInbound:
        number = self._vault.number_index(remittance.account_number)
        receiver = self._vault.name_index(remittance.receiver_name)
        # Derived, so that a second attempt makes no second key.
        ulid = derived_ulid(question.now, question.bank_code, question.reference)
        inbound_id = identifier(IdPrefix.INBOUND, ulid)
        owner = await self._book.receiver_of(question.bank_code, number, receiver, remittance.currency) or inbound_id
        sealed = await self._vault.seal_remittance(owner, remittance)
        stated = (
            "reference",
            "amount_minor",
            "currency",
            "value_date",
            "booked_at",
            "purpose_code",
            "remitter_country",
        )
        return ReceiveInbound.model_validate(
            {name: getattr(remittance, name) for name in stated}
            | {
                "now": now, "id": inbound_id, "fx_id": identifier(IdPrefix.FX, ulid),
                "bank_code": question.bank_code, "account_index": number, "receiver_index": receiver,
                "sealed": sealed.items, "sealed_under": owner, "element_tokens": sealed.tokens,
            }
        )  # fmt: skip


def _no_answer(bank_code: str) -> ApplicationError:
    return ApplicationError(
        f"{bank_code} did not answer", type=ErrorCode.BANK_NO_ANSWER.value, category=ApplicationErrorCategory.BENIGN
    )
