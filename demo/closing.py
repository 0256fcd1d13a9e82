"""An account closes: what is in the way, in which order it goes, what the user gets, and that nothing is left."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime

from banks.simulator.payee_accounts import example_account
from client import Binding, Closure, FundsRecord, LiushuiError, Payment
from client.closure_models import Certificate, Notice
from client.states import ClosureState, ErasureReply, PayeeKind
from demo.payer import Payer
from demo.people import person
from demo.stage import Stage
from demo.traces import Found
from demo.wording import amount, ended
from domain.business_time import SHANGHAI

NAME, PAYS_OUT = "欧阳知秋", "HBRB"
# What is paid in leaves again with its fee, to the last fen.
PAID_IN_MINOR, PAID_OUT_MINOR, PAID_MINOR = 30_100, 30_000, 5_000
PATIENCE_SECONDS = 90.0
# Q1: what was booked in a year is kept for ten full ones after it.
KEPT_YEARS = 10
_LOOKS, _PAUSE_SECONDS = 150, 0.2
_REPLIED = (ErasureReply.ERASED, ErasureReply.KEPT)


@dataclass
class _Account:
    """Of whoever leaves."""

    payer: Payer
    binding: Binding
    payment: Payment
    planted: dict[str, str]
    closure_id: str = ""


class Leaving:
    """Three scenarios about one person, to be played one after the other."""

    def __init__(self) -> None:
        self._account: _Account | None = None

    async def an_account_closes(self, stage: Stage) -> None:
        account = await _open(stage)
        self._account = account
        merchant, payer = stage.merchant, account.payer
        payee = await payer.name_account(account.planted["account number"])
        dispute = await merchant.disputes.create(payer.user_id, "not_received", subject_id=account.payment.id)
        stage.tell(NAME, "says that the goods never came: there is a dispute (争议)")
        folder = await stage.traces.back_up()
        before = await stage.traces.before(payer.user_id, account.planted)
        stage.tell("institution", f"takes a backup: {folder}")
        stage.row(
            "A backup while the account is open, and what is readable of its user",
            "the merchant's reference in liushui; 7 values sealed, 7 of them opened with the user's key",
            f"{before.readable}; {before.sealed} values sealed, {before.opened} of them opened with the user's key",
        )
        closure = await merchant.closures.create(
            payer.user_id,
            identity_method="login",
            identity_checked_at=datetime.now(UTC),
            identity_evidence_ref="demo:click",
        )
        account.closure_id = closure.id
        stage.tell(NAME, f"wants to leave: the merchant asks to close the account, which is due on {closure.due_on}")
        seen = [_in_the_way(stage, closure)]
        refused = await _refusal(payer.pay(account.binding, 100))
        await stage.institution.resolve_dispute(dispute.id)
        seen.append(_in_the_way(stage, await merchant.closures.get(closure.id)))
        payout = await payer.withdraw(payee, PAID_OUT_MINOR)
        seen.append(_in_the_way(stage, await merchant.closures.get(closure.id)))
        stage.row(
            "Ask to close an account that is disputed and not empty",
            "closing; in the way: dispute, balance (CNY 30100), records; a payment is refused: ACCOUNT_CLOSING;"
            " resolved: balance (CNY 30100), records; paid out, succeeded: records",
            f"{closure.state}; in the way: {seen[0]}; a payment is {refused}; resolved: {seen[1]};"
            f" paid out, {ended(payout)}: {seen[2]}",
            payout,
        )
        await self._goes_to_its_end(stage, account)

    async def _goes_to_its_end(self, stage: Stage, account: _Account) -> None:
        merchant, payer = stage.merchant, account.payer
        stage.tell("merchant", "hands over where the money came from: nothing is in the way any more")
        await merchant.closures.hand_over(account.closure_id, [_record_of(account.payment)])
        closure = await merchant.closures.wait(account.closure_id, within_seconds=PATIENCE_SECONDS)
        stage.tell("institution", f"the agreement ended on {closure.ended_on}, the key is destroyed: {closure.state}")
        await merchant.closures.reply(closure.id, "erased")
        stage.tell("merchant", "has deleted what it got about the user, and says so")
        closure = await merchant.closures.wait(closure.id, until=_all_replied, within_seconds=PATIENCE_SECONDS)
        unbound = await merchant.bindings.get(payer.user_id, account.binding.id)
        stage.row(
            "The merchant hands over its records, and the account closes",
            "completed in time, ended on the day; the card is unbound, then refused: USER_NOT_ACTIVE;"
            " told: accepted, unsigning, ended, completed",
            f"{_in_time(closure)}; the card is {unbound.state}, then {await _refusal(payer.pay(account.binding, 100))};"
            f" {await _told(stage, closure, 4)}",
            closure,
        )
        certificate = await merchant.closures.certificate(closure.id)
        path = stage.keep(
            "The certificate of closing",
            f"{closure.id}.html",
            await merchant.closures.certificate_page(closure.id),
        )
        stage.tell(NAME, f"gets the certificate (注销证明), in Chinese and English: {path}")
        stage.row(
            "The certificate of closing",
            "completed; 7 values of 6 kinds destroyed with their key; kept by law for ten full years: identity 1,"
            " source_of_funds 1, transaction 3; told to delete: HBRB kept (law), merchant erased;"
            " no backup of the key after 7 days",
            _facts_of(certificate),
            closure,
        )

    async def nothing_readable_is_left(self, stage: Stage) -> None:
        account = self._of_whoever_left()
        found = await stage.traces.in_what_is_kept(account.payer.user_id, account.planted)
        stage.tell("institution", f"looks for {', '.join(account.planted)}: {found.readable} in {_count(found)}")
        stage.row(
            "What is readable of who has left: in all databases, histories, logs and in the sealed backup"
            " (but for the banks, whose books are theirs)",
            "nothing; of 7 sealed values copied before, the keys of now open 0",
            _left(found, "the keys of now"),
        )
        found = await stage.traces.in_the_backup_restored(account.planted)
        stage.tell("institution", f"has put that backup beside what runs, and forgotten again: {_count(found)}")
        stage.row(
            "And in that backup, restored beside what runs and made to forget by the erasure list",
            "nothing; of 7 sealed values copied before, the keys of the backup open 0",
            _left(found, "the keys of the backup"),
        )

    async def who_comes_back_starts_from_nothing(self, stage: Stage) -> None:
        account = self._of_whoever_left()
        merchant, payer = stage.merchant, account.payer
        left, reference = payer.user_id, account.planted["merchant's reference"]
        again = await merchant.users.create(reference)
        stage.tell("merchant", f"registers {reference} anew, for {NAME} is back")
        cards = [binding async for binding in merchant.bindings.list(again.id)]
        balance = await merchant.users.balance(again.id)
        payer.user_id = again.id
        bound = await _refusal(payer.bind(stage.card(PAYS_OUT)))
        who = "the same user" if again.id == left else "a new user"
        stage.row(
            "The merchant registers the same reference anew",
            "a new user, active, 0 cards, 0.00 CNY; to bind is refused: AGREEMENT_REQUIRED",
            f"{who}, {again.state}, {len(cards)} cards, {amount(balance.posted_minor)}; to bind is {bound}",
        )

    def _of_whoever_left(self) -> _Account:
        if self._account is None or not self._account.closure_id:
            raise ValueError("no account has closed")
        return self._account


async def _open(stage: Stage) -> _Account:
    """A card, money on the own balance, and one payment to the merchant."""
    payer, binding = await stage.payer_with_card(NAME, PAYS_OUT)
    await payer.pay(binding, PAID_IN_MINOR, payee_kind=PayeeKind.USER)
    payment = await payer.pay(binding, PAID_MINOR)
    who = person(NAME, stage.number)
    planted = {
        "name": NAME,
        "ID number": who.id_number,
        "card number": stage.card(PAYS_OUT),
        "mobile": who.mobile,
        "account number": example_account("CN", serial=stage.number),
        "merchant's reference": payer.reference,
    }
    return _Account(payer, binding, payment, planted)


def _record_of(payment: Payment) -> FundsRecord:
    traded_on = payment.accepted_at.astimezone(SHANGHAI).date()
    return FundsRecord(payment.order_number, payment.amount_minor, payment.currency, traded_on, "古籍一套", NAME)


def _in_the_way(stage: Stage, closure: Closure) -> str:
    found = [f"{each.kind} ({each.detail})" if each.kind == "balance" else str(each.kind) for each in closure.obstacles]
    said = ", ".join(found) or "nothing"
    stage.tell("merchant", f"sees that the account is {closure.state}, in the way: {said}")
    return said


def _in_time(closure: Closure) -> str:
    answered = closure.answered_at.astimezone(SHANGHAI).date() if closure.answered_at else date.max
    on_the_day = closure.ended_on in (answered, closure.received_at.astimezone(SHANGHAI).date())
    return (
        f"{ended(closure)} {'in time' if answered <= closure.due_on else 'late'},"
        f" {'ended on the day' if on_the_day else f'ended on {closure.ended_on}'}"
    )


def _all_replied(closure: Closure) -> bool:
    return closure.state == ClosureState.COMPLETED and all(each.reply in _REPLIED for each in closure.notices)


def _facts_of(certificate: Certificate) -> str:
    """Of the certificate what does not differ from day to day."""
    gone, answered = certificate.destroyed, certificate.answered_at.astimezone(SHANGHAI).date()
    destroyed = f"{gone.items} values of {len(gone.fields)} kinds destroyed" if gone else "nothing destroyed"
    with_key = " with their key" if gone and gone.by_key else ""
    by_law = all(
        each.ground == "law" and each.until == date(each.event_year + KEPT_YEARS + 1, 1, 1) for each in certificate.kept
    )
    how = "by law for ten full years" if by_law else "otherwise"
    kept = ", ".join(sorted(f"{each.kind} {each.records}" for each in certificate.kept))
    told = ", ".join(sorted(map(_reply_of, certificate.told)))
    expires = certificate.key_backups_expire_on
    days = (expires - answered).days if expires else None
    return (
        f"{certificate.outcome}; {destroyed}{with_key}; kept {how}: {kept}; told to delete: {told};"
        f" no backup of the key after {days} days"
    )


def _reply_of(notice: Notice) -> str:
    why = f" ({notice.reply_reason})" if notice.reply_reason else ""
    return f"{notice.recipient if notice.kind == 'bank' else notice.kind} {notice.reply}{why}"


def _left(found: Found, keys: str) -> str:
    return f"{found.readable}; of {found.sealed} sealed values copied before, {keys} open {found.opened}"


def _count(found: Found) -> str:
    return f"{len(found.places)} places ({', '.join(found.places)})"


async def _told(stage: Stage, closure: Closure, at_least: int) -> str:
    """What the merchant's webhooks said of it, in their order; the last is on its way for a moment."""
    kinds: Iterable[str] = ()
    for _ in range(_LOOKS):
        found = {event.sequence: event.type for event in stage.receiver.events() if event.object_id == closure.id}
        kinds = [kind.removeprefix("closure.") for _, kind in sorted(found.items())]
        if len(found) >= at_least:
            break
        await asyncio.sleep(_PAUSE_SECONDS)
    return f"told: {', '.join(kinds)}"


async def _refusal(asked: Awaitable[object]) -> str:
    try:
        await asked
    except LiushuiError as refused:
        return f"refused: {refused.code}"
    return "not refused"
