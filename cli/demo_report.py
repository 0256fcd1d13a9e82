"""What a play comes to: the rows, the trial balance, the proof of the ledger, both sides' books, and positions."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from sqlalchemy.ext.asyncio import AsyncEngine

from cli.books import BankComparison, compare_books, comparison_table, open_positions
from cli.ledger import print_report as print_verification
from cli.ledger import trial_balance_table
from demo.banks import Banks
from demo.stage import Row
from ledger.reading import TrialBalance, read_trial_balance
from ledger.verify import VerificationReport, verify

# What an earlier run left half done may be finished just now: both sides are looked at again for so long.
_COMPARISONS = 60
_PAUSE_SECONDS = 1.0


@dataclass(frozen=True)
class Report:
    """All that is shown at the end."""

    rows: list[Row]
    trial_balance: list[TrialBalance]
    verification: VerificationReport
    comparisons: list[BankComparison]
    positions: Mapping[str, int] = field(default_factory=dict)
    papers: Mapping[str, Path] = field(default_factory=dict)

    def differences(self) -> list[str]:
        """A sentence for each thing that is not as expected."""
        found = [f"{row.scenario}: expected “{row.expected}”, got “{row.got}”." for row in self.rows]
        found = [sentence for sentence, row in zip(found, self.rows, strict=True) if not row.as_expected]
        if any(total.difference for total in self.trial_balance):
            found.append("The trial balance does not balance.")
        if not self.verification.is_sound:
            found.append("The ledger is not sound.")
        found += [f"Our books and those of {bank.bank_code} differ." for bank in self.comparisons if not bank.agrees]
        found += [f"{account} has not come back to nought." for account in self.positions]
        return found


async def read_report(engine: AsyncEngine, banks: Banks, rows: list[Row], papers: Mapping[str, Path]) -> Report:
    """Reads the books of both sides, which agree once nothing is under way any more."""
    comparisons = await _compare(engine, banks)
    for _ in range(_COMPARISONS):
        if all(found.agrees for found in comparisons):
            break
        await asyncio.sleep(_PAUSE_SECONDS)
        comparisons = await _compare(engine, banks)
    async with engine.connect() as connection:
        totals = await read_trial_balance(connection)
        positions = await open_positions(connection)
    return Report(rows, totals, await verify(engine), comparisons, positions, papers)


async def _compare(engine: AsyncEngine, banks: Banks) -> list[BankComparison]:
    books = await banks.books()
    async with engine.connect() as connection:
        return await compare_books(connection, books)


def print_report(
    screen: Console, report: Report, addresses: Mapping[str, str], namespace: str, *, is_own: bool
) -> None:
    """Tables and links."""
    screen.print()
    screen.print(_rows_table(report.rows, screen.width))
    screen.print(trial_balance_table(report.trial_balance))
    print_verification(report.verification)
    screen.print()
    screen.print(comparison_table(report.comparisons))
    dealt = ", ".join(f"{account} {minor}" for account, minor in report.positions.items())
    screen.print(f"Dealt with FX desks and not delivered: {dealt or 'nothing, all positions are at nought'}.")
    _print_links(screen, addresses, namespace, is_own=is_own)
    if report.papers:
        screen.print("And these stay:")
    for title, path in report.papers.items():
        screen.print(f"  {title:<40} {path}", soft_wrap=True, markup=False)
    screen.print()


def _rows_table(rows: list[Row], width: int) -> Table:
    table = Table(title="What happened", show_lines=True)
    table.add_column()
    # Identifiers are there to be copied: they are never cut short. The other two share what a narrow screen leaves.
    table.add_column("Scenario", min_width=30)
    half = max(10, (width - 45) // 2)
    table.add_column("Expected", overflow="fold", max_width=half)
    table.add_column("Got", overflow="fold", max_width=half)
    for row in rows:
        mark = "[green]ok[/green]" if row.as_expected else "[bold red]NO[/bold red]"
        scenario = "\n".join([escape(row.scenario), *(f"[dim]{found}[/dim]" for found in row.ids)])
        table.add_row(mark, scenario, escape(row.expected), escape(row.got))
    return table


def _print_links(screen: Console, addresses: Mapping[str, str], namespace: str, *, is_own: bool) -> None:
    when = "they answer while the stack runs: make up" if is_own else "they answer as long as the stack runs"
    processes = f"{addresses['temporal_ui']}/namespaces/{namespace}/workflows"
    links = {
        "The payments as processes (Temporal UI)": processes,
        "API documents": addresses["api_docs"],
        "Banks: text messages, books, test cards": addresses["simulator"],
    }
    screen.print(f"\nTo look at in a browser ({when}):", soft_wrap=True)
    for title, address in links.items():
        screen.print(f"  {title:<40} {address}", soft_wrap=True)
