"""`liushui up`: the whole of Liushui on this machine, until Ctrl-C."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from cli import demo_merchant, local_operators
from cli.institution import keep_example_lists, register
from runtime.clock import SystemClock
from runtime.parts import PartFailedError, StackStoppedError
from runtime.ports import NoFreePortError
from runtime.secrets import LocalSecretsError
from runtime.stack import AlreadyRunningError, LocalStack, application_environment
from storage.provision import Passwords, provision
from workflows.names import SEARCH_ATTRIBUTES

PROJECT = Path(__file__).resolve().parent.parent
DEFAULT_FOLDER = PROJECT / "var"
STARTING = "Starting PostgreSQL, Temporal, codec server, bank simulator, both APIs, worker and webhook sender …"
DATABASE, KEY_DATABASE = "liushui", "liushui_keys"

_ROWS = (
    ("API", "api"),
    ("API documents", "api_docs"),
    ("Operators' API", "ops"),
    ("Temporal UI", "temporal_ui"),
    ("Temporal", "temporal"),
    ("Bank simulator (text messages, books)", "simulator"),
    ("Codec server", "codec"),
)


async def provision_local(admin_url: str, passwords: Mapping[str, str]) -> dict[str, str]:
    """Prepares both databases of the local stack and registers the institution; answers the URLs of the roles."""
    urls = await provision(admin_url, DATABASE, KEY_DATABASE, Passwords(**passwords))
    await register(urls.owner, SystemClock().now())
    await keep_example_lists(urls.owner, SystemClock().now())
    return urls.model_dump()


def local_stack(folder: Path = DEFAULT_FOLDER, **options: Any) -> LocalStack:
    """The stack as everything here uses it; `options` are those of LocalStack."""
    return LocalStack(folder, provision=provision_local, search_attributes=SEARCH_ATTRIBUTES, **options)


def ready_line(stack: LocalStack) -> str:
    """One line that can be pasted into a terminal and does something: it registers a user, each time a new one."""
    demo_merchant.keep_one(stack.folder, stack.addresses)
    return demo_merchant.curl_line(stack.folder, stack.addresses)


# These say nothing about which stack is meant.
_OF_NO_STACK = frozenset({"LIUSHUI_OPERATOR", "LIUSHUI_PYTHON", "LIUSHUI_KEEP_LOGS"})


def is_configured() -> bool:
    """Whether the environment says which stack is meant."""
    return any(name.startswith("LIUSHUI_") for name in os.environ.keys() - _OF_NO_STACK)


def use_local_stack(folder: Path = DEFAULT_FOLDER) -> None:
    """For commands on a developer's machine: unless configured, they work on the stack of this checkout."""
    if not is_configured():
        os.environ.update(application_environment(folder))


def local_only(screen: Console) -> None:
    """A local stack, with its secrets in files and its made-up merchant, is never started in production."""
    if os.environ.get("LIUSHUI_ENVIRONMENT", "local") != "local":
        screen.print("The local stack is for the local environment; LIUSHUI_ENVIRONMENT says otherwise.", style="red")
        raise typer.Exit(2)


def up(
    folder: Annotated[Path, typer.Option(help="Where data, secrets and logs are kept.")] = DEFAULT_FOLDER,
) -> None:
    """Starts everything on this machine and keeps it running until Ctrl-C."""
    screen = Console(highlight=False)
    local_only(screen)
    stack = local_stack(folder)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stack.ask_to_stop())
    screen.print(STARTING, soft_wrap=True)
    try:
        stack.start()
        _show(screen, stack)
        stack.supervise(screen.print)
        screen.print("Stopping …")
    except AlreadyRunningError as running:
        screen.print(f"Nothing to do: {running}.")
        _show_addresses(screen, running.addresses)
    except StackStoppedError:
        screen.print("Stopped before everything was up.")
    except (PartFailedError, LocalSecretsError, NoFreePortError) as error:
        screen.print(str(error), style="red", markup=False, soft_wrap=True)
        raise typer.Exit(1) from None
    finally:
        stack.stop()


def _show(screen: Console, stack: LocalStack) -> None:
    _show_addresses(screen, stack.addresses)
    screen.print("\nPaste this into another terminal; it registers a user of a merchant made for trying:\n")
    screen.print(ready_line(stack), soft_wrap=True, markup=False)
    screen.print(
        f"\nThe merchants' ids and keys are in {stack.folder / 'demo_merchant.json'}.", soft_wrap=True, markup=False
    )
    people = local_operators.keep_some(stack.folder)
    screen.print(f"The operators' credentials are in {people}; for example:", soft_wrap=True, markup=False)
    screen.print("bin/liushui --as su matters list", soft_wrap=True, markup=False)
    codec = stack.addresses["codec"]
    screen.print(
        f"To read payloads in Temporal's UI, log in at {codec} with what this shows (docs/operators.md):",
        soft_wrap=True,
    )
    screen.print("bin/liushui credentials su", soft_wrap=True, markup=False)
    screen.print("From here to a first payment and its webhooks: docs/merchants/first_payment.md", soft_wrap=True)
    screen.print(f"Logs are in {stack.folder / 'log'}. Ctrl-C stops everything.", soft_wrap=True, markup=False)


def _show_addresses(screen: Console, addresses: Mapping[str, str]) -> None:
    table = Table(show_header=False, box=None, pad_edge=False)
    for title, name in _ROWS:
        if name in addresses:
            table.add_row(title, addresses[name])
    screen.print(table)
