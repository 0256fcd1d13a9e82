"""What gets no answer is asked again, as the same instruction and never as a second one."""

from __future__ import annotations

import httpx
import pytest

from client import ConflictError, NoAnswerError, RefusedError, Retries, TooManyRequestsError, UnexpectedAnswerError
from client.core import Ask, Flow
from client.models import Plain, User
from tests.client.steps import Stepper, problem

USER = {
    "id": "usr_1",
    "merchant_user_ref": "customer-1",
    "type": "individual",
    "region": "CN",
    "state": "active",
    "created_at": "2026-11-20T04:00:00+00:00",
    "object": "user",
}
COMMAND = Ask("POST", "/v1/users", User, {"merchant_user_ref": "customer-1"}, is_command=True)
READ = Ask("GET", "/v1/users/usr_1", User)
LOST = httpx.ReadTimeout("")
NOT_CONNECTED = httpx.ConnectError("")


def _ask(stepper: Stepper, ask: Ask[User] = COMMAND) -> Flow[User]:
    return stepper.core().perform(ask)


def test_a_lost_answer_is_asked_for_again_under_the_same_key() -> None:
    stepper = Stepper()
    user = stepper.play(_ask(stepper), [LOST, NOT_CONNECTED, httpx.Response(201, json=USER)])
    assert user.id == "usr_1"
    assert len(stepper.sent) == 3
    assert len(stepper.keys) == 1
    assert {request.content for request in stepper.sent} == {stepper.sent[0].content}


def test_two_calls_are_two_instructions() -> None:
    stepper = Stepper()
    core = stepper.core()
    stepper.play(core.perform(COMMAND), [httpx.Response(201, json=USER)])
    stepper.play(core.perform(COMMAND), [httpx.Response(201, json=USER)])
    assert len(stepper.keys) == 2


@pytest.mark.parametrize(
    "answer",
    [
        problem(503, "SERVICE_UNAVAILABLE"),
        problem(409, "IDEMPOTENCY_IN_PROGRESS"),
        problem(429, "RATE_LIMITED"),
        httpx.Response(502, text="<html>"),
        httpx.Response(504),
    ],
)
def test_what_may_yet_be_answered_is_asked_again(answer: httpx.Response) -> None:
    stepper = Stepper()
    assert stepper.play(_ask(stepper), [answer, httpx.Response(201, json=USER)]).id == "usr_1"
    assert len(stepper.keys) == 1


@pytest.mark.parametrize(
    "answer",
    [
        problem(400, "REQUEST_INVALID"),
        problem(401, "API_KEY_INVALID"),
        problem(401, "SIGNATURE_REPLAYED"),
        problem(409, "ORDER_ALREADY_PAID"),
        problem(409, "CODE_ATTEMPT_IN_PROGRESS", **{"retry-after": "2"}),
        problem(422, "LIMIT_PER_DAY"),
        problem(429, "CODE_RESEND_TOO_SOON", **{"retry-after": "9"}),
        problem(503, "BANK_NO_ANSWER"),
        httpx.Response(302, headers={"location": "https://elsewhere.example"}),
    ],
)
def test_what_was_decided_is_not_asked_again(answer: httpx.Response) -> None:
    stepper = Stepper()
    with pytest.raises(Exception, match=r"[A-Z_]+"):
        stepper.play(_ask(stepper), [answer])
    assert len(stepper.sent) == 1
    assert stepper.pauses == []


def test_retry_after_is_waited_for() -> None:
    stepper = Stepper()
    stepper.play(_ask(stepper), [problem(429, "RATE_LIMITED", **{"retry-after": "7"}), httpx.Response(201, json=USER)])
    assert 7 <= stepper.pauses[0] < 8


def test_a_retry_after_beyond_the_callers_patience_is_told_and_not_waited_for() -> None:
    stepper = Stepper(retries=Retries(total_seconds=5))
    with pytest.raises(TooManyRequestsError) as caught:
        stepper.play(_ask(stepper), [problem(429, "RATE_LIMITED", **{"retry-after": "60"})])
    assert caught.value.retry_after == 60
    assert stepper.pauses == []


