"""Request ids in Temporal's headers: ours go through, and nothing else that somebody puts there."""

from __future__ import annotations

import pytest
from temporalio.api.common.v1 import Payload

from runtime.interceptors import HEADER, read_request_id, with_request_id

REQUEST = "req_01JD9Z7K8M1234567890123456"


def test_an_id_comes_back_as_it_was_sent_and_other_headers_stay() -> None:
    other = Payload(data=b"x")
    headers = with_request_id({"other": other}, REQUEST)
    assert read_request_id(headers) == REQUEST
    assert headers["other"] == other


def test_without_a_request_no_header_is_sent() -> None:
    assert with_request_id({}, None) == {}
    assert read_request_id({}) is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"req_01JD9Z7K8M1234567890123456",
        b'"req_"',
        b'"pay_01JD9Z7K8M1234567890123456"',
        b'"req_01JD9Z7K8M1234567890123456\\nforged line"',
        b'"req_01JD9Z7K8M1234567890123456"\n',
        b'"req_11010519491231002X6222021234"',
        b'"' + b"A" * 1_000_000 + b'"',
    ],
)
def test_a_header_that_an_outsider_made_up_reaches_no_log(data: bytes) -> None:
    assert read_request_id({HEADER: Payload(data=data)}) is None
