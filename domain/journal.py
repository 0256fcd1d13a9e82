"""The entries of each business event: which account gives, which takes (A0.5, A10.2a).

Accounts of assets (reserves at banks) grow on the debit side; what the institution owes grows on the credit side.
"""

from __future__ import annotations

from datetime import datetime

from domain import chart
from domain.transfers import Direction, Post, PostHold, ReleaseHold, Transfer, TransferKind


def collection(  # noqa: PLR0917 - an entry reads as who, where, to whom, how much
    payment_id: str,
    bank_code: str,
    payee_account: str,
    amount_minor: int,
    fee_minor: int,
    currency: str,
    at: datetime,
) -> tuple[Transfer, ...]:
    """A bank has debited the payer: the reserve grows, the payee is owed the amount and pays the fee out of it."""
    received = _post(
        f"{payment_id}:collection", TransferKind.COLLECTION, payment_id, at,
        debit=chart.reserve(bank_code, currency), credit=payee_account, currency=currency, amount=amount_minor,
    )  # fmt: skip
    if not fee_minor:
        return (received,)
    charged = _post(
        f"{payment_id}:fee", TransferKind.FEE, payment_id, at,
        debit=payee_account, credit=chart.fee_income(currency), currency=currency, amount=fee_minor,
    )  # fmt: skip
    return received, charged


def late_collection(
    payment_id: str, bank_code: str, amount_minor: int, currency: str, at: datetime
) -> tuple[Transfer, ...]:
    """A debit succeeded after its order was over: the money is here, is the payer's, and goes back."""
    return (
        _post(
            f"{payment_id}:late-collection", TransferKind.COLLECTION, payment_id, at,
            debit=chart.reserve(bank_code, currency), credit=chart.suspense(currency),
            currency=currency, amount=amount_minor,
        ),
    )  # fmt: skip


def late_refund(
    payment_id: str, bank_code: str, amount_minor: int, currency: str, at: datetime
) -> tuple[Transfer, ...]:
    """The bank has given a late success back to the payer."""
    return (
        _post(
            f"{payment_id}:late-refund", TransferKind.LATE_REFUND, payment_id, at,
            debit=chart.suspense(currency), credit=chart.reserve(bank_code, currency),
            currency=currency, amount=amount_minor,
        ),
    )  # fmt: skip


def refund_holds(payment_id: str, refund_id: str, amount_minor: int, fee_back_minor: int) -> list[str]:
    """Keys of the holds that the acceptance of a refund placed: the payee's part and the fee's part."""
    holds = [f"{payment_id}:{refund_id}:payee"] if amount_minor > fee_back_minor else []
    return [*holds, f"{payment_id}:{refund_id}:fee"] if fee_back_minor else holds


def refund_done(payment_id: str, holds: list[str], at: datetime) -> tuple[Transfer, ...]:
    """The bank has paid the refund: what was held leaves."""
    return tuple(PostHold(key=f"{hold}:post", hold=hold, instruction=payment_id, booked_at=at) for hold in holds)


def refund_failed(payment_id: str, holds: list[str], at: datetime) -> tuple[Transfer, ...]:
    """The bank has definitely not paid: what was held is free again."""
    return tuple(ReleaseHold(key=f"{hold}:release", hold=hold, instruction=payment_id, booked_at=at) for hold in holds)


_DIRECTIONS = {TransferKind.COLLECTION: Direction.IN, TransferKind.LATE_REFUND: Direction.OUT}


def _post(
    key: str, kind: TransferKind, payment_id: str, at: datetime, *, debit: str, credit: str, currency: str, amount: int
) -> Post:
    return Post(
        key=key,
        kind=kind,
        direction=_DIRECTIONS.get(kind, Direction.INTERNAL),
        debit=debit,
        credit=credit,
        currency=currency,
        amount=amount,
        instruction=payment_id,
        reference=key,
        booked_at=at,
    )