def test_pauses_grow_up_to_a_bound_and_the_whole_ends_in_time() -> None:
    stepper = Stepper(retries=Retries(total_seconds=30), seconds_an_attempt=1.0)
    with pytest.raises(NoAnswerError):
        stepper.play(_ask(stepper), [LOST] * 100)
    assert stepper.pauses == sorted(stepper.pauses)
    assert max(stepper.pauses) == 5.0
    assert stepper.passed <= 30 + 1.0
    assert len(stepper.keys) == 1


def test_an_error_without_an_answer_names_the_key_to_go_on_with() -> None:
    stepper = Stepper(retries=Retries(total_seconds=0))
    with pytest.raises(NoAnswerError) as caught:
        stepper.play(_ask(stepper), [LOST])
    error = caught.value
    assert error.code == "NO_ANSWER"
    assert error.may_have_been_done
    assert {error.idempotency_key} == stepper.keys
    assert str(error.idempotency_key) in str(error)
    stepper.play(
        _ask(stepper, Ask("POST", "/v1/users", User, is_command=True, idempotency_key=error.idempotency_key)),
        [httpx.Response(201, json=USER)],
    )
    assert len(stepper.keys) == 1


def test_what_never_left_was_not_done() -> None:
    stepper = Stepper(retries=Retries(total_seconds=0))
    with pytest.raises(NoAnswerError) as caught:
        stepper.play(_ask(stepper), [NOT_CONNECTED])
    assert not caught.value.may_have_been_done


def test_a_refused_key_after_a_lost_answer_leaves_open_whether_it_was_done() -> None:
    stepper = Stepper()
    with pytest.raises(Exception, match="API_KEY_INVALID") as caught:
        stepper.play(_ask(stepper), [LOST, problem(401, "API_KEY_INVALID")])
    assert caught.value.may_have_been_done  # type: ignore[attr-defined]


def test_a_decision_after_a_lost_answer_settles_it() -> None:
    stepper = Stepper()
    with pytest.raises(RefusedError) as caught:
        stepper.play(_ask(stepper), [LOST, problem(422, "LIMIT_PER_DAY")])
    assert not caught.value.may_have_been_done


def test_a_first_that_is_still_at_work_when_patience_ends_may_yet_be_done() -> None:
    stepper = Stepper(retries=Retries(total_seconds=0))
    with pytest.raises(ConflictError) as caught:
        stepper.play(_ask(stepper), [problem(409, "IDEMPOTENCY_IN_PROGRESS")])
    assert caught.value.may_have_been_done


def test_an_answer_that_cannot_be_read_may_have_been_done() -> None:
    stepper = Stepper()
    with pytest.raises(UnexpectedAnswerError) as caught:
        stepper.play(_ask(stepper), [httpx.Response(201, text="<html>")])
    assert caught.value.may_have_been_done
    assert caught.value.idempotency_key


def test_reads_are_repeated_and_carry_no_key() -> None:
    stepper = Stepper()
    stepper.play(_ask(stepper, READ), [LOST, problem(503, "SERVICE_UNAVAILABLE"), httpx.Response(200, json=USER)])
    assert not any("idempotency-key" in request.headers for request in stepper.sent)


def test_every_request_has_its_time_outs() -> None:
    stepper = Stepper()
    stepper.play(_ask(stepper, READ), [httpx.Response(200, json=USER)])
    timeouts = stepper.sent[0].extensions["timeout"]
    assert set(timeouts) == {"connect", "read", "write", "pool"}
    assert all(timeouts.values())


def test_an_identifier_cannot_become_another_address() -> None:
    from client.nouns import path

    stepper = Stepper()
    ask = Ask("GET", path("payments", "../users?limit=1#/.."), Plain)
    stepper.play(stepper.core().perform(ask), [httpx.Response(200, json={})])
    assert stepper.sent[0].url.raw_path == b"/v1/payments/..%2Fusers%3Flimit%3D1%23%2F.."
    stepper.play(
        stepper.core().perform(Ask("GET", path("users", "..", "bindings", "."), Plain)), [httpx.Response(200, json={})]
    )
    assert stepper.sent[-1].url.raw_path == b"/v1/users/%2E%2E/bindings/%2E"
