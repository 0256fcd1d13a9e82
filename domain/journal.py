"""The entries of each business event: which account gives, which takes (A0.5, A10.2a).

Accounts of assets (reserves at banks) grow on the debit side; what the institution owes grows on the credit side.
"""

from __future__ import annotations

from datetime import datetime

from domain.settlement import Transfer, TransferKind


def reserve_account(bank_code: str, currency: str) -> str:
    """The institution's client-money account at a bank."""
    return f"reserve:{bank_code}:{currency}"


def suspense_account(currency: str) -> str:
    """Money that is here and is nobody's yet."""
    return f"suspense:{currency}"


def fee_income_account(currency: str) -> str:
    """What the institution earned."""
    return f"fee_income:{currency}"


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
        f"{payment_id}:collection", "collection", payment_id, at,
        debit=reserve_account(bank_code, currency), credit=payee_account, currency=currency, amount=amount_minor,
    )  # fmt: skip
    if not fee_minor:
        return (received,)
    charged = _post(
        f"{payment_id}:fee", "fee", payment_id, at,
        debit=payee_account, credit=fee_income_account(currency), currency=currency, amount=fee_minor,
    )  # fmt: skip
    return received, charged


def late_collection(
    payment_id: str, bank_code: str, amount_minor: int, currency: str, at: datetime
) -> tuple[Transfer, ...]:
    """A debit succeeded after its order was over: the money is here, is the payer's, and goes back."""
    return (
        _post(
            f"{payment_id}:late-collection", "collection", payment_id, at,
            debit=reserve_account(bank_code, currency), credit=suspense_account(currency),
            currency=currency, amount=amount_minor,
        ),
    )  # fmt: skip


def late_refund(
    payment_id: str, bank_code: str, amount_minor: int, currency: str, at: datetime
) -> tuple[Transfer, ...]:
    """The bank has given a late success back to the payer."""
    return (
        _post(
            f"{payment_id}:late-refund", "late_refund", payment_id, at,
            debit=suspense_account(currency), credit=reserve_account(bank_code, currency),
            currency=currency, amount=amount_minor,
        ),
    )  # fmt: skip


def refund_holds(payment_id: str, refund_id: str, amount_minor: int, fee_back_minor: int) -> list[str]:
    """Keys of the holds that the acceptance of a refund placed: the payee's part and the fee's part."""
    holds = [f"{payment_id}:{refund_id}:payee"] if amount_minor > fee_back_minor else []
    return [*holds, f"{payment_id}:{refund_id}:fee"] if fee_back_minor else holds


def refund_done(payment_id: str, holds: list[str], at: datetime) -> tuple[Transfer, ...]:
    """The bank has paid the refund: what was held leaves."""
    return tuple(
        Transfer(action="post_hold", key=f"{hold}:post", hold=hold, instruction=payment_id, booked_at=at)
        for hold in holds
    )


def refund_failed(payment_id: str, holds: list[str], at: datetime) -> tuple[Transfer, ...]:
    """The bank has definitely not paid: what was held is free again."""
    return tuple(
        Transfer(action="release_hold", key=f"{hold}:release", hold=hold, instruction=payment_id, booked_at=at)
        for hold in holds
    )


def _post(
    key: str,
    kind: TransferKind,
    payment_id: str,
    at: datetime,
    *,
    debit: str,
    credit: str,
    currency: str,
    amount: int,
) -> Transfer:
    direction = {"collection": "in", "late_refund": "out"}.get(kind, "internal")
    return Transfer.model_validate(
        {
            "action": "post", "key": key, "kind": kind, "instruction": payment_id, "booked_at": at, "reference": key,
            "direction": direction, "debit": debit, "credit": credit, "currency": currency, "amount": amount,
        }
    )  # fmt: skip
