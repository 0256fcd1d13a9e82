"""What a merchant may read: its own users, cards, payments, refunds, limits and money, and nothing of anybody else's.

Resources come as the database's views give them (`app.payment_view` …), so that answers, reads and events agree.
Lists come newest first, one more than asked for if there is another page.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from domain import chart
from domain.limits import LimitWindow
from ledger.reading import AccountNotFoundError, StatementEntry, read_statement

Resource = dict[str, Any]

_CARDS_KEPT = 50_000
_PAGE = " AND (CAST(:before AS text) IS NULL OR id < :before) ORDER BY id DESC LIMIT :limit"

_USER = sa.text("SELECT app.user_view(u) FROM app.end_user u WHERE u.id = :id AND u.merchant_id = :merchant")
_BINDING = sa.text(
    "SELECT app.binding_view(b) FROM app.binding b WHERE b.id = :id AND b.user_id = :user AND b.merchant_id = :merchant"
)
_BINDINGS = sa.text(
    "SELECT app.binding_view(b) FROM app.binding b WHERE b.user_id = :user AND b.merchant_id = :merchant" + _PAGE  # noqa: S608
)
_PAYMENT = sa.text("SELECT app.payment_view(p) FROM app.payment p WHERE p.id = :id AND p.merchant_id = :merchant")
_PAYMENT_OF_ANY = sa.text("SELECT p.merchant_id, app.payment_view(p) AS view FROM app.payment p WHERE p.id = :id")
_PAYMENTS = sa.text(
    "SELECT app.payment_view(p) FROM app.payment p WHERE p.merchant_id = :merchant"  # noqa: S608
    " AND (CAST(:order AS text) IS NULL OR p.order_number = :order)" + _PAGE
)
_REFUND = sa.text("SELECT app.refund_view(r) FROM app.refund r WHERE r.id = :id AND r.merchant_id = :merchant")
_REFUNDS = sa.text(
    "SELECT app.refund_view(r) FROM app.refund r WHERE r.payment_id = :payment AND r.merchant_id = :merchant" + _PAGE  # noqa: S608
)
_CARD = sa.text("SELECT merchant_id, user_id, bank_code, card_index FROM app.binding WHERE id = :id")
_VERIFICATION = sa.text("SELECT needed FROM app.verification_for(:merchant, :user, :amount, :cap)")
_OBSTACLE = sa.text("SELECT app.obstacle_beforehand(:function, :user, :merchant, :at)")
_USED = sa.text(
    "SELECT u.used_minor FROM app.limit_usage u WHERE u.subject = :subject AND u.window_kind = :kind"
    " AND u.window_start = :start AND u.currency = :currency"
)
_CONSENTED = sa.text(
    "SELECT EXISTS (SELECT 1 FROM app.consent c WHERE c.user_id = :user AND c.kind = :kind AND c.version = :version)"
)
# Of the card that was bound last: what its issuer has verified most recently.
_VERIFIED_NAME = sa.text(
    "SELECT b.element_tokens->>'name' FROM app.binding b WHERE b.user_id = :user AND b.state = 'open'"
    " ORDER BY b.id DESC LIMIT 1"
)
_PAYEE_NAME = sa.text("SELECT y.element_tokens->>'name' FROM app.payee y WHERE y.id = :id")
_WAIVERS = sa.text(
    "SELECT app.waiver_application_view(w) FROM app.waiver_application w"
    " WHERE w.merchant_id = :merchant AND w.state IN ('approved', 'pending')"
)
_SWITCHED_ON = sa.text("SELECT p.code FROM app.partner p WHERE p.enabled AND p.code = ANY(CAST(:codes AS text[]))")
_BALANCE = sa.text("SELECT app.balance_view(:code, :now)")


@dataclass(frozen=True)
class CardOfBinding:
    """What never changes of a binding, and every payment asks for."""

    merchant_id: str
    user_id: str
    bank_code: str
    card_index: str


class Reading:
    """Reads with the app role; one instance a process, because it remembers which bank a binding is at."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._cards: OrderedDict[str, CardOfBinding] = OrderedDict()

    async def answers(self) -> bool:
        """Whether the database can be asked at all; raises what the driver raises."""
        return bool(await self._scalar(sa.text("SELECT true"), {}))

    async def user(self, merchant_id: str, user_id: str) -> Resource | None:
        return await self._resource(_USER, {"id": user_id, "merchant": merchant_id})

    async def binding(self, merchant_id: str, user_id: str, binding_id: str) -> Resource | None:
        return await self._resource(_BINDING, {"id": binding_id, "user": user_id, "merchant": merchant_id})

    async def bindings(self, merchant_id: str, user_id: str, before: str | None, limit: int) -> list[Resource]:
        return await self._page(_BINDINGS, before, limit, user=user_id, merchant=merchant_id)

    async def payment(self, merchant_id: str, payment_id: str) -> Resource | None:
        return await self._resource(_PAYMENT, {"id": payment_id, "merchant": merchant_id})

    async def payment_of_any(self, payment_id: str) -> tuple[str, Resource] | None:
        """A payment and its merchant's id, whoever it is: for what a bank says of it."""
        async with self._engine.connect() as connection:
            row = (await connection.execute(_PAYMENT_OF_ANY, {"id": payment_id})).one_or_none()
        return None if row is None else (row.merchant_id, row.view)

    async def payments(
        self, merchant_id: str, order_number: str | None, before: str | None, limit: int
    ) -> list[Resource]:
        return await self._page(_PAYMENTS, before, limit, merchant=merchant_id, order=order_number)

    async def refund(self, merchant_id: str, refund_id: str) -> Resource | None:
        return await self._resource(_REFUND, {"id": refund_id, "merchant": merchant_id})

    async def refunds(self, merchant_id: str, payment_id: str, before: str | None, limit: int) -> list[Resource]:
        return await self._page(_REFUNDS, before, limit, merchant=merchant_id, payment=payment_id)

    async def card_of_binding(self, merchant_id: str, user_id: str, binding_id: str) -> CardOfBinding | None:
        """From memory if it was asked for before; None unless the binding is that user's at that merchant."""
        card = self._cards.get(binding_id) or await self._read_card(binding_id)
        if card is None or (card.merchant_id, card.user_id) != (merchant_id, user_id):
            return None
        return card

    async def verification(self, merchant_id: str, user_id: str, amount_minor: int, cap_minor: int) -> str:
        """`code`, `waived`, or `notice` where only the first-use notice is missing (A3.11)."""
        item = {"merchant": merchant_id, "user": user_id, "amount": amount_minor, "cap": cap_minor}
        needed: str = await self._scalar(_VERIFICATION, item)
        return needed

    async def obstacle_beforehand(self, function: str, merchant_id: str, user_id: str, now: datetime) -> str | None:
        """Why an instruction of the user would be refused because of who gives it (snake_case code), or None.

        `function`: `collect`, `fx` or `payout`.
        """
        item = {"function": function, "merchant": merchant_id, "user": user_id, "at": now}
        obstacle: str | None = await self._scalar(_OBSTACLE, item)
        return obstacle

    async def has_consented(self, user_id: str, kind: str, version: str) -> bool:
        """Whether an act of this kind to this version is on record."""
        return bool(await self._scalar(_CONSENTED, {"user": user_id, "kind": kind, "version": version}))

    async def verified_name_token(self, user_id: str) -> str | None:
        """The vault's token of the name that an issuer has verified with a card that is bound now."""
        token: str | None = await self._scalar(_VERIFIED_NAME, {"user": user_id})
        return token

    async def payee_name_token(self, payee_id: str) -> str:
        """The vault's token of a payee's name."""
        return str(await self._scalar(_PAYEE_NAME, {"id": payee_id}))

    async def used(self, windows: Iterable[LimitWindow], currency: str = "CNY") -> list[int]:
        """What was taken of each window, in minor units of the currency."""
        async with self._engine.connect() as connection:
            return [
                int(
                    await connection.scalar(
                        _USED,
                        {
                            "subject": w.subject,
                            "kind": w.window_kind,
                            "start": w.window_start,
                            "currency": currency,
                        },
                    )
                    or 0
                )
                for w in windows
            ]

    async def waivers(self, merchant_id: str) -> list[Resource]:
        """The merchant's waiver in force and the application that is waiting, whichever there are."""
        async with self._engine.connect() as connection:
            return list((await connection.execute(_WAIVERS, {"merchant": merchant_id})).scalars())

    async def merchant_balances(self, merchant_id: str, currency: str, now: datetime) -> list[Resource]:
        """The merchant's available and pending money, one entry an account."""
        names = {chart.merchant_available(merchant_id, currency): "available"}
        names[chart.merchant_pending(merchant_id, currency)] = "pending"
        found = [(name, await self._scalar(_BALANCE, {"code": code, "now": now})) for code, name in names.items()]
        return [{"account": name} | balance for name, balance in found if balance is not None]

    async def user_balance(self, user_id: str, currency: str, now: datetime) -> Resource:
        """The user's own balance; nothing at all before the account's first use."""
        found = await self._scalar(_BALANCE, {"code": chart.user(user_id, currency), "now": now})
        nothing = {"posted_minor": 0, "held_minor": 0, "frozen_minor": 0, "available_minor": 0}
        return {"account": "user", "currency": currency} | (found or nothing)

    async def user_balances(self, user_id: str, currencies: Iterable[str], now: datetime) -> list[Resource]:
        """The user's own balances in these currencies: CNY always, others from their first use on."""
        shown = [await self.user_balance(user_id, "CNY", now)]
        for currency in currencies:
            found = await self._scalar(_BALANCE, {"code": chart.user(user_id, currency), "now": now})
            if found is not None:
                shown.append({"account": "user"} | found)
        return shown

    async def switched_on(self, bank_codes: Sequence[str]) -> list[str]:
        """Those of these partners that no operator has switched off, in the order in which they were named."""
        async with self._engine.connect() as connection:
            found = set(await connection.scalars(_SWITCHED_ON, {"codes": list(bank_codes)}))
        return [code for code in bank_codes if code in found]

    async def statement(self, account: str, before: int | None, limit: int) -> list[StatementEntry]:
        """Movements of an account by its code, newest first; empty if it was never opened."""
        async with self._engine.connect() as connection:
            try:
                return await read_statement(connection, account, cursor=before, limit=limit)
            except AccountNotFoundError:
                return []

    async def _read_card(self, binding_id: str) -> CardOfBinding | None:
        async with self._engine.connect() as connection:
            row = (await connection.execute(_CARD, {"id": binding_id})).mappings().one_or_none()
        if row is None:
            return None
        card = CardOfBinding(**row)
        self._cards[binding_id] = card
        if len(self._cards) > _CARDS_KEPT:
            self._cards.popitem(last=False)
        return card

    async def _scalar(self, statement: sa.TextClause, parameters: dict[str, Any]) -> Any:
        async with self._engine.connect() as connection:
            return await connection.scalar(statement, parameters)

    async def _resource(self, statement: sa.TextClause, parameters: dict[str, Any]) -> Resource | None:
        found: Resource | None = await self._scalar(statement, parameters)
        return found

    async def _page(self, statement: sa.TextClause, before: str | None, limit: int, **where: Any) -> list[Resource]:
        async with self._engine.connect() as connection:
            rows = await connection.execute(statement, where | {"before": before, "limit": limit + 1})
            return list(rows.scalars())


def statement_account(kind: str, owner_id: str, currency: str) -> str:
    """The ledger's code of an account that a merchant may see a statement of: `pending`, `available` or `user`."""
    build = {"pending": chart.merchant_pending, "available": chart.merchant_available, "user": chart.user}[kind]
    return build(owner_id, currency)
