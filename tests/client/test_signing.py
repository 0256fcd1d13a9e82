"""What a signature covers, checked by the library's own verifier as the institution would."""

from __future__ import annotations

from datetime import timedelta

import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, SECP384R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from http_message_signatures import HTTPMessageVerifier, InvalidSignature, MappingKeyResolver
from http_message_signatures.algorithms import ECDSA_P256_SHA256, ED25519

from client import SigningKey
from client.core import Ask
from client.models import Plain
from tests.client.steps import START, Stepper

KEY_ID = "sgk_01KB5N3E4H6Q8Z2T7V9W0X1Y2R"
BODY = {"amount_minor": 12800, "reason_code": "requested_by_payer"}
COMMAND = Ask("POST", "/v1/payments/pay_1/refunds", Plain, BODY, is_command=True)


@pytest.fixture
def key() -> SigningKey:
    return SigningKey(KEY_ID, Ed25519PrivateKey.generate())


def _signed(key: SigningKey, ask: Ask[Plain] = COMMAND) -> httpx.Request:
    return Stepper(signing_key=key).core().request(ask, "key-00000001" if ask.is_command else None)


def _verified(request: httpx.Request, key: SigningKey, algorithm: type = ED25519) -> dict[str, object]:
    public = {KEY_ID: key.public_key_pem.encode()}
    verifier = HTTPMessageVerifier(
        signature_algorithm=algorithm, key_resolver=MappingKeyResolver(public_keys=public, private_keys={})
    )
    [found] = verifier.verify(request, max_age=timedelta(days=36500), body=request.content or None)
    return {**found.parameters, "covered": list(found.covered_components)}


def test_an_instruction_is_signed_with_all_that_makes_it(key: SigningKey) -> None:
    found = _verified(_signed(key), key)
    assert found["covered"] == [
        '"@method"',
        '"@authority"',
        '"@path"',
        '"@query"',
        '"content-type"',
        '"content-digest"',
        '"idempotency-key"',
        '"@signature-params"',
    ]
    assert found["keyid"] == KEY_ID
    assert found["tag"] == "liushui-v1"
    assert found["alg"] == "ed25519"
    assert found["created"] == int(START.timestamp())
    assert 16 <= len(str(found["nonce"])) <= 64
    assert _signed(key).headers["signature"].startswith("liushui=:")


def test_an_instruction_without_a_body_is_signed_too(key: SigningKey) -> None:
    found = _verified(_signed(key, Ask("DELETE", "/v1/users/u/bindings/b", Plain, is_command=True)), key)
    assert '"content-digest"' not in found["covered"]  # type: ignore[operator]
    assert '"idempotency-key"' in found["covered"]  # type: ignore[operator]


@pytest.mark.parametrize(
    "tampered",
    [
        {"url": "https://api.example/v1/payments/pay_2/refunds"},
        {"url": "https://other.example/v1/payments/pay_1/refunds"},
        {"url": "https://api.example/v1/payments/pay_1/refunds?a=1"},
        {"method": "PUT"},
        {"idempotency-key": "key-00000002"},
        {"content-type": "text/plain"},
    ],
)
def test_whatever_is_altered_on_the_way_breaks_it(key: SigningKey, tampered: dict[str, str]) -> None:
    signed = _signed(key)
    method, url = tampered.get("method", signed.method), tampered.get("url", str(signed.url))
    headers = {name: tampered.get(name, value) for name, value in signed.headers.items()}
    altered = httpx.Request(method, url, headers=headers, content=signed.content)
    with pytest.raises(InvalidSignature):
        _verified(altered, key)


def test_an_altered_body_does_not_fit_its_digest(key: SigningKey) -> None:
    signed = _signed(key)
    body = signed.content.replace(b"12800", b"99900")
    altered = httpx.Request(signed.method, signed.url, headers=signed.headers, content=body)
    with pytest.raises(InvalidSignature):
        _verified(altered, key)


def test_each_attempt_has_a_nonce_of_its_own_and_the_same_idempotency_key(key: SigningKey) -> None:
    stepper = Stepper(signing_key=key)
    stepper.play(stepper.core().perform(COMMAND), [httpx.ReadTimeout(""), httpx.Response(201, json={})])
    assert len(stepper.keys) == 1
    assert len({str(_verified(request, key)["nonce"]) for request in stepper.sent}) == 2


def test_p256_works_as_well() -> None:
    key = SigningKey(KEY_ID, generate_private_key(SECP256R1()))
    assert _verified(_signed(key), key, ECDSA_P256_SHA256)["alg"] == "ecdsa-p256-sha256"


def test_a_key_can_be_read_from_pem_and_from_its_bytes() -> None:
    private = Ed25519PrivateKey.generate()
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    found = {
        SigningKey.from_pem(KEY_ID, pem).public_key_pem,
        SigningKey.from_pem(KEY_ID, pem.decode()).public_key_pem,
        SigningKey.from_raw(KEY_ID, private.private_bytes_raw()).public_key_pem,
    }
    assert len(found) == 1


def test_other_curves_are_refused_at_once() -> None:
    with pytest.raises(ValueError, match="P-256"):
        SigningKey(KEY_ID, generate_private_key(SECP384R1()))


def test_reads_are_not_signed(key: SigningKey) -> None:
    assert "signature" not in _signed(key, Ask("GET", "/v1/balances", Plain)).headers
