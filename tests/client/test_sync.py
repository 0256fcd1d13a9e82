"""The sync client does what the async one does: the same calls, pages, waits and errors."""

from __future__ import annotations

import httpx
import pytest

from client import AsyncLiushui, Liushui, NotFoundError, Retries
from client.nouns import Noun
from tests.client.steps import API_KEY, problem
from tests.client.test_retries import USER

RETRIES = Retries(first_pause_seconds=0.001, longest_pause_seconds=0.001)


def _client(*answers: httpx.Response) -> tuple[Liushui, list[httpx.Request]]:
    given, asked = iter(answers), []

    def handle(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return next(given)

    http = httpx.Client(transport=httpx.MockTransport(handle))
    return Liushui("https://api.example/base/", API_KEY, http=http, retries=RETRIES), asked


def test_a_call_is_retried_and_answered() -> None:
    client, asked = _client(problem(503, "SERVICE_UNAVAILABLE"), httpx.Response(201, json=USER))
    assert client.users.create("customer-1").id == "usr_1"
    assert [str(request.url) for request in asked] == ["https://api.example/base/v1/users"] * 2
    assert asked[0].headers["authorization"] == f"Bearer {API_KEY}"


def test_pages_are_fetched_only_when_they_are_needed() -> None:
    def movement(version: int) -> dict[str, object]:
        at = "2026-11-20T04:00:00+00:00"
        return {
            "version": version,
            "kind": "collection",
            "change_minor": 1,
            "posted_after_minor": version,
            "booked_at": at,
            "recorded_at": at,
            "instruction_id": "pay_1",
            "reference": None,
        }

    pages = [
        httpx.Response(200, json={"object": "list", "items": [movement(4), movement(3)], "next_cursor": "two"}),
        httpx.Response(200, json={"object": "list", "items": [movement(2), movement(1)], "next_cursor": None}),
    ]
    client, asked = _client(*pages)
    movements = client.balances.statement("pending")
    assert asked == []
    first, _ = next(movements), next(movements)
    assert (first.version, len(asked)) == (4, 1)
    assert [found.version for found in movements] == [2, 1]
    assert asked[1].url.params["cursor"] == "two"
    assert asked[1].url.params["account"] == "pending"


def test_waiting_reads_until_it_is_done() -> None:
    refund = {
        "id": "rfd_1",
        "object": "refund",
        "payment_id": "pay_1",
        "bank_code": "HBRB",
        "amount_minor": 1,
        "fee_back_minor": 0,
        "currency": "CNY",
        "reason_code": "other",
        "state": "sending",
        "reason": None,
        "state_since": "2026-11-20T04:00:00+00:00",
        "accepted_at": "2026-11-20T04:00:00+00:00",
        "bank_reference": None,
        "booked_at": None,
        "waiting_for": {"reason": "bank_answer", "since": "2026-11-20T04:00:00+00:00", "until": None, "deadline": None},
    }
    done = refund | {"state": "succeeded", "waiting_for": None}
    client, asked = _client(httpx.Response(200, json=refund), httpx.Response(200, json=done))
    assert client.refunds.wait("rfd_1").state == "succeeded"
    assert len(asked) == 2


def test_errors_are_the_same() -> None:
    client, _ = _client(problem(404, "PAYMENT_NOT_FOUND"))
    with pytest.raises(NotFoundError, match="PAYMENT_NOT_FOUND"):
        client.payments.get("pay_1")


def test_both_clients_offer_the_same() -> None:
    with Liushui("https://api.example", API_KEY) as plain:
        ours = {name for name, value in vars(plain).items() if isinstance(value, Noun)}
    other = AsyncLiushui("https://api.example", API_KEY)
    assert ours == {name for name, value in vars(other).items() if isinstance(value, Noun)}
    methods = [{name for name in vars(kind) if not name.startswith("_")} for kind in (Liushui, AsyncLiushui)]
    assert methods[0] == methods[1]
