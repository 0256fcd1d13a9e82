"""Logs: one JSON object a line, and nothing in it that looks like personal information or a code."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest

from runtime.logging import RedactingFormatter, configure_logging, log_as, request_id
from runtime.redaction import STRUCK_OUT, redact, redact_text

ID_NUMBER, CARD, MOBILE = "11010519491231002X", "6222021234567890123", "13812345678"


@pytest.fixture
def lines() -> Iterator[Any]:
    stream = StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(RedactingFormatter("worker"))
    logger = logging.getLogger("liushui.test")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    logger.removeHandler(handler)


@pytest.mark.parametrize(
    "text",
    [
        ID_NUMBER,
        f"id={ID_NUMBER.lower()}",
        CARD,
        f"card:{CARD}.",
        "6222 0212 3456 7890 123",
        "6222-0212-3456-7890",
        MOBILE,
        f"+86 {MOBILE}",
        "138-1234-5678",
        "code=123456",
        '"code": "123456"',
        "'sms_code': '0042'",
        "验证码：123456",
        "１３８１２３４５６７８",
    ],
)
def test_what_has_the_shape_of_personal_information_or_a_code_is_struck_out(text: str) -> None:
    redacted = redact_text(f"before {text} after")
    assert STRUCK_OUT in redacted
    assert not any(character.isdigit() for character in redacted.replace("+86", ""))


@pytest.mark.parametrize(
    "text",
    [
        "pay_01JD9Z7K8M1234567890123456",
        "request DB01JD9Z7K8M123456789012345601 answered",
        "amount_minor=10000000 CNY",
        "status_code=20000",
        "code=insufficient_funds",
        "550e8400-e29b-41d4-a716-446655440000",
        "2026-11-22T15:37:23.831+00:00",
        "127.0.0.1:24848",
    ],
)
def test_what_an_operator_needs_stays_readable(text: str) -> None:
    assert redact_text(text) == text


def test_fields_named_after_secrets_lose_any_value_at_any_depth() -> None:
    found = redact({"outer": [{"card_number": "short", "mobile": 5, "state": "open"}], "API_KEY": "abc", "code": 1234})
    assert found == {
        "outer": [{"card_number": STRUCK_OUT, "mobile": STRUCK_OUT, "state": "open"}],
        "API_KEY": STRUCK_OUT,
        "code": STRUCK_OUT,
    }


def test_amounts_stay_and_numbers_as_long_as_a_card_go() -> None:
    assert redact({"amount_minor": 9_999_999_999_999, "other": 6222021234567890}) == {
        "amount_minor": 9_999_999_999_999,
        "other": STRUCK_OUT,
    }


def test_a_line_is_json_with_instant_process_level_and_request(lines: Any) -> None:
    with request_id("req_1"):
        logging.getLogger("liushui.test").info("payment accepted", extra={"payment_id": "pay_1"})
    logging.getLogger("liushui.test").info("outside")
    inside, outside = lines()
    assert inside["message"] == "payment accepted"
    assert (inside["process"], inside["level"], inside["request_id"]) == ("worker", "INFO", "req_1")
    assert inside["payment_id"] == "pay_1"
    assert inside["at"].endswith("+00:00")
    assert "request_id" not in outside


async def test_a_task_that_serves_one_thing_names_it_in_every_line_and_no_other_task_does(lines: Any) -> None:
    logger = logging.getLogger("liushui.test")

    async def serve() -> None:
        log_as("req_2", workflow_id="collect-payment/pay_2", subject_id="pay_2")
        logger.info("inside")

    await asyncio.create_task(serve())
    logger.info("outside")
    inside, outside = lines()
    assert (inside["request_id"], inside["workflow_id"], inside["subject_id"]) == (
        "req_2", "collect-payment/pay_2", "pay_2",
    )  # fmt: skip
    assert not {"request_id", "workflow_id", "subject_id"} & set(outside)


def test_arguments_extras_and_tracebacks_are_redacted_too(lines: Any) -> None:
    logger = logging.getLogger("liushui.test")
    try:
        raise ValueError(f"no such card {CARD}")
    except ValueError:
        logger.exception("failed for %s", MOBILE, extra={"body": {"id_number": ID_NUMBER, "note": ID_NUMBER}})
    written = json.dumps(lines())
    assert "ValueError: no such card" in written
    assert not any(secret in written for secret in (ID_NUMBER, CARD, MOBILE))


def test_an_uncaught_error_is_logged_redacted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(logging.root, "handlers", [])
    monkeypatch.setattr(logging.root, "level", logging.root.level)
    configure_logging("api", "INFO")
    error = ValueError(CARD)
    sys.excepthook(ValueError, error, error.__traceback__)
    line = json.loads(capsys.readouterr().err)
    assert line["level"] == "CRITICAL"
    assert CARD not in json.dumps(line)
