"""Any sequence of conversions of a person at two merchants, and of others, against a model of the quota (L9, A5.2)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from domain.errors import EffectRefusedError
from domain.reviews import Evidence, EvidenceKind
from tests.conftest import Database
from tests.storage.fx_books import RULES, FxBooks
from tests.storage.fx_people import FxUser, add_fx_user, add_merchant, become
from tests.storage.fx_quota_model import QUOTA, Conversion, QuotaModel
from tests.storage.fx_steps import (
    entry,
    new_version,
    refused,
    sound_fx_books,
    turned_away,
    unknown,
    withdrawn,
)

# Shanghai: a day in November, one in December, half a minute before the year ends, and into the next, in which the
# authority's rate of December is first still in force, and then too old.
MOMENTS = (
    datetime(2026, 11, 23, 2, 0, tzinfo=UTC), datetime(2026, 12, 15, 2, 0, tzinfo=UTC),
    datetime(2026, 12, 31, 15, 59, 30, tzinfo=UTC), datetime(2027, 1, 20, 2, 0, tzinfo=UTC),
    datetime(2027, 2, 10, 2, 0, tzinfo=UTC),
)  # fmt: skip
WINDOW = timedelta(hours=10)
# About a fifth to two times the quota, in minor units.
AMOUNTS = {"USD": (1, 9_000_000), "HKD": (1, 70_000_000), "JPY": (1, 13_000_000)}
EVIDENCE = (Evidence(kind=EvidenceKind.INVOICE, reference="INV-1"),)
ROWS = sa.text("SELECT id, state, reason, amount_minor, quota_year, quota_usd_minor FROM app.fx WHERE id = ANY(:ids)")
TOTALS = sa.text(
    "SELECT q.person_index, q.year, q.reserved_usd_minor, q.used_usd_minor, q.exceeded_at IS NOT NULL AS exceeded,"
    " coalesce(sum(e.reserved_usd_minor), 0) AS reserved_by_entries,"
    " coalesce(sum(e.used_usd_minor), 0) AS used_by_entries"
    " FROM app.fx_quota q LEFT JOIN app.fx_quota_entry e USING (person_index, year)"
    " WHERE q.person_index = ANY(:persons) GROUP BY q.person_index, q.year"
)
ROW_NUMBERS = count()


@pytest.fixture
async def fx(database: Database) -> AsyncIterator[FxBooks]:
    async with sound_fx_books(database) as opened:
        yield opened


class QuotaMachine(RuleBasedStateMachine):
    """Calls the real books, which live in another thread's event loop."""

    fx: FxBooks
    loop: asyncio.AbstractEventLoop
    users: list[FxUser]

    def wait(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    @initialize(late=st.sampled_from([0, 60]))
    def start(self, late: int) -> None:
        self.model = QuotaModel(RULES)
        self.persons = [f"{name}-{next(ROW_NUMBERS)}" for name in ("one", "other")]
        self.of = self.wait(self._people())
        self.version = self.wait(self.fx.books.value("SELECT app.current_plan_version()"))
        # Something of every kind that the rules below begin from.
        for user, amount, currency, at in ((0, 900_000, "JPY", 1), (1, 9_000_000, "HKD", 2), (2, 8_000_000, "USD", 2)):
            self._instruct(user, (amount, currency), "split", "plain", MOMENTS[at])
        self._claim(self.model.conversions[0], 0)
        self._answer(self.model.conversions[0], "dealt", 0)
        self._claim(self.model.conversions[1], late)

    async def _people(self) -> list[FxUser]:
        """One person at two merchants, another at the second, an enterprise at the first."""
        one = await become(self.users[:2], self.persons[0])
        return [*one, *await become(self.users[2:3], self.persons[1]), self.users[3]]

    @rule(
        user=st.sampled_from([0, 0, 0, 1, 1, 1, 2, 3]), data=st.data(), currency=st.sampled_from(sorted(AMOUNTS)),
        over=st.sampled_from(["split", "hold"]), kind=st.sampled_from(["plain", "plain", "trade", "flag", "foreign"]),
    )  # fmt: skip
    def instruct(self, user: int, data: st.DataObject, currency: str, over: str, kind: str) -> None:
        least, most = AMOUNTS[currency]
        amount = data.draw(st.integers(most // 10, most) | st.integers(least, most))
        self._instruct(user, (amount, currency), over, kind, data.draw(st.sampled_from(MOMENTS)))

    def _instruct(self, user: int, money: tuple[int, str], over: str, kind: str, at: datetime) -> None:
        who, (amount, currency) = self.of[user], money
        said = {
            "over_quota": over, "is_trade": kind in ("trade", "flag"),
            "evidence": EVIDENCE if kind in ("trade", "foreign") else (),
        } | ({"residency": "foreign_individual"} if kind == "foreign" and not who.enterprise else {})  # fmt: skip
        made = self.wait(who.funded(amount, currency, **said))
        self.model.conversions.append(
            Conversion(
                made["id"], user, who.person, amount, currency, over, exempt=who.enterprise or kind == "trade",
                documents=kind == "foreign",
            )
        )  # fmt: skip
        self._plan(self.model.conversions[-1], at)

    @precondition(lambda self: self._in("waiting"))
    @rule(data=st.data(), at=st.sampled_from(MOMENTS))
    def plan(self, data: st.DataObject, at: datetime) -> None:
        self._plan(self._one(data, "waiting"), at)

    def _plan(self, one: Conversion, at: datetime) -> None:
        self.wait(self.fx.plan(one.fx_id, at))
        rest = self.wait(self.fx.view(one.fx_id))["rest_id"]
        self.model.plan(one, at, at + WINDOW, self.version, rest or "")

    @rule()
    def calendars_change(self) -> None:
        self.version = self.wait(new_version(self.fx))

    @precondition(lambda self: self._in("waiting"))
    @rule(data=st.data(), late=st.sampled_from([0, 0, 0, 60, 3600]), word=st.sampled_from(["dealt", "dealt", None]))
    def claim(self, data: st.DataObject, late: int, word: str | None) -> None:
        one = self._one(data, "waiting")
        self._claim(one, late)
        if word and one.state == "sending":
            self._answer(one, word, 0)

    def _claim(self, one: Conversion, late: int) -> None:
        at = (one.slot_at or MOMENTS[0]) + timedelta(seconds=late)
        view = self.wait(self.fx.view(one.fx_id))
        try:
            self.wait(self.fx.claim(view, at, one.attempt, quote=self.fx.quote(view, at)))
            refusal = None
        except EffectRefusedError as error:
            refusal = error.error
        assert refusal == self.model.claim(one, at, self.version)
        if refusal == "quota_known_exceeded":
            values = {"expect": ("waiting",), "reason": refusal, "outcome": "refused", "at": at}
            self.wait(self.fx.book.settle(entry(view, "refused", "refused", **values)))
            self.model.refuse(one, refusal)

    @precondition(lambda self: self._in("sending", "unknown"))
    @rule(data=st.data(), word=st.sampled_from(["dealt", "dealt", "dealt", "no", "learned", "away", "unknown"]),
          late=st.sampled_from([0, 0, 60]))  # fmt: skip
    def desk_answers(self, data: st.DataObject, word: str, late: int) -> None:
        self._answer(self._one(data, "sending", "unknown"), word, late)

    def _answer(self, one: Conversion, word: str, late: int) -> None:
        view = self.wait(self.fx.view(one.fx_id))
        assert one.slot_at is not None
        at, settle = one.slot_at + timedelta(seconds=late), self.fx.book.settle
        if word == "dealt":
            self.wait(settle(self.fx.dealt(view, at, attempt=one.attempt)))
            self.model.dealt(one, at)
        elif word in ("no", "learned"):
            self.wait(settle(refused(view, one.attempt, learned=word == "learned", at=at)))
            self.model.declined(one, learned=word == "learned")
        elif word == "away":
            self.wait(settle(turned_away(view, one.attempt, at=at)))
            one.state, one.slot_at, one.version, one.attempt = "waiting", None, -1, one.attempt + 1
        elif one.state == "sending":
            self.wait(settle(unknown(view, one.attempt, at=at)))
            one.state = "unknown"

    @precondition(lambda self: self._in("waiting"))
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        one = self._one(data, "waiting")
        self.wait(self.fx.book.settle(withdrawn({"id": one.fx_id, "kind": "conversion"})))
        one.state, one.reserved = "released", None

    @precondition(lambda self: self._in("refused"))
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        one = self._one(data, "refused")
        self.wait(self.fx.dispose(one.fx_id, "release", request=self.of[one.user].context()))
        one.state = "released"

    @precondition(lambda self: self._reversible())
    @rule(data=st.data(), tenths=st.integers(1, 10))
    def reverse(self, data: st.DataObject, tenths: int) -> None:
        one = data.draw(st.sampled_from(self._reversible()))
        part = max((one.amount_minor - one.reversed_minor) * tenths // 10, 1)
        self.wait(self._reverse(one, part))
        self.model.taken_back(one, part)

    def _reversible(self) -> list[Conversion]:
        settled = [one for one in self._in("settled") if not one.exempt]
        return [one for one in settled if one.reversed_minor < one.amount_minor]

    async def _reverse(self, one: Conversion, part: int) -> None:
        reversal = await self.fx.reverse(await self.fx.view(one.fx_id), one.reversed_minor + part, MOMENTS[1])
        assert reversal is not None
        await self.fx.convert(await self.fx.view(reversal), MOMENTS[1])

    def _in(self, *states: str) -> list[Conversion]:
        return [one for one in self.model.conversions if one.state in states] if hasattr(self, "model") else []

    def _one(self, data: st.DataObject, *states: str) -> Conversion:
        one: Conversion = data.draw(st.sampled_from(self._in(*states)))
        return one

    @invariant()
    def the_books_say_what_the_model_says(self) -> None:
        if hasattr(self, "model"):
            self.wait(self._compare())

    async def _compare(self) -> None:
        ids = [one.fx_id for one in self.model.conversions]
        async with self.fx.books.owner.connect() as connection:
            rows = {row.id: row for row in await connection.execute(ROWS, {"ids": ids})}
            totals = (await connection.execute(TOTALS, {"persons": self.persons})).all()
        for one in self.model.conversions:
            has = one.reserved or one.used
            quota = (None, None) if has is None else (has.year, has.usd_minor)
            row = rows[one.fx_id]
            found = (row.state, row.reason, row.amount_minor, (row.quota_year, row.quota_usd_minor))
            assert found == (one.state, row.reason if one.reason is None else one.reason, one.amount_minor, quota)
        modelled = self.model.totals()
        for total in totals:
            key, numbers = (total.person_index, total.year), (total.reserved_usd_minor, total.used_usd_minor)
            assert numbers == modelled.pop(key, (0, 0))
            assert numbers == (total.reserved_by_entries, total.used_by_entries)
            assert total.exceeded == (key in self.model.exceeded)
            assert sum(numbers) <= QUOTA or key in self.model.excused
        assert not modelled


# The short one tries the same sequences every time.
@pytest.mark.parametrize("examples", [5, pytest.param(150, marks=[pytest.mark.long, pytest.mark.timeout(1800)])])
async def test_whatever_is_converted_the_quota_of_a_person_and_year_is_what_the_rules_say(
    fx: FxBooks, examples: int
) -> None:
    first, second = fx.books.merchant_id, await add_merchant(fx)
    users = [await add_fx_user(fx, merchant, "somebody") for merchant in (first, second, second)]
    users.append(await add_fx_user(fx, first, "", enterprise=True))
    attributes = {"fx": fx, "loop": asyncio.get_running_loop(), "users": users}
    machine = type("Machine", (QuotaMachine,), attributes)
    profile = settings(
        max_examples=examples, stateful_step_count=30, deadline=None, derandomize=examples < 20,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        phases=(Phase.explicit, Phase.generate),
    )  # fmt: skip
    await asyncio.to_thread(run_state_machine_as_test, machine, settings=profile)
    whys = set(await fx.books.value("SELECT array_agg(DISTINCT why) FROM app.fx_quota_entry"))
    assert whys == {"reserved", "released", "used", "given_back", "learned_exceeded"}
