"""`liushui ledger …`: look at the books and prove them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated, TypeVar

import typer
from rich.console import Console
from rich.table import Table
from sqlalchemy.ext.asyncio import AsyncEngine

from cli.institution import database_or_exit
from cli.stack import use_local_stack
from config.settings import DatabaseUrl, ProcessSettings, load_or_exit
from domain.money import format_amount
from ledger.reading import (
    AccountNotFoundError,
    Balance,
    TrialBalance,
    read_balance,
    read_balance_at,
    read_trial_balance,
)
from ledger.verify import VerificationReport, verify
from storage.database import create_engine
from storage.settlement_audit import settlement_findings

app = typer.Typer(help="Balances, the trial balance, and the proof of the whole ledger.", no_args_is_help=True)
Result = TypeVar("Result")


class LedgerSettings(ProcessSettings):
    """The books are read with the rights of the application, which cannot change them."""

    database_url: DatabaseUrl


@app.command(name="verify")
def verify_command() -> None:
    """Replays every transfer and compares all that is stored, also what merchants were settled. Ends with code 1 if
    anything is wrong."""
    report, settlements = _with_engine(_verify)
    print_report(report)
    for finding in settlements:
        typer.echo(f"settlements: {finding}")
    if settlements or not report.is_sound:
        raise typer.Exit(1)


@app.command(name="trial-balance")
def trial_balance_command() -> None:
    """Prints debits and credits per currency. Ends with code 1 if they differ."""
    totals = _with_engine(_trial_balance)
    Console().print(trial_balance_table(totals))
    if any(total.difference for total in totals):
        raise typer.Exit(1)


@app.command(name="balance")
def balance_command(
    account: Annotated[str, typer.Argument(help="An account's code, such as reserve:HBRB:CNY.")],
    at: Annotated[str | None, typer.Option(help="A past instant with its zone: 2026-11-22T10:00:00+08:00.")] = None,
) -> None:
    """Prints what an account holds now, or held at an instant."""
    instant = None if at is None else _parse_instant(at)
    try:
        found = _with_engine(lambda engine: _balance(engine, account, instant))
    except AccountNotFoundError:
        typer.echo(f"There is no account {account}.", err=True)
        raise typer.Exit(1) from None
    for name, amount in (("posted", found.posted), ("held", found.held), ("available", found.available)):
        typer.echo(f"{name:<10} {format_amount(amount, found.currency)}")


def print_report(report: VerificationReport) -> None:
    """Says what was verified, and each thing that is wrong."""
    typer.echo(f"{report.accounts} accounts, {report.transfers} transfers, {report.open_holds} open holds")
    for finding in report.findings:
        typer.echo(f"{finding.code}: {finding.where}: {finding.detail}")
    sound = "The ledger is sound." if report.is_sound else f"{report.findings_total} findings: the ledger is NOT sound."
    typer.echo(sound)


def trial_balance_table(totals: list[TrialBalance]) -> Table:
    """One row a kind of account, and the two totals of each currency."""
    table = Table("Currency", "Accounts", "Amount", title="Trial balance")
    for total in totals:
        for kind, amount in total.by_kind.items():
            table.add_row(total.currency, kind, format_amount(amount, total.currency))
        for name, amount in (("debits", total.debit_total), ("credits", total.credit_total)):
            table.add_row(total.currency, f"[bold]{name}[/bold]", format_amount(amount, total.currency))
        table.add_row(total.currency, "[bold]difference[/bold]", format_amount(total.difference, total.currency))
    return table


def _parse_instant(text: str) -> datetime:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter("not an instant such as 2026-11-22T10:00:00+08:00") from None
    if instant.tzinfo is None:
        raise typer.BadParameter("an instant needs its zone, such as +08:00")
    return instant


def _with_engine(read: Callable[[AsyncEngine], Awaitable[Result]]) -> Result:
    use_local_stack()
    url = load_or_exit(LedgerSettings).database_url.get_secret_value()

    async def run() -> Result:
        engine = create_engine(url, pool_size=1, application_name="liushui ledger")
        try:
            return await read(engine)
        finally:
            await engine.dispose()

    with database_or_exit():
        return asyncio.run(run())


async def _verify(engine: AsyncEngine) -> tuple[VerificationReport, list[str]]:
    return await verify(engine), await settlement_findings(engine)


async def _trial_balance(engine: AsyncEngine) -> list[TrialBalance]:
    async with engine.connect() as connection:
        return await read_trial_balance(connection)


async def _balance(engine: AsyncEngine, account: str, instant: datetime | None) -> Balance:
    async with engine.connect() as connection:
        if instant is None:
            return await read_balance(connection, account)
        return await read_balance_at(connection, account, instant)
