"""Signed instructions: the RFC's vectors, everything that can be altered, replays, and keys that come and go."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, SECP384R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as new_ecdsa_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as new_rsa_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from http_message_signatures import HTTPMessageSigner, InvalidSignature, MappingKeyResolver, algorithms
from starlette.requests import Request

from api.signatures import ALGORITHMS, OneKey, Signatures, Verifier, base_of, verify
from client.signing import SigningKey
from domain.errors import NotFoundError, ValidationRefusedError
from domain.signing import SigningAlgorithm
from storage.administration import Act
from storage.public_keys import _Y_OF_LOW_ORDER, load_public_key, read_public_key
from storage.signing_keys import SigningKeys, register, revoke
from tests.api.conftest import Merchant, Stage
from tests.api.refused_signatures import PUBLIC_KEY, USER, new_key, signer
from vault.evidence import EvidenceSeal

P256_PEM = """-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEqIVYZVLCrPZHGHjP17CTW0/+D9Lf
w0EkjqF7xB4FivAxzic30tMM4GF+hR6Dxh71Z50VGGdldkkDXZCnTNnoXQ==
-----END PUBLIC KEY-----
"""
COVERED = ("@method", "@authority", "@path", "@query", "content-type", "content-digest", "idempotency-key")
Change = Callable[[httpx.Request], None]


# Vectors of RFC 9421


def rfc_request(signature_input: str, signature: str, **changes: str) -> Any:
    """Appendix B.2 of the RFC."""
    digest = "WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew=="
    headers = {
        "Host": "example.com",
        "Date": "Tue, 20 Apr 2021 02:07:55 GMT",
        "Content-Type": "application/json",
        "Content-Digest": f"sha-512=:{digest}:",
        "Content-Length": "18",
        "Signature-Input": signature_input,
        "Signature": signature,
    }
    url = "http://example.com/foo?param=Value&Pet=dog"
    return SimpleNamespace(method="POST", url=url, headers=headers | changes)


ED25519_INPUT = (
    'sig-b26=("date" "@method" "@path" "@authority" "content-type" "content-length")'
    ';created=1618884473;keyid="test-key-ed25519"'
)
ED25519_SIGNATURE = "sig-b26=:wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==:"
P256_RESPONSE = SimpleNamespace(
    status_code=200,
    headers={
        "Date": "Tue, 20 Apr 2021 02:07:56 GMT",
        "Content-Type": "application/json",
        "Content-Digest": (
            "sha-512=:mEWXIS7MaLRuGgxOBdODa3xqM1XdEvxoYhvlCFJ41QJgJc4GTsPp29l5oGX69wWdXymyU0rjJuahq4l5aGgfLQ==:"
        ),
        "Content-Length": "23",
        "Signature-Input": (
            'sig-b24=("@status" "content-type" "content-digest" "content-length")'
            ';created=1618884473;keyid="test-key-ecc-p256"'
        ),
        "Signature": (
            "sig-b24=:wNmSUAhwb5LxtOtOpNa6W5xj067m5hFrj0XQ4fvpaCLx0NKocgPquLgyahnzDnDAUy5eCdlYUEkLIj+32oiasw==:"
        ),
    },
)


def verifier(algorithm: SigningAlgorithm, public_key: str) -> Verifier:
    key = load_public_key(read_public_key(public_key, algorithm))
    return Verifier(signature_algorithm=ALGORITHMS[algorithm], key_resolver=OneKey(key))


def test_the_vector_for_ed25519_verifies_and_an_altered_one_does_not() -> None:
    verifies = verifier(SigningAlgorithm.ED25519, PUBLIC_KEY).verify
    [result] = verifies(rfc_request(ED25519_INPUT, ED25519_SIGNATURE), max_age=None)
    assert result.covered_components['"@authority"'] == "example.com"
    for change in ({"Date": "Tue, 20 Apr 2021 02:07:56 GMT"}, {"Content-Type": "text/plain"}, {"Content-Length": "19"}):
        with pytest.raises(InvalidSignature):
            verifies(rfc_request(ED25519_INPUT, ED25519_SIGNATURE, **change), max_age=None)


def test_the_vector_for_ecdsa_p256_verifies_and_an_altered_one_does_not() -> None:
    verifies = verifier(SigningAlgorithm.ECDSA_P256_SHA256, P256_PEM).verify
    assert verifies(P256_RESPONSE, max_age=None)
    altered = SimpleNamespace(status_code=201, headers=P256_RESPONSE.headers)
    with pytest.raises(InvalidSignature):
        verifies(altered, max_age=None)


def test_a_key_of_one_algorithm_verifies_nothing_of_the_other() -> None:
    with pytest.raises(InvalidSignature):
        verifier(SigningAlgorithm.ECDSA_P256_SHA256, P256_PEM).verify(
            rfc_request(ED25519_INPUT, ED25519_SIGNATURE), max_age=None
        )


# What is sent


def request_of(stage: Stage, merchant: Merchant, *, path: str = "/v1/users", key: str = "") -> httpx.Request:
    return stage.http.build_request("POST", path, json=USER, headers=merchant.headers(key))


def signed(stage: Stage, merchant: Merchant, signing_key: SigningKey, **options: Any) -> httpx.Request:
    request = request_of(stage, merchant, **options)
    signing_key.sign(request, created=stage.clock.now(), nonce=stage.ids.ulid())
    return request


def signed_by_hand(
    stage: Stage,
    request: httpx.Request,
    signing_key: SigningKey,
    *,
    covered: tuple[str, ...] = COVERED,
    tag: str | None = "liushui-v1",
    label: str = "liushui",
    **options: Any,
) -> None:
    """Signs by the library alone, so that a test can leave the profile."""
    private_keys = {signing_key.key_id: signing_key._private_key}
    signer = HTTPMessageSigner(
        signature_algorithm=options.pop("algorithm", algorithms.ED25519),
        key_resolver=MappingKeyResolver(public_keys={}, private_keys=private_keys),  # type: ignore[arg-type]
    )
    message: Any = request
    signer.sign(
        message,
        key_id=signing_key.key_id,
        created=options.pop("created", stage.clock.now()),
        nonce=options.pop("nonce", stage.ids.ulid()),
        label=label,
        tag=tag,
        covered_component_ids=covered,
        body=request.content if "content-digest" in covered else None,
        **options,
    )


def header(name: str, value: str) -> Change:
    def change(request: httpx.Request) -> None:
        request.headers[name] = value

    return change


def parameter(name: str, value: str) -> Change:
    def change(request: httpx.Request) -> None:
        given = request.headers["Signature-Input"]
        altered = re.sub(rf";{name}=(\"[^\"]*\"|[0-9]+)", f";{name}={value}", given)
        assert altered != given
        request.headers["Signature-Input"] = altered

    return change


def address(path: str) -> Change:
    def change(request: httpx.Request) -> None:
        request.url = request.url.copy_with(raw_path=path.encode())

    return change


def sent_to(path: str, host: str) -> Change:
    """What a reader makes of `https://{host}{path}` is not where the request goes."""

    def change(request: httpx.Request) -> None:
        request.url = request.url.copy_with(raw_path=path.encode())
        request.headers["Host"] = host

    return change


def another_method(request: httpx.Request) -> None:
    request.method = "PUT" if request.method == "POST" else "POST"


def another_body(request: httpx.Request) -> None:
    _replace(request, request.content.replace(b"CN", b"US"))


def another_body_and_digest(request: httpx.Request) -> None:
    another_body(request)
    digest = base64.b64encode(hashlib.sha256(request.content).digest()).decode()
    request.headers["Content-Digest"] = f"sha-256=:{digest}:"


def _replace(request: httpx.Request, body: bytes) -> None:
    fresh = httpx.Request(request.method, request.url, content=body)
    request._content, request.stream = body, fresh.stream
    request.headers["Content-Length"] = str(len(body))


def without(name: str) -> Change:
    def change(request: httpx.Request) -> None:
        del request.headers[name]

    return change


def two_labels(request: httpx.Request) -> None:
    given_input, given = request.headers["Signature-Input"], request.headers["Signature"]
    request.headers["Signature-Input"] = f"{given_input}, {given_input.replace('liushui=', 'other=', 1)}"
    request.headers["Signature"] = f"{given}, {given.replace('liushui=', 'other=', 1)}"


def the_same_label_twice(request: httpx.Request) -> None:
    for name in ("Signature-Input", "Signature"):
        request.headers[name] = f"{request.headers[name]}, {request.headers[name]}"


def two_lines(name: str) -> Change:
    def change(request: httpx.Request) -> None:
        value = request.headers[name]
        request.headers = httpx.Headers([*request.headers.raw, (name.encode(), value.encode())])

    return change


def a_flipped_bit(request: httpx.Request) -> None:
    given = base64.b64decode(request.headers["Signature"].removeprefix("liushui=:").removesuffix(":"))
    flipped = base64.b64encode(bytes([given[0] ^ 1]) + given[1:]).decode()
    request.headers["Signature"] = f"liushui=:{flipped}:"


def not_ascii(request: httpx.Request) -> None:
    del request.headers["Signature-Input"]
    request.headers = httpx.Headers([*request.headers.raw, (b"Signature-Input", b"liushui=\xe9\xff")])


INVALID = "SIGNATURE_INVALID"
ALTERED: dict[str, tuple[Change, str]] = {
    "another authority": (header("Host", "elsewhere.test"), INVALID),
    "another path": (address("/v1/waiver/applications"), INVALID),
    "another path, the signed one in the Host": (sent_to("/v1/waiver/applications", "liushui.test/v1/users#"), INVALID),
    "another query, the signed one in the Host": (sent_to("/v1/users?a=b", "liushui.test/v1/users#"), INVALID),
    "a user in the Host": (header("Host", "somebody@liushui.test"), INVALID),
    "the same path, spelt otherwise": (address("/v1/%75sers"), INVALID),
    "another query": (address("/v1/users?a=b"), INVALID),
    "another content type": (header("Content-Type", "application/json; charset=utf-8"), INVALID),
    "another body": (another_body, "CONTENT_DIGEST_MISMATCH"),
    "another body with its digest": (another_body_and_digest, INVALID),
    "another digest": (header("Content-Digest", "sha-256=:" + "A" * 43 + "=:"), INVALID),
    "no digest": (without("Content-Digest"), INVALID),
    "two digests": (two_lines("Content-Digest"), INVALID),
    "another idempotency key": (header("Idempotency-Key", "another-intention"), INVALID),
    "two content types": (two_lines("Content-Type"), INVALID),
    "created a second later": (parameter("created", "1795147201"), INVALID),
    "created is not a number": (parameter("created", '"1795147200"'), INVALID),
    "created beyond all calendars": (parameter("created", "999999999999999"), INVALID),
    "another nonce": (parameter("nonce", '"another-nonce-of-mine"'), INVALID),
    "a short nonce": (parameter("nonce", '"short"'), INVALID),
    "a long nonce": (parameter("nonce", f'"{"x" * 65}"'), INVALID),
    "another algorithm": (parameter("alg", '"ecdsa-p256-sha256"'), INVALID),
    "a shared secret": (parameter("alg", '"hmac-sha256"'), INVALID),
    "another tag": (parameter("tag", '"liushui-v2"'), INVALID),
    "no such key": (parameter("keyid", '"sgk_01KB5N3E4H6Q8Z2T7V9W0X1Y2R"'), "SIGNING_KEY_UNKNOWN"),
    "a key that is no key": (parameter("keyid", '"x\' OR 1=1"'), "SIGNING_KEY_UNKNOWN"),
    "no signature": (without("Signature"), INVALID),
    "no input": (without("Signature-Input"), INVALID),
    "two signatures": (two_labels, INVALID),
    "one label twice": (the_same_label_twice, INVALID),
    "two lines of input": (two_lines("Signature-Input"), INVALID),
    "a flipped bit": (a_flipped_bit, INVALID),
    "a cut signature": (header("Signature", "liushui=:AAAA:"), INVALID),
    "an empty signature": (header("Signature", "liushui=::"), INVALID),
    "a signature that is none": (header("Signature", 'liushui="x"'), INVALID),
    "an input that is none": (header("Signature-Input", "liushui=1"), INVALID),
    "garbage": (header("Signature-Input", "((((((((((("), INVALID),
    "a huge input": (header("Signature-Input", "liushui=(" + '"@method" ' * 800 + ");created=1"), INVALID),
    "bytes that are no text": (not_ascii, INVALID),
}


async def test_whatever_is_altered_is_refused_recorded_and_burns_no_idempotency_key(stage: Stage) -> None:
    merchant, signing_key = await signer(stage)
    for number, (what, (change, code)) in enumerate(ALTERED.items()):
        request = signed(stage, merchant, signing_key, key=f"altered-{number:04d}")
        change(request)
        answer = await stage.http.send(request)
        assert (answer.json()["code"], answer.status_code < 500) == (code, True), what
        [record] = await stage.records(request_id=answer.headers["x-request-id"])
        assert (record["outcome"], record["reason"]) == ("denied", code.lower()), what
        assert record["merchant_id"] == merchant.id
    assert await stage.rows("SELECT 1 FROM app.end_user") == []
    assert await stage.rows("SELECT 1 FROM app.idempotency") == []
    assert await stage.rows("SELECT 1 FROM app.instruction_signature") == []
    answer = await stage.http.send(signed(stage, merchant, signing_key, key="altered-0000"))
    assert answer.status_code == 201


async def test_a_server_whose_clock_is_ahead_forgets_no_nonce_that_another_would_still_take(stage: Stage) -> None:
    merchant, signing_key = await signer(stage)
    request, begun = request_of(stage, merchant), stage.clock.now()
    # The merchant's clock is ahead as far as it may be.
    signing_key.sign(request, created=begun + timedelta(seconds=300), nonce=stage.ids.ulid())
    assert (await stage.http.send(request)).status_code == 201
    stage.clock.instant = begun + timedelta(seconds=601)
    ahead = request_of(stage, merchant)
    signing_key.sign(ahead, created=stage.clock.now(), nonce=stage.ids.ulid())
    await stage.http.send(ahead)
    stage.clock.instant = begun + timedelta(seconds=599)
    assert (await stage.http.send(request)).json()["code"] == "SIGNATURE_REPLAYED"


async def test_no_client_can_have_a_part_of_the_address_taken_for_a_fragment(stage: Stage) -> None:
    merchant, signing_key = await signer(stage)
    for path, query in ((b"/v1/users", b"a=b#c"), (b"/v1/users#", b""), (b"/v1/users", b"#a=b")):
        request = signed(stage, merchant, signing_key)
        scope = {
            "type": "http", "method": "POST", "scheme": "http", "raw_path": path, "query_string": query,
            "path": path.decode(), "headers": [(name.lower(), value) for name, value in request.headers.raw],
        }  # fmt: skip
        given = await stage.services.signatures.check(
            Request(scope), request.content, stage.clock.now(), "req_x", keeps_evidence=False
        )
        assert given is not None
        assert given.fault == "signature_invalid", (path, query)


async def test_a_signature_of_another_method_is_refused(stage: Stage) -> None:
    merchant, signing_key = await signer(stage)
    request = request_of(stage, merchant)
    another_method(request)
    signing_key.sign(request, created=stage.clock.now(), nonce=stage.ids.ulid())
    another_method(request)
    assert (await stage.http.send(request)).json()["code"] == INVALID


async def test_a_signature_that_leaves_something_out_or_takes_something_in_is_refused(stage: Stage) -> None:
    merchant, signing_key = await signer(stage)
    for left_out in COVERED:
        request = request_of(stage, merchant)
        covered = tuple(name for name in COVERED if name != left_out)
        signed_by_hand(stage, request, signing_key, covered=covered)
        if left_out == "content-digest":
            # The library covers the digest that it computes, so it is computed by hand.
            digest = base64.b64encode(hashlib.sha256(request.content).digest()).decode()
            request.headers["Content-Digest"] = f"sha-256=:{digest}:"
        answer = await stage.http.send(request)
        assert answer.json()["code"] == INVALID, left_out
    for taken_in in ('"content-digest";sf', '"@query-param";name="a"', "authorization"):
        request = request_of(stage, merchant, path="/v1/users?a=b" if "query" in taken_in else "/v1/users")
        signed_by_hand(stage, request, signing_key, covered=(*COVERED, taken_in))
        assert (await stage.http.send(request)).json()["code"] == INVALID, taken_in


@pytest.mark.parametrize("options", [{"tag": None}, {"tag": "other"}, {"label": "sig1"}, {"include_alg": False}])
async def test_a_signature_outside_of_the_profile_is_refused(stage: Stage, options: dict[str, Any]) -> None:
    merchant, signing_key = await signer(stage)
    request = request_of(stage, merchant)
    signed_by_hand(stage, request, signing_key, **options)
    assert (await stage.http.send(request)).json()["code"] == INVALID


@pytest.mark.parametrize(
    ("age_seconds", "expires_seconds", "status"),
    [(300, None, 201), (301, None, 401), (-300, None, 201), (-301, None, 401), (10, 5, 201), (10, -1, 401)],
)
async def test_a_signature_is_taken_for_five_minutes_around_its_making(
    stage: Stage, age_seconds: int, expires_seconds: int | None, status: int
) -> None:
    merchant, signing_key = await signer(stage)
    request, now = request_of(stage, merchant), stage.clock.now()
    expires = None if expires_seconds is None else now + timedelta(seconds=expires_seconds)
    signed_by_hand(stage, request, signing_key, created=now - timedelta(seconds=age_seconds), expires=expires)
    answer = await stage.http.send(request)
    assert answer.status_code == status
    assert status == 201 or answer.json()["code"] == "SIGNATURE_EXPIRED"


async def test_a_key_on_p256_signs_as_well(stage: Stage) -> None:
    merchant, act = await stage.merchant(), Act("operator:test", stage.clock.now())
    signing_key = SigningKey(f"sgk_{stage.ids.ulid()}", new_ecdsa_key(SECP256R1()))
    await register(
        stage.database.owner_engine, act, signing_key.key_id[4:], merchant.id, signing_key.public_key_pem,
        algorithm="ecdsa-p256-sha256",
    )  # fmt: skip
    assert (await stage.http.send(signed(stage, merchant, signing_key))).status_code == 201


# Replays


async def test_of_many_copies_at_one_instant_exactly_one_is_taken(stage: Stage) -> None:
    merchant, signing_key = await signer(stage)
    request = signed(stage, merchant, signing_key)
    copies = [httpx.Request("POST", request.url, headers=request.headers, content=request.content) for _ in range(20)]
    answers = await asyncio.gather(*(stage.http.send(copy) for copy in copies))
    assert sorted(answer.status_code for answer in answers) == [201] + [401] * 19
    assert {answer.json()["code"] for answer in answers if answer.status_code == 401} == {"SIGNATURE_REPLAYED"}
    assert len(await stage.rows("SELECT 1 FROM app.instruction_signature")) == 1


async def test_a_copy_is_refused_by_a_process_that_never_saw_the_first(stage: Stage) -> None:
    merchant, signing_key = await signer(stage)
    request = signed(stage, merchant, signing_key)
    assert (await stage.http.send(request)).status_code == 201
    forgetful = Signatures(SigningKeys(stage.engine), EvidenceSeal([b"m" * 32]))
    object.__setattr__(stage.services, "signatures", forgetful)
    assert (await stage.http.send(request)).json()["code"] == "SIGNATURE_REPLAYED"


async def test_a_repetition_is_signed_anew_and_answered_as_before(stage: Stage) -> None:
    merchant, signing_key = await signer(stage)
    answers = [await stage.http.send(signed(stage, merchant, signing_key, key="one-intention")) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json() == answers[1].json()
    rows = await stage.rows("SELECT subject_id, key_id FROM app.instruction_signature")
    assert rows == [{"subject_id": answers[0].json()["id"], "key_id": signing_key.key_id}] * 2


async def test_nonces_are_forgotten_when_their_signatures_are_too_old_anyway(stage: Stage) -> None:
    merchant, signing_key = await signer(stage)
    for _ in range(3):
        await stage.http.send(signed(stage, merchant, signing_key, key=f"early-{stage.ids.ulid()}"))
    stage.clock.advance(seconds=599)
    await stage.http.send(signed(stage, merchant, signing_key, key=f"later-{stage.ids.ulid()}"))
    assert len(await stage.rows("SELECT 1 FROM app.signature_nonce")) == 4
    stage.clock.advance(seconds=2)
    for _ in range(2):
        await stage.http.send(signed(stage, merchant, signing_key, key=f"last-{stage.ids.ulid()}"))
    assert len(await stage.rows("SELECT 1 FROM app.signature_nonce")) == 3


# What has to be signed


async def test_money_goes_out_only_by_a_signed_instruction_also_of_who_has_no_key(stage: Stage) -> None:
    merchant = await stage.merchant()
    payment = await stage.paid(merchant, *await stage.payer(merchant))
    path, body = f"/v1/payments/{payment['id']}/refunds", {"amount_minor": 100, "reason_code": "other"}
    answer = await stage.http.post(path, json=body, headers=merchant.headers("unsigned-refund"))
    assert (answer.status_code, answer.json()["code"]) == (401, "SIGNATURE_REQUIRED")
    assert await stage.rows("SELECT 1 FROM app.refund") == []
    assert (await merchant.post(path, body, key="unsigned-refund")).status_code == 201


async def test_reads_need_no_signature_and_a_wrong_one_is_refused_all_the_same(stage: Stage) -> None:
    merchant, signing_key = await signer(stage)
    assert (await merchant.get("/v1/balances")).status_code == 200
    request = stage.http.build_request("GET", "/v1/balances", headers=merchant.headers(None))
    signing_key.sign(request, created=stage.clock.now(), nonce=stage.ids.ulid())
    # Nothing happens by a read, so its nonce is not used up.
    assert [(await stage.http.send(request)).status_code for _ in range(2)] == [200, 200]
    a_flipped_bit(request)
    assert (await stage.http.send(request)).json()["code"] == INVALID


async def test_a_digest_is_compared_also_where_nothing_is_signed(stage: Stage) -> None:
    merchant = await stage.merchant()
    answer = await merchant.raw(
        "/v1/users", json.dumps(USER).encode(), **{"Content-Digest": "sha-256=:" + "A" * 43 + "=:"}
    )
    assert (answer.status_code, answer.json()["code"]) == (400, "CONTENT_DIGEST_MISMATCH")


# What is kept


async def test_the_signature_that_is_kept_proves_the_instruction_and_shows_nothing(stage: Stage) -> None:
    merchant, signing_key = await signer(stage)
    answer = await stage.http.send(signed(stage, merchant, signing_key, key="6222020000000000018"))
    [row] = await stage.rows("SELECT * FROM app.instruction_signature")
    assert (row["subject_id"], row["merchant_id"]) == (answer.json()["id"], merchant.id)
    base = EvidenceSeal([b"m" * 32]).open(row["request_id"], row["sealed_base"], row["seal_key_id"])
    signing_key._private_key.public_key().verify(row["signature"], base.encode())  # type: ignore[call-arg, arg-type]
    assert '"idempotency-key": 6222020000000000018' in base
    stored = " ".join(str(row) for row in await stage.rows("SELECT s::text AS s FROM app.instruction_signature s"))
    assert "6222020000000000018" not in stored
    assert b"6222020000000000018" not in row["sealed_base"]


async def test_of_a_request_with_a_code_no_signature_is_kept_that_would_give_it_away(stage: Stage) -> None:
    merchant, _ = await signer(stage)
    payment = await stage.payment(merchant, *await stage.payer(merchant))
    await merchant.post(f"/v1/payments/{payment['id']}/code", {"code": "482913"})
    [row] = await stage.rows("SELECT * FROM app.instruction_signature WHERE action = 'confirm_payment'")
    assert (row["signature"], row["sealed_base"], row["seal_key_id"]) == (None, None, None)


async def test_kept_signatures_are_changed_by_nobody_and_read_by_operators_only(stage: Stage) -> None:
    merchant, signing_key = await signer(stage)
    await stage.http.send(signed(stage, merchant, signing_key))
    async with stage.database.owner_engine.connect() as connection:
        for statement in (
            "UPDATE app.instruction_signature SET subject_id = 'x'",
            "DELETE FROM app.instruction_signature",
            "TRUNCATE app.instruction_signature",
            "UPDATE app.signing_key SET public_key = public_key || public_key",
            "DELETE FROM app.signing_key",
        ):
            with pytest.raises(Exception, match="not allowed"):
                await connection.exec_driver_sql(statement)
            await connection.rollback()
    async with stage.engine.connect() as connection:
        for table in ("app.instruction_signature", "app.signature_nonce"):
            with pytest.raises(Exception, match="permission denied"):
                await connection.exec_driver_sql(f"SELECT * FROM {table}")  # noqa: S608
            await connection.rollback()


async def test_a_payment_shows_under_which_mandate_it_was_instructed(stage: Stage) -> None:
    merchant = await stage.merchant()
    payer = await stage.payer(merchant)
    for changes, fault in (
        ({"origin": "standing_mandate"}, "goes_with_standing_mandate"),
        ({"mandate_reference": "mandate-1"}, "goes_with_standing_mandate"),
        ({"origin": "standing_mandate", "mandate_reference": "11010119900307803X"}, "personal_data"),
        ({"origin": "standing_mandate", "mandate_reference": "x" * 65}, "wrong_format"),
    ):
        body = await stage.confirmed(merchant, stage.order(*payer)) | changes
        answer = await merchant.post("/v1/payments", body)
        assert answer.json()["errors"] == [{"field": "mandate_reference", "code": fault}]
    body = await stage.confirmed(merchant, stage.order(*payer))
    body |= {"origin": "standing_mandate", "mandate_reference": "mandate-1"}
    answer = await merchant.post("/v1/payments", body)
    assert (answer.status_code, answer.json()["origin"]) == (201, "standing_mandate")
    assert answer.json()["mandate_reference"] == "mandate-1"


# Keys


def pem(key: Any) -> str:
    public: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return public.decode()


def raw(y: int) -> str:
    return base64.b64encode(y.to_bytes(32, "little")).decode()


BAD_KEYS = {
    "rsa": (pem(new_rsa_key(65537, 2048)), "ed25519", "wrong_algorithm"),
    "another curve": (pem(new_ecdsa_key(SECP384R1())), "ecdsa-p256-sha256", "wrong_curve"),
    "the other algorithm": (pem(Ed25519PrivateKey.generate()), "ecdsa-p256-sha256", "wrong_algorithm"),
    "a private key": (
        Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
        "ed25519",
        "private_key",
    ),
    "no point": (raw(2), "ed25519", "not_on_the_curve"),
    "not below the prime": (raw(2**255 - 18), "ed25519", "weak"),
    "short": (base64.b64encode(b"x" * 31).decode(), "ed25519", "wrong_length"),
    "no base64": ("!" * 44, "ed25519", "wrong_format"),
    "broken pem": ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "ed25519", "wrong_format"),
    "far too long": ("A" * 2000, "ed25519", "too_long"),
}


@pytest.mark.parametrize("what", BAD_KEYS)
def test_a_key_that_is_not_fit_is_refused(what: str) -> None:
    text, algorithm, fault = BAD_KEYS[what]
    with pytest.raises(ValidationRefusedError) as refused:
        read_public_key(text, SigningAlgorithm(algorithm))
    assert [field.code for field in refused.value.fields] == [fault]


def test_the_points_under_which_anybody_could_sign_are_all_refused() -> None:
    prime = 2**255 - 19
    d = (-121_665 * pow(121_666, -1, prime)) % prime

    def doubled(y: int) -> int:
        x_squared = (y * y - 1) * pow(d * y * y + 1, -1, prime) % prime
        return (y * y + x_squared) * pow(1 - d * x_squared * y * y, -1, prime) % prime

    # Doubled three times, a point of low order is the neutral one.
    assert all(doubled(doubled(doubled(y))) == 1 for y in _Y_OF_LOW_ORDER)
    assert len(_Y_OF_LOW_ORDER) == 5
    for y in _Y_OF_LOW_ORDER:
        for sign in (0, 2**255):
            with pytest.raises(ValidationRefusedError):
                read_public_key(raw(y + sign), SigningAlgorithm.ED25519)


async def test_a_key_is_replaced_without_a_pause(stage: Stage) -> None:
    merchant, first = await signer(stage)
    private_key = Ed25519PrivateKey.generate()
    answer = await merchant.post("/v1/signing_keys", new_key(pem(private_key)))
    assert answer.status_code == 201
    second = SigningKey(answer.json()["id"], private_key)
    for signing_key in (first, second):
        assert (await stage.http.send(signed(stage, merchant, signing_key))).status_code in (201, 409)
    stage.signing_keys[merchant.id] = second
    ended = await merchant.post(f"/v1/signing_keys/{first.key_id}/revoke")
    assert ended.json()["revoked_at"] is not None
    # The key is known to this process by heart, and refused from the commit on.
    refused = await stage.http.send(signed(stage, merchant, first))
    assert refused.json()["code"] == "SIGNING_KEY_UNKNOWN"
    listed = (await merchant.get("/v1/signing_keys")).json()["items"]
    assert [(item["id"], item["revoked_at"] is None) for item in listed] == [
        (second.key_id, True),
        (first.key_id, False),
    ]


async def test_a_key_does_not_sign_before_its_time(stage: Stage) -> None:
    merchant, first = await signer(stage)
    later = await stage.new_signing_key(merchant.id, not_before=stage.clock.now() + timedelta(minutes=10))
    assert (await stage.http.send(signed(stage, merchant, later))).json()["code"] == "SIGNING_KEY_UNKNOWN"
    last = await merchant.post(f"/v1/signing_keys/{first.key_id}/revoke")
    assert last.json()["code"] == "LAST_SIGNING_KEY"
    stage.clock.advance(minutes=10)
    assert (await stage.http.send(signed(stage, merchant, later))).status_code == 201


async def test_of_two_keys_that_are_ended_at_one_instant_one_stays(stage: Stage) -> None:
    merchant, first = await signer(stage)
    second = await stage.new_signing_key(merchant.id)
    answers = await asyncio.gather(*(merchant.post(f"/v1/signing_keys/{one.key_id}/revoke") for one in (first, second)))
    assert sorted(answer.status_code for answer in answers) == [200, 409]
    assert len(await stage.rows("SELECT 1 FROM app.signing_key WHERE revoked_at IS NULL")) == 1


async def test_a_merchant_without_a_key_cannot_give_itself_one(stage: Stage) -> None:
    merchant = await stage.merchant()
    answer = await merchant.post("/v1/signing_keys", new_key())
    assert (answer.status_code, answer.json()["code"]) == (401, "SIGNATURE_REQUIRED")
    assert await stage.rows("SELECT 1 FROM app.signing_key") == []


async def test_the_institution_ends_also_the_last_key_and_unsigned_instructions_are_taken_again(stage: Stage) -> None:
    merchant, signing_key = await signer(stage)
    act = Act("operator:test", stage.clock.now())
    await revoke(stage.database.owner_engine, act, merchant.id, signing_key.key_id)
    assert (await stage.http.send(request_of(stage, merchant))).status_code == 201
    [record] = await stage.records(action="revoke_signing_key")
    assert (record["actor"], record["outcome"], record["subject_id"]) == ("operator:test", "done", signing_key.key_id)
    with pytest.raises(NotFoundError, match="MERCHANT_NOT_FOUND"):
        await register(stage.database.owner_engine, act, stage.ids.ulid(), "mch_nobody", PUBLIC_KEY)


# The documents for merchants


def test_the_example_for_merchants_is_right_byte_for_byte() -> None:
    text = (Path(__file__).parents[2] / "docs" / "merchants" / "signing.md").read_text(encoding="utf-8")
    _, message, rest = re.split(r"```http\n|\n```\n", text, maxsplit=2)
    shown_base = rest.partition("```text\n")[2].partition("\n```")[0]
    head, _, body = message.partition("\n\n")
    request_line, *lines = head.splitlines()
    shown = dict(line.split(": ", 1) for line in lines)
    method, path, _ = request_line.split(" ")
    url = f"https://{shown['Host']}{path}"
    sent = {name: shown[name] for name in ("Content-Type", "Idempotency-Key")}
    request = httpx.Request(method, url, content=body.encode(), headers=sent)
    # The private key of RFC 9421, B.1.4.
    seed = base64.urlsafe_b64decode("n4Ni-HpISpVObnQMW0wOhCKROaIKqKtW_2ZYb2p9KcU=")
    signing_key = SigningKey.from_raw("sgk_01KB5N3E4H6Q8Z2T7V9W0X1Y2R", seed)
    signing_key.sign(request, created=datetime.fromtimestamp(1795334400, UTC), nonce="n-01KB5N3E4H6Q8Z2T7V")
    for name in ("Content-Digest", "Signature-Input", "Signature"):
        assert request.headers[name] == shown[name]
    key = load_public_key(read_public_key(PUBLIC_KEY, SigningAlgorithm.ED25519))
    result = verify(request, key, SigningAlgorithm.ED25519, COVERED)
    assert base_of(result) == shown_base
