"""`liushui demo`: a merchant and several payers on the local stack, what came of it, and the books."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from secrets import randbelow
from typing import Annotated

import httpx
import typer
from rich.console import Console

from cli import demo_merchant, local_operators
from cli.demo_institution import LocalInstitution
from cli.demo_report import Report, print_report, read_report
from cli.demo_traces import LocalTraces
from cli.stack import DEFAULT_FOLDER, STARTING, local_only, local_stack
from client import AsyncLiushui
from demo.banks import Banks
from demo.people import NUMBERS
from demo.play import PAYERS, play
from demo.receiver import Receiver
from demo.stage import Stage
from runtime.parts import PartFailedError, StackStoppedError
from runtime.ports import NoFreePortError
from runtime.secrets import LocalSecretsError
from runtime.stack import AlreadyRunningError, LocalStack, application_environment
from runtime.temporal import DEFAULT_NAMESPACE

_PLAIN_WIDTH = 120
_HTTP_SECONDS = 30.0


@dataclass(frozen=True)
class Running:
    """The stack to play on: one of our own, or the one that `make up` runs here already."""

    folder: Path
    addresses: Mapping[str, str]
    is_own: bool

    @property
    def namespace(self) -> str:
        """Temporal's, for links."""
        return application_environment(self.folder).get("TEMPORAL_NAMESPACE", DEFAULT_NAMESPACE)


def demo(
    folder: Annotated[Path, typer.Option(help="Where data, secrets and logs are kept.")] = DEFAULT_FOLDER,
) -> None:
    """Plays a merchant and several payers, shows what came of it and the books, and ends. Takes about two minutes."""
    screen = _screen()
    local_only(screen)
    stack = local_stack(folder)
    curtain = _Curtain(stack)
    try:
        with _running(stack, screen) as running:
            local_operators.keep_some(running.folder)
            report = asyncio.run(curtain.unless_fallen(_perform(running, screen)))
            print_report(screen, report, running.addresses, running.namespace, is_own=running.is_own)
    except (StackStoppedError, asyncio.CancelledError):
        screen.print("Stopped before the end.")
        raise typer.Exit(130) from None
    except (PartFailedError, LocalSecretsError, NoFreePortError, AlreadyRunningError) as error:
        screen.print(str(error), style="red", markup=False, soft_wrap=True)
        raise typer.Exit(1) from None
    _conclude(screen, report.differences(), stack.folder)


def _conclude(screen: Console, differences: list[str], folder: Path) -> None:
    """The last word, and the exit code."""
    if not differences:
        screen.print("Everything came out as expected.", style="green")
        return
    for sentence in differences:
        screen.print(sentence, style="red", markup=False, soft_wrap=True)
    screen.print(f"Not everything came out as expected. Logs are in {folder / 'log'}.", markup=False, soft_wrap=True)
    raise typer.Exit(1)


class _Curtain:
    """A signal ends a start under way or the play; the stack is stopped in good order either way."""

    def __init__(self, stack: LocalStack) -> None:
        self._stack, self._fallen = stack, False
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._fall)

    def _fall(self, *_: object) -> None:
        self._fallen = True
        self._stack.ask_to_stop()

    async def unless_fallen(self, play: Coroutine[None, None, Report]) -> Report:
        """Plays to the end. Raises CancelledError after a signal."""
        task = asyncio.create_task(play)
        while not task.done():
            if self._fallen:
                task.cancel()
            await asyncio.wait([task], timeout=0.2)
        return task.result()


@contextmanager
def _running(stack: LocalStack, screen: Console) -> Iterator[Running]:
    """A stack for the play. Raises what a start raises, and AlreadyRunningError if another start is under way."""
    screen.print(STARTING, soft_wrap=True)
    other: AlreadyRunningError | None = None
    try:
        stack.start()
    except AlreadyRunningError as running:
        other = running
    if other is not None:
        if not other.addresses:
            raise other
        screen.print("A stack runs here already (make up); playing on it.")
        yield Running(stack.folder, other.addresses, is_own=False)
        return
    try:
        yield Running(stack.folder, stack.addresses, is_own=True)
    finally:
        screen.print("Stopping the stack …")
        stack.stop()


async def _perform(running: Running, screen: Console) -> Report:
    """Registers a merchant of its own, plays, and reads the books of both sides."""
    engine = demo_merchant.owner_engine(running.folder)
    began = time.monotonic()

    def tell(who: str, what: str) -> None:
        screen.print(f"{time.monotonic() - began:5.1f} s  {who}: {what}", markup=False, soft_wrap=True)

    try:
        async with AsyncExitStack() as closing:
            api = await closing.enter_async_context(_client(running.addresses["api"]))
            simulator = await closing.enter_async_context(_client(running.addresses["simulator"]))
            known = await demo_merchant.register(engine)
            tell(
                "institution",
                f"registers the merchant 「{demo_merchant.NAME}」 {known.merchant_id} and its signing key",
            )
            stage = Stage(
                merchant=AsyncLiushui(running.addresses["api"], known.key, known.signing_key, http=api),
                line=api,
                receiver=closing.enter_context(Receiver()),
                banks=Banks(simulator),
                simulator_url=running.addresses["simulator"],
                institution=LocalInstitution(running.folder, running.addresses["ops"], tell),
                traces=LocalTraces(running.folder),
                papers=running.folder / "papers",
                tell=tell,
                number=randbelow(NUMBERS - PAYERS),
                closing=closing,
            )
            endpoint = await stage.merchant.webhook_endpoints.create(stage.receiver.url)
            stage.receiver.secret = endpoint.secret or ""
            rows = await play(stage)
            # Nobody listens there any more.
            await stage.merchant.webhook_endpoints.delete(endpoint.id)
            tell("institution", "compares its books with the banks'")
            return await read_report(engine, stage.banks, rows, stage.kept)
    finally:
        await engine.dispose()


def _client(address: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=address, timeout=_HTTP_SECONDS, trust_env=False)


def _screen() -> Console:
    """Plain and wide enough when there is no terminal; a terminal that lacks Chinese shows question marks."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    return Console(highlight=False, width=None if sys.stdout.isatty() else _PLAIN_WIDTH)
