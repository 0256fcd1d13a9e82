"""The login page of the codec server: what the browser gets, and what it is not made to do."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator

import httpx
import pytest

from runtime.codec_login import MAX_FORM_BYTES
from tests.runtime.operators_stub import CODEC, TOKEN, TYPED, UI, OperatorsStub, codec_client, logged_in, problem


@pytest.fixture
def operators() -> OperatorsStub:
    return OperatorsStub()


@pytest.fixture
async def client(operators: OperatorsStub) -> AsyncIterator[httpx.AsyncClient]:
    async with codec_client(operators) as client:
        yield client


async def test_an_operator_logs_in_with_password_and_second_factor_and_is_greeted(
    client: httpx.AsyncClient, operators: OperatorsStub
) -> None:
    assert (await client.get("/")).headers["location"] == "/login"
    form = await client.get("/login")
    assert form.status_code == 200
    assert all(f'name="{name}"' in form.text for name in TYPED)
    entered = await logged_in(client, totp=" 123456 ")
    assert (entered.status_code, entered.headers["location"]) == (303, "/")
    home = (await client.get("/")).text
    assert "li.lei" in home
    assert "2026-11-22 17:00（北京时间）" in home
    assert [(path, body) for path, body, _ in operators.asked] == [("/ops/v1/login", TYPED)]
    assert operators.asked[0][2]["x-forwarded-for"] == "127.0.0.1"


async def test_the_browsers_session_is_out_of_reach_of_scripts_other_sites_and_other_servers_of_the_machine(
    client: httpx.AsyncClient,
) -> None:
    cookie = (await logged_in(client)).headers["set-cookie"]
    words = {word.strip().lower() for word in cookie.split(";")[1:]}
    assert {"httponly", "samesite=strict", "path=/", "max-age=3600"} <= words
    assert not any(word.startswith("domain") for word in words)
    # Cookies know no ports: whatever listens on this machine gets it too, and can do nothing with it.
    assert TOKEN.rpartition("_")[2] not in cookie
    assert "li.lei" not in cookie


async def test_over_https_the_cookie_is_bound_to_the_host_and_never_sent_in_the_clear(operators: OperatorsStub) -> None:
    async with codec_client(operators, codec="https://codec.ops.example", ui="https://ui.ops.example") as client:
        cookie = (await logged_in(client)).headers["set-cookie"]
        assert cookie.startswith("__Host-liushui_codec=")
        assert "; secure" in cookie.lower()
        assert "li.lei" in (await client.get("/")).text


async def test_a_cookie_of_somebody_elses_making_is_none(client: httpx.AsyncClient) -> None:
    await logged_in(client)
    good = client.cookies["liushui_codec"]
    for value in (good[:-6] + "AAAA==", "x", "a" * 5000, TOKEN):
        client.cookies.clear()
        assert (await client.get("/", headers={"Cookie": f"liushui_codec={value}"})).status_code == 303


async def test_a_refusal_says_why_in_two_languages_and_keeps_no_secret_on_the_page(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    answer = await logged_in(client, login='"><b>x', password="hunter2hunter2", totp="654321")
    assert answer.status_code == 401
    assert "登录被拒绝" in answer.text
    assert "Login refused" in answer.text
    assert "set-cookie" not in answer.headers
    assert '"><b>' not in answer.text
    assert "hunter2" not in answer.text + caplog.text
    assert "654321" not in answer.text + caplog.text


async def test_a_lock_out_says_how_long(client: httpx.AsyncClient, operators: OperatorsStub) -> None:
    operators.refusal = problem(429, "LOGIN_BLOCKED", "Too many attempts", "尝试过多", **{"Retry-After": "60"})
    answer = await logged_in(client)
    assert answer.status_code == 429
    assert "尝试过多" in answer.text
    assert "60 s" in answer.text


@pytest.mark.parametrize("answer", [httpx.Response(200, json={}), httpx.Response(200, json={"token": "x"}), None])
async def test_without_a_session_from_the_operators_api_nobody_is_logged_in(
    client: httpx.AsyncClient, operators: OperatorsStub, answer: httpx.Response | None
) -> None:
    operators.refusal, operators.reached = answer, answer is not None
    refused = await logged_in(client)
    assert refused.status_code == 503
    assert "set-cookie" not in refused.headers


@pytest.mark.parametrize("origin", [None, "null", UI, "http://evil.example", "http://127.0.0.1:8002.evil.example"])
@pytest.mark.parametrize("path", ["/login", "/logout"])
async def test_only_our_own_page_sends_our_forms(
    client: httpx.AsyncClient, operators: OperatorsStub, path: str, origin: str | None
) -> None:
    answer = await client.post(path, data=TYPED, headers={} if origin is None else {"Origin": origin})
    assert (answer.status_code, answer.json()["code"]) == (403, "origin_refused")
    assert not operators.asked


async def test_logging_out_ends_the_session_everywhere(client: httpx.AsyncClient, operators: OperatorsStub) -> None:
    await logged_in(client)
    left = await client.post("/logout", headers={"Origin": CODEC})
    assert (left.status_code, left.headers["location"]) == (303, "/login")
    path, _, headers = operators.asked[-1]
    assert (path, headers["authorization"]) == ("/ops/v1/logout", f"Bearer {TOKEN}")
    assert (await client.get("/")).headers["location"] == "/login"


async def test_the_browser_forgets_the_session_even_when_the_operators_api_is_away(
    client: httpx.AsyncClient, operators: OperatorsStub
) -> None:
    await logged_in(client)
    operators.reached = False
    await client.post("/logout", headers={"Origin": CODEC})
    assert not client.cookies


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", 400),
        (b"login=a&password=b", 400),
        (b"login=a&password=b&totp=1&totp=2", 400),
        (b"login=a&password=b&totp=1&more=2", 400),
        (b"login=\xff&password=b&totp=1", 400),
        (b"login=%FF&password=b&totp=1", 400),
        (b"login=a&totp=1&password=" + b"b" * MAX_FORM_BYTES, 413),
    ],
)
async def test_a_form_that_is_not_ours_is_refused(
    client: httpx.AsyncClient, operators: OperatorsStub, content: bytes, status: int
) -> None:
    answer = await client.post("/login", content=content, headers={"Origin": CODEC})
    assert answer.status_code == status
    assert not operators.asked


async def test_the_pages_run_no_script_and_cannot_be_framed(client: httpx.AsyncClient) -> None:
    await logged_in(client)
    for path in ("/", "/login"):
        answer = await client.get(path)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["cache-control"] == "no-store"
        assert "<script" not in answer.text
