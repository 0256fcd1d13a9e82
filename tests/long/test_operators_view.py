"""What an operator does on day one, in a real browser on the whole stack; it takes the pictures of docs/operators.md.

`LIUSHUI_PICTURES=docs/operators .venv/bin/python -m pytest -m long tests/long/test_operators_view.py` makes them anew.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from cli.queries import address_of, read_queries
from ops.direct_enrolment import DirectCredentials, enrol_directly
from runtime.guardian import PROJECT
from runtime.stack import LocalStack
from runtime.temporal import DEFAULT_NAMESPACE
from tests.end_to_end.play import Payer, until
from tests.end_to_end.world import World, world_on
from tests.long.browser import Page, chromium
from tests.long.conftest import say

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

ORDER = "M-20261122-0007"
PICTURE_LIMIT_BYTES = 200_000
CODEC_BUTTON = "document.querySelector('[data-testid^=data-encoder-status]')"


@dataclass
class View:
    """An operator at a browser, and a payment whose bank is silent."""

    world: World
    page: Page
    operator: DirectCredentials = field(repr=False)
    payment_id: str
    token: str = field(default="", repr=False)

    @property
    def addresses(self) -> dict[str, str]:
        return self.world.stack.addresses

    @property
    def process(self) -> str:
        """The payment's page in the UI."""
        ui = self.addresses["temporal_ui"]
        return f"{ui}/namespaces/{DEFAULT_NAMESPACE}/workflows/{quote(f'collect-payment/{self.payment_id}', safe='')}"

    def picture(self, name: str, *, height: int = 800) -> None:
        """Kept where `LIUSHUI_PICTURES` says, and nowhere else."""
        if folder := os.environ.get("LIUSHUI_PICTURES"):
            self.page.size(1280, height)
            file = Path(folder) / f"{name}.png"
            self.page.picture(file)
            say(f"{file.name}: {file.stat().st_size} bytes")
            assert file.stat().st_size < PICTURE_LIMIT_BYTES
            self.page.size(1280, 800)

    def log_in(self, **typed: str) -> None:
        """Fills in the form that is on the screen and sends it."""
        now = datetime.now(UTC)
        fields = {"login": self.operator.login, "password": self.operator.password, "totp": self.operator.code(now)}
        for name, text in (fields | typed).items():
            self.page.type(f"#{name}", text)
        self.page.click("document.querySelector('button[type=submit]')")

    def open_tab(self, title: str) -> None:
        """One of the tabs of a process."""
        self.page.click(f"[...document.querySelectorAll('a')].find(a => a.innerText.trim().startsWith('{title}'))")

    def cookies(self) -> list[dict[str, Any]]:
        """The codec server's own; cookies know no ports, so the browser has the UI's for it as well."""
        found = self.page.cookies_of(self.addresses["codec"])
        return [cookie for cookie in found if cookie["name"] == "liushui_codec"]

    async def records(self) -> list[dict[str, Any]]:
        """The operator's looks at payloads, as they are on record."""
        return await self.world.rows(
            "SELECT outcome, reason, detail FROM app.operation WHERE action = 'decode_payloads' AND actor = :actor"
            " ORDER BY at",
            actor=f"operator:{self.operator.login}",
        )


@asynccontextmanager
async def on_day_one(stack: LocalStack, page: Page) -> AsyncIterator[View]:
    async with world_on(stack) as world:
        key = stack.environment["ops"]["LIUSHUI_OPERATOR_KEY"]
        now = datetime.now(UTC)
        operator = await enrol_directly(
            world.owner,
            base64.b64decode(key),
            "li.lei",
            ["support", "risk"],
            ulid=world.ids.ulid(),
            now=now,
            name="李雷",
        )
        payment = await payment_whose_bank_is_silent(world)
        yield View(world, page, operator, payment["id"])


