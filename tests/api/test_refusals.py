"""Each refusal of the API: answered with its code and status, in the document, on record, and nothing is changed."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest

from api.documentation import NOWHERE
from api.problems import status_of
from domain.error_codes import ERROR_TEXTS, OPERATOR_CODES, ErrorCode
from storage.administration import SCOPES
from tests.api import (
    refused_by_decisions,
    refused_closing,
    refused_fx,
    refused_payments,
    refused_payouts,
    refused_signatures,
    refused_users_and_cards,
    refused_webhooks,
)
from tests.api.conftest import Stage
from tests.api.refusals import SCENARIOS

C = ErrorCode
# Importing them registers their scenarios.
REGISTERED = (
    refused_by_decisions,
    refused_closing,
    refused_fx,
    refused_payments,
    refused_payouts,
    refused_signatures,
    refused_users_and_cards,
    refused_webhooks,
)


_RECORDED_AS = {
    C.CALLBACK_REJECTED: "signature_invalid",
    C.IDEMPOTENCY_IN_PROGRESS: None,
    C.CODE_ATTEMPTS_EXHAUSTED: "code_attempts_exhausted",
}


@pytest.mark.parametrize("code", SCENARIOS, ids=str)
async def test_a_refusal_is_answered_documented_recorded_and_changes_nothing(stage: Stage, code: ErrorCode) -> None:
    ask = await SCENARIOS[code](stage)
    before = await _business(stage)
    told = len(stage.processes.started)
    answer = await ask()

    problem = answer.json()
    assert problem["code"] == code.value, answer.text
    assert answer.status_code == problem["status"] == status_of(code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["title_zh"] == ERROR_TEXTS[code].title_zh
    assert answer.headers["x-request-id"].startswith("req_")
    assert code in _documented(stage, answer.request)
    assert await _business(stage) == before
    assert len(stage.processes.started) == told
    reason = _RECORDED_AS.get(code, code.value.lower())
    if reason is not None:
        records = await stage.records(request_id=answer.headers["x-request-id"], reason=reason)
        assert [record["outcome"] for record in records] in (["refused"], ["denied"], ["failed"])


def test_every_code_that_the_api_documents_is_tried_here(stage: Stage) -> None:
    assert set(SCENARIOS) == _documented_anywhere(stage)


def test_codes_that_no_address_answers_with_are_known(stage: Stage) -> None:
    assert set(ErrorCode) - OPERATOR_CODES - _documented_anywhere(stage) == {
        C.BANK_NO_ANSWER,
        # The database's own guard: the API takes the class from the user's document, and from nowhere else.
        C.RESIDENCY_NOT_OF_USER,
    }


def test_every_refusal_that_the_api_documents_is_a_problem_with_codes(stage: Stage) -> None:
    refusals = [
        (path, status, list(response["content"]))
        for path, methods in stage.openapi()["paths"].items()
        for operation in methods.values()
        for status, response in operation["responses"].items()
        if status >= "400"
    ]
    assert [wrong for wrong in refusals if wrong[2] != ["application/problem+json"]] == []
    assert "HTTPValidationError" not in stage.openapi()["components"]["schemas"]


async def test_the_scopes_that_routes_ask_for_are_those_that_can_be_issued(stage: Stage) -> None:
    openapi = (await stage.http.get("/openapi.json")).json()
    asked = {
        operation["x-scope"]
        for methods in openapi["paths"].values()
        for operation in methods.values()
        if "x-scope" in operation
    }
    assert asked == set(SCOPES)


async def _business(stage: Stage) -> list[dict[str, Any]]:
    """Everything that a refusal must leave alone."""
    return await stage.rows(
        "SELECT 'user' AS what, id, state FROM app.end_user"
        " UNION ALL SELECT 'binding', id, state FROM app.binding"
        " UNION ALL SELECT 'payment', id, state || refunding_minor FROM app.payment"
        " UNION ALL SELECT 'refund', id, state FROM app.refund"
        " UNION ALL SELECT 'payee', id, state FROM app.payee"
        " UNION ALL SELECT 'payout', id, state FROM app.payout"
        " UNION ALL SELECT 'receiving', id, state FROM app.receiving_account"
        " UNION ALL SELECT 'inbound', id, state FROM app.inbound"
        " UNION ALL SELECT 'return', id, state FROM app.inbound_return"
        " UNION ALL SELECT 'mandate', id, state FROM app.fx_mandate"
        " UNION ALL SELECT 'fx', id, state FROM app.fx"
        " UNION ALL SELECT 'closure', id, state || coalesce(records_count, 0) FROM app.closure"
        " UNION ALL SELECT 'dispute', id, state FROM app.dispute"
        " UNION ALL SELECT 'notice', closure_id, recipient || reply FROM app.erasure_notice"
        " UNION ALL SELECT 'retained', record_id, source_id FROM retention.record"
        " UNION ALL SELECT 'waiver', id, state FROM app.waiver_application"
        " UNION ALL SELECT 'event', id, type FROM app.event"
        " UNION ALL SELECT 'consent', id::text, kind FROM app.consent"
        " UNION ALL SELECT 'sealed', token, field FROM vault.item"
        " UNION ALL SELECT 'limit', subject || window_kind, used_minor::text FROM app.limit_usage"
        " UNION ALL SELECT 'effect', request_number, step FROM app.effect WHERE step <> 'VC'"
        " UNION ALL SELECT 'transfer', key, action FROM ledger.transfer ORDER BY 1, 2, 3"
    )


def _documented(stage: Stage, request: httpx.Request) -> set[str]:
    """The codes that the document gives for the address of a request."""
    for template, methods in stage.openapi()["paths"].items():
        pattern = re.sub(r"\{\w+\}", "[^/]+", template)
        if re.fullmatch(pattern, request.url.path) and request.method.lower() in methods:
            return _codes(methods[request.method.lower()])
    return set(NOWHERE)


def _documented_anywhere(stage: Stage) -> set[str]:
    paths = stage.openapi()["paths"]
    found = [_codes(operation) for methods in paths.values() for operation in methods.values()]
    return set().union(*found, NOWHERE)


def _codes(operation: dict[str, Any]) -> set[str]:
    problems = [
        response.get("content", {}).get("application/problem+json") for response in operation["responses"].values()
    ]
    return {code for problem in problems if problem for code in problem["examples"]}
