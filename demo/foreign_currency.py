"""Foreign currency: what arrives from abroad and becomes CNY, one function a scenario, at any hour of any day."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from client import Conversion, LiushuiError
from client.states import FxState
from demo.recipient import ABROAD, CURRENCY, DESK, Recipient, rate_of, waits_for_the_desk
from demo.stage import Stage
from demo.wording import amount, ended, times
from domain.identifiers import BankStep, request_number

# The desk and the FX authority, each with days and hours of its own.
DESK_OFFICE, AUTHORITY_OFFICE = "FX-HBRB", "FX-SAFE"
# What the desk buys and sells a USD at, and what it buys one at half a minute later.
BUYS, SELLS, BUYS_LATER = "7.1234", "7.1434", "7.0950"
CLOSED_FOR = timedelta(seconds=30)

Scenario = Callable[[Stage], Awaitable[None]]


async def converted_on_arrival(stage: Stage) -> None:
    recipient = await Recipient.arrive(stage, "沈月", "SHEN YUE")
    before = await _refusal(recipient.open_account())
    await recipient.consent()
    account = await recipient.open_account()
    stage.row(
        "A number abroad, before and after the user agrees that the name goes there",
        "refused: DATA_EXPORT_NOT_ALLOWED, then open",
        f"{before}, then {ended(account)}",
        account,
    )
    await recipient.agree_to_conversion()
    await recipient.gets(100_000)
    conversion = await recipient.seen(await recipient.begun())
    stage.row(
        "1,000.00 USD arrive, and are converted under a mandate",
        f"settled at {BUYS}, dealt once; has 7,123.40 CNY, 0.00 USD; told: accepted, scheduled, settled",
        f"{await _dealt(stage, conversion)}; {await recipient.purse()}; {await recipient.told(conversion, 3)}",
        conversion,
    )


async def beyond_the_quota(stage: Stage) -> None:
    recipient = await _recipient(stage, "韩磊", "HAN LEI")
    sent_back = await stage.banks.sent_back(ABROAD, CURRENCY)
    await recipient.gets(6_000_000)
    part = await recipient.seen(await recipient.begun())
    rest = await recipient.seen(await stage.merchant.fx.get(part.rest_id or part.id))
    before = f"{_of(rest)} {ended(rest)}; {await recipient.purse()}"
    stage.tell("merchant", "has the rest sent back to where it came from, as the user wishes")
    await stage.merchant.fx.send_back(rest.id)
    rest = await recipient.seen(rest, until=lambda seen: seen.state not in (FxState.REFUSED, FxState.RETURNING))
    sent_back = await stage.banks.sent_back(ABROAD, CURRENCY) - sent_back
    stage.row(
        "60,000.00 USD arrive: more than the quota of a year",
        f"50,000.00 USD settled at {BUYS}, dealt once; 10,000.00 USD refused (quota_exceeded);"
        " has 356,170.00 CNY, 0.00 USD, 10,000.00 USD held; then returned, 10,000.00 USD sent back;"
        " has 356,170.00 CNY, 0.00 USD",
        f"{_of(part)} {await _dealt(stage, part)}; {before}; then {rest.state},"
        f" {amount(sent_back, CURRENCY)} sent back; {await recipient.purse()}",
        part,
        rest,
    )


async def to_nobody_known(stage: Stage) -> None:
    recipient = await _recipient(stage, "冯静", "FENG JING")
    stage.tell("somebody abroad", "writes another account number than the user's")
    reference = await recipient.gets(250_000, f"{ABROAD}{stage.number:06d}404404")
    why = await stage.institution.assign_remittance(reference, recipient.user_id)
    conversion = await recipient.seen(await recipient.begun())
    stage.row(
        "2,500.00 USD arrive for an account that nobody has",
        f"in suspense (receiver_unknown), assigned by two, then settled at {BUYS}, dealt once;"
        " has 17,808.50 CNY, 0.00 USD",
        f"in suspense ({why}), assigned by two, then {await _dealt(stage, conversion)}; {await recipient.purse()}",
        conversion,
    )


async def found_to_be_too_much(stage: Stage) -> None:
    recipient = await _recipient(stage, "邓超", "DENG CHAO")
    await recipient.gets(300_000)
    conversion = await recipient.seen(await recipient.begun())
    before = f"{await _dealt(stage, conversion)}; {await recipient.purse()}"
    stage.tell("bank", "finds out that 1,000.00 USD of it were above the quota")
    number = request_number(BankStep.FX_CONVERSION, conversion.id)
    await stage.banks.find_excess(DESK, number, 100_000)
    reversal = await recipient.seen(await recipient.begun("reversal"))
    conversion = await stage.merchant.fx.get(conversion.id)
    stage.row(
        "3,000.00 USD are converted; later 1,000.00 of them turn out to be above the quota",
        f"settled at {BUYS}, dealt once; has 21,370.20 CNY, 0.00 USD; then 1,000.00 USD taken back:"
        f" settled at {SELLS}, dealt once; has 14,226.80 CNY, 1,000.00 USD",
        f"{before}; then {amount(conversion.reversed_minor, CURRENCY)} taken back:"
        f" {await _dealt(stage, reversal)}; {await recipient.purse()}",
        conversion,
        reversal,
    )


async def while_the_desk_is_closed(stage: Stage) -> None:
    """What is waited for is the user's gain or loss: the rate is that of the conversion (A6.4c)."""
    recipient = await _recipient(stage, "曹雪", "CAO XUE", has_mandate=False)
    await recipient.gets(100_000)
    await recipient.credited(100_000)
    shown = await recipient.confirm(100_000)
    # Instants are told to the millisecond.
    opens_at = (datetime.now(UTC) + CLOSED_FOR).replace(microsecond=0)
    await stage.institution.close_bank(DESK_OFFICE, opens_at)
    accepted = await recipient.instruct(shown)
    waiting = await recipient.seen(accepted, until=waits_for_the_desk)
    await stage.banks.publish(DESK, CURRENCY, buys=BUYS_LATER)
    stage.tell("bank", f"buys a USD for {BUYS_LATER} from now on, no longer for {BUYS}")
    conversion = await recipient.seen(waiting)
    waited = waiting.waiting_for.until if waiting.waiting_for else None
    waited_for = waiting.waiting_for.reason if waiting.waiting_for else waiting.state
    then = conversion.dealt_at is not None and waited is not None and conversion.dealt_at >= waited >= opens_at
    lost = (conversion.cny_minor or 0) - (shown.cny_minor or 0)
    stage.row(
        "Convert 1,000.00 USD while the desk is closed for half a minute, and its rate falls",
        f"shown 7,123.40 CNY; fx_desk_window until it opens, then settled at {BUYS_LATER}, dealt once;"
        " has 7,095.00 CNY, 0.00 USD: the user's -28.40 CNY",
        f"shown {amount(shown.cny_minor or 0)}; {waited_for} {'until it opens, then' if then else 'and at once'}"
        f" {await _dealt(stage, conversion)}; {await recipient.purse()}: the user's {amount(lost)}",
        conversion,
    )


SCENARIOS: tuple[Scenario, ...] = (
    converted_on_arrival,
    beyond_the_quota,
    to_nobody_known,
    found_to_be_too_much,
)
# What keeps all conversions waiting, and changes the rate, is played when the others are done.
AFTER_THEM: tuple[Scenario, ...] = (while_the_desk_is_closed,)


async def _recipient(stage: Stage, name: str, holder: str, *, has_mandate: bool = True) -> Recipient:
    """Somebody with a number abroad."""
    recipient = await Recipient.arrive(stage, name, holder)
    await recipient.consent()
    await recipient.open_account()
    if has_mandate:
        await recipient.agree_to_conversion()
    return recipient


async def _refusal(asked: Awaitable[object]) -> str:
    try:
        await asked
    except LiushuiError as refused:
        return f"refused: {refused.code}"
    return "not refused"


async def _dealt(stage: Stage, conversion: Conversion) -> str:
    dealt = await stage.banks.times_dealt(conversion)
    return f"{ended(conversion)} at {rate_of(conversion)}, {f'dealt {times(dealt)}' if dealt else 'never dealt'}"


def _of(conversion: Conversion) -> str:
    return amount(conversion.amount_minor, conversion.currency)