async def payment_whose_bank_is_silent(world: World) -> dict[str, Any]:
    """The bank took the debit, the answer was lost, and so is every answer to our questions."""
    merchant = await world.merchant()
    payer: Payer = await merchant.payer("WLWB", waiver=await world.waiver(merchant))
    await payer.pay_to_the_end()
    await world.control("faults", {"operation": "debits", "kind": "time_out_after", "bank_code": "WLWB"})
    await world.control(
        "faults", {"operation": "requests", "kind": "time_out_before", "bank_code": "WLWB", "count": 100_000}
    )
    payment = await payer.pay(order_number=ORDER)
    say("waiting until the payment is shown as unknown")
    return await until(lambda: merchant.payment(payment["id"]), ("unknown",), 90)


async def test_an_operator_finds_a_payment_by_its_order_logs_in_and_reads_why_it_waits(stack: LocalStack) -> None:
    with chromium() as browser:
        async with on_day_one(stack, browser.page()) as view:
            await asyncio.to_thread(finds_the_payment, view)
            await asyncio.to_thread(sees_ciphertext, view)
            await refused_looks_are_on_record(view)
            await asyncio.to_thread(logs_in, view)
            await asyncio.to_thread(switches_credentials_on, view)
            await asyncio.to_thread(reads_why_it_waits, view)
            await looks_are_on_record(view)
            await asyncio.to_thread(looks_from_the_command_line, view)
            await asyncio.to_thread(cannot_write, view)
            await asyncio.to_thread(logs_out, view)
            await asks_the_bank_again(view)


def finds_the_payment(view: View) -> None:
    page, query = view.page, read_queries()["by-order"].filled({"order": ORDER})
    page.open(address_of(view.addresses["temporal_ui"], DEFAULT_NAMESPACE, query))
    page.wait_for_text(f"collect-payment/{view.payment_id}")
    view.picture("find_by_order", height=460)
    query = read_queries()["waits-for-bank"].query
    page.open(address_of(view.addresses["temporal_ui"], DEFAULT_NAMESPACE, query))
    page.wait_for_text(f"collect-payment/{view.payment_id}")


def sees_ciphertext(view: View) -> None:
    view.page.open(view.process)
    view.page.wait_for_text("RUNNING", "Codec Server could not connect", "Input")
    assert "amount_minor" not in view.page.text()
    view.picture("not_logged_in", height=640)


async def refused_looks_are_on_record(view: View) -> None:
    rows = await view.world.rows(
        "SELECT outcome, reason FROM app.operation WHERE action = 'record_decode' AND actor = 'unknown'"
    )
    assert {(row["outcome"], row["reason"]) for row in rows} == {("denied", "session_missing")}


def logs_in(view: View) -> None:
    page = view.page
    page.open(view.addresses["codec"])
    page.wait_for_text("登录后查看流程内容")
    view.picture("log_in", height=640)
    view.log_in(password="not my password 1")
    page.wait("!!document.querySelector('[role=alert]')")
    assert not view.cookies()
    view.log_in()
    page.wait_for_text("已登录", view.operator.login)
    view.picture("logged_in", height=560)
    [cookie] = view.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")


def switches_credentials_on(view: View) -> None:
    """The one thing to do once in each browser: the development server's UI has no setting for it."""
    page = view.page
    page.open(view.process)
    local = "document.querySelector('#use-local-endpoint-radio')"
    page.click_until(CODEC_BUTTON, f"!!{local}?.closest('dialog')?.open")
    page.click_until(f"{local}.closest('label')", "!!document.querySelector('#data-encoder-endpoint-input')")
    page.type("#data-encoder-endpoint-input", view.addresses["codec"])
    page.click("document.querySelector('#pass-access-credentials').closest('label')")
    page.wait("document.querySelector('#pass-access-credentials').checked")
    view.picture("codec_setting", height=720)
    page.click(
        "[...document.querySelectorAll('[data-testid=confirm-modal-button]')].find(b => b.closest('dialog')?.open)"
    )
    page.wait("localStorage.includeCredentials === 'true'")


