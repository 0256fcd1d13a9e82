"""Keys, codes and personal data show nowhere: not in a repr, an error, a log line or a traceback's message."""

from __future__ import annotations

import logging
import traceback
from datetime import UTC, datetime

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from client import AsyncLiushui, Liushui, LiushuiError, NoAnswerError, Retries, SigningKey
from client.webhook_endpoints import WebhookEndpoint
from tests.client.steps import API_KEY, problem

CODE, CARD, NAME, ID_NUMBER, MOBILE = "482913", "9901010000000000018", "张三", "11010119900307803X", "13800138000"
SECRET_OF_KEY = API_KEY.rpartition("_")[2]


def test_reprs_hide_keys() -> None:
    key = SigningKey("sgk_1", Ed25519PrivateKey.generate())
    with Liushui("https://api.example", API_KEY, key) as client:
        shown = f"{client!r} {client.core.settings!r} {key!r} {client.payments!r}"
    assert SECRET_OF_KEY not in shown
    assert "PRIVATE" not in shown
    at = datetime(2026, 11, 20, tzinfo=UTC)
    endpoint = WebhookEndpoint(
        id="whe_1",
        url="u",
        event_types=(),
        description="",
        state="enabled",
        state_since=at,
        created_at=at,
        secret="whsec_x",
    )
    assert "whsec_x" not in repr(endpoint)


@pytest.mark.parametrize(
    "answer", [httpx.ReadTimeout("read"), problem(422, "CODE_WRONG"), httpx.Response(200, text="?")]
)
async def test_a_failed_call_shows_nothing_of_what_was_sent(
    answer: httpx.Response | httpx.ReadTimeout, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    def handle(request: httpx.Request) -> httpx.Response:
        if isinstance(answer, httpx.ReadTimeout):
            raise answer
        return answer

    async with httpx.AsyncClient(transport=httpx.MockTransport(handle)) as http:
        client = AsyncLiushui("https://api.example", API_KEY, http=http, retries=Retries(total_seconds=0))
        shown = ""
        for call in (
            client.bindings.create("usr_1", name=NAME, id_number=ID_NUMBER, card_number=CARD, mobile=MOBILE),
            client.payments.confirm("pay_1", CODE),
        ):
            with pytest.raises(LiushuiError) as caught:
                await call
            error = caught.value
            shown += f"{error} {error!r} {vars(error)} {''.join(traceback.format_exception(error))}"
            # An error that went before would bring the request along, and with it the code.
            assert error.__cause__ is None
            assert error.__context__ is None or error.__suppress_context__
    shown += caplog.text
    for secret in (CODE, CARD, NAME, ID_NUMBER, MOBILE, SECRET_OF_KEY):
        assert secret not in shown


async def test_an_error_does_not_carry_the_request() -> None:
    def handle(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("", request=request)

    async with httpx.AsyncClient(transport=httpx.MockTransport(handle)) as http:
        client = AsyncLiushui("https://api.example", API_KEY, http=http, retries=Retries(total_seconds=0))
        with pytest.raises(NoAnswerError) as caught:
            await client.payments.confirm("pay_1", CODE)
    assert caught.value.__context__ is None


@pytest.mark.parametrize("address", ["http://api.example", "http://10.0.0.1", "ftp://127.0.0.1", "api.example"])
def test_a_key_never_travels_in_the_clear(address: str) -> None:
    with pytest.raises(ValueError, match="https://"):
        Liushui(address, API_KEY)


def test_redirects_are_not_followed() -> None:
    asked: list[str] = []

    def handle(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return httpx.Response(307, headers={"location": "https://elsewhere.example/v1/balances"})

    with httpx.Client(transport=httpx.MockTransport(handle), follow_redirects=True) as http:
        client = Liushui("https://api.example", API_KEY, http=http)
        with pytest.raises(LiushuiError):
            client.balances.get()
    assert asked == ["https://api.example/v1/balances"]
