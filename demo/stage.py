"""What every scenario plays on, and the row that it leaves."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from stdnum import luhn

from banks.simulator.cards import CARD_PRODUCTS, example_card
from banks.simulator.payer import Phone
from client import AsyncLiushui, Binding
from client.models import Waitable
from demo.banks import Banks
from demo.institution import Institution
from demo.payer import Payer
from demo.people import person
from demo.receiver import Receiver
from demo.traces import Traces


@dataclass(frozen=True)
class Row:
    """One thing that was tried: what had to come out, and what did. `ids` can be looked up in the Temporal UI."""

    scenario: str
    expected: str
    got: str
    ids: tuple[str, ...] = ()

    @property
    def as_expected(self) -> bool:
        return self.expected == self.got


@dataclass(frozen=True)
class Stage:
    """The merchant, the banks, the institution's people, and who tells the audience.

    `number` is that of this scenario's payer and of the payer's card, in no other scenario and hardly ever in another
    run. `line` is what lies between merchant and API, for who would meddle with it; `receiver` is where the merchant is
    told; `papers` is the folder for what people get in writing, and `kept` what lies there, by its title.
    """

    merchant: AsyncLiushui
    line: httpx.AsyncClient
    receiver: Receiver
    banks: Banks
    simulator_url: str
    institution: Institution
    traces: Traces
    papers: Path
    tell: Callable[[str, str], None]
    number: int
    closing: AsyncExitStack
    rows: list[Row] = field(default_factory=list)
    kept: dict[str, Path] = field(default_factory=dict)

    def row(self, scenario: str, expected: str, got: str, *resources: Waitable) -> None:
        """Notes what came out."""
        self.rows.append(Row(scenario, expected, got, tuple(found.id for found in resources)))

    def keep(self, title: str, name: str, page: str) -> Path:
        """A page that somebody got, as a file that can be opened in a browser."""
        self.papers.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self.papers / name
        path.write_text(page, encoding="utf-8")
        self.kept[title] = path
        return path

    async def payer(self, name: str) -> Payer:
        """Somebody who is a user of the merchant and has agreed."""
        who = person(name, self.number)
        phone = await self.closing.enter_async_context(Phone(self.simulator_url, who.mobile))
        payer = Payer(who, self.merchant, phone, lambda what: self.tell(name, what))
        await payer.join()
        return payer

    def card(self, bank_code: str = "HBRB", fault_number: int | None = None) -> str:
        """This scenario's card."""
        return example_card(bank_code, fault_number, self.number)

    def credit_card(self) -> str:
        """Another, which has too few digits for a number among those of `example_card`."""
        product = next(found for found in CARD_PRODUCTS if found.card_type == "credit")
        digits = f"{product.prefix}{self.number:06d}880"
        return digits + luhn.calc_check_digit(digits)

    async def payer_with_card(
        self, name: str, bank_code: str = "HBRB", fault_number: int | None = None
    ) -> tuple[Payer, Binding]:
        """Somebody with a bound card."""
        payer = await self.payer(name)
        return payer, await payer.bind(self.card(bank_code, fault_number))