def reads_why_it_waits(view: View) -> None:
    page = view.page
    page.reload()
    page.wait_for_text("amount_minor", ORDER)
    assert "Codec Server could not connect" not in page.text()
    view.picture("payment", height=900)
    view.open_tab("User Metadata")
    page.wait_for_text_in_a_frame("WLWB has not said what became of the debit")
    view.picture("why_it_waits", height=760)
    view.open_tab("Search Attributes")
    page.wait_for_text("LiushuiWaitingFor", "bank_answer")


async def looks_are_on_record(view: View) -> None:
    rows = await view.records()
    assert rows
    assert {row["outcome"] for row in rows} == {"done"}
    assert all(row["detail"]["payloads"] >= 1 for row in rows)
    assert any(view.payment_id in row["detail"]["subjects"] for row in rows)


def looks_from_the_command_line(view: View) -> None:
    """Temporal's own command line, with a token in place of the cookie, and without one."""
    view.token = token_of(view)
    assert "amount_minor" in temporal(view, "--codec-auth", f"Bearer {view.token}")
    assert "amount_minor" not in temporal(view)


def cannot_write(view: View) -> None:
    """Nothing is encrypted for somebody who may look."""
    script = """fetch(%s, {method: 'POST', credentials: 'include', body: '{"payloads": []}',
        headers: {'Content-Type': 'application/json', 'X-Namespace': %s}}).then(answer => answer.json())"""
    address, namespace = json.dumps(f"{view.addresses['codec']}/encode"), json.dumps(DEFAULT_NAMESPACE)
    assert view.page.evaluate(script % (address, namespace))["code"] == "encode_refused"


async def asks_the_bank_again(view: View) -> None:
    """The bank is back; the next pause of the process might last ten minutes, so an operator asks."""
    (await view.world.http.delete(f"{view.world.simulator}/control/faults")).raise_for_status()
    path = f"{view.addresses['ops']}/ops/v1/instructions/{view.payment_id}"
    headers = {"Authorization": f"Bearer {view.token}"}
    asked = await view.world.http.post(f"{path}/ask-bank", headers=headers)
    assert asked.json()["how"] == "told", asked.text

    async def read() -> dict[str, Any]:
        found: dict[str, Any] = (await view.world.http.get(path, headers=headers)).json()
        return found

    # A question that is under way is asked again after a minute at most.
    ended = await until(read, ("succeeded",), 90)
    assert ended["bank_reference"]


def logs_out(view: View) -> None:
    page = view.page
    page.open(view.addresses["codec"])
    page.click("document.querySelector('form[action=\"/logout\"] button')")
    page.wait_for_text("登录后查看流程内容")
    page.open(view.process)
    page.wait(f"({CODEC_BUTTON})?.dataset.testid === 'data-encoder-status-error'")
    assert "amount_minor" not in page.text()


def token_of(view: View) -> str:
    credentials = view.operator
    body = {"login": credentials.login, "password": credentials.password, "totp": next_code(credentials)}
    answer = httpx.post(f"{view.addresses['ops']}/ops/v1/login", json=body)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["token"])


def next_code(credentials: DirectCredentials) -> str:
    """A code works once, so this is the one after the one that was used last; the server takes a step ahead."""
    return credentials.code(datetime.now(UTC) + timedelta(seconds=30))


def temporal(view: View, *more: str) -> str:
    """`temporal workflow show` as an operator types it."""
    command = [
        PROJECT / ".venv/bin/temporal", "workflow", "show", "--workflow-id", f"collect-payment/{view.payment_id}",
        "--address", view.addresses["temporal"], "--namespace", DEFAULT_NAMESPACE, "--detailed",
        "--codec-endpoint", view.addresses["codec"], *more,
    ]  # fmt: skip
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=60, check=False)
    return done.stdout + done.stderr
