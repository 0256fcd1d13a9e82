"""The payload codec: what Temporal stores is ciphertext, and nothing but our own ciphertext is read back."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretBytes
from temporalio.api.common.v1 import Payload
from temporalio.converter import (
    ActivitySerializationContext,
    NexusSerializationContext,
    SerializationContext,
    WorkflowSerializationContext,
)
from temporalio.exceptions import ApplicationError

from runtime.codec import ENCODING, KEY_ID, MADE_FOR, EncryptionCodec, PayloadRefusedError, Refusal
from runtime.payloads import PAYLOAD_REFUSED, SafePayloadConverter

OLD, NEW = ("old", SecretBytes(b"o" * 32)), ("new", SecretBytes(b"n" * 32))
PLAIN = Payload(metadata={"encoding": b"json/plain", "messageType": b"Canary"}, data=b'{"token": "canary"}')


def codec(*keys: tuple[str, SecretBytes], namespace: str = "liushui") -> EncryptionCodec:
    return EncryptionCodec(keys or (NEW,), namespace)


@given(data=st.binary(max_size=2000), metadata=st.dictionaries(st.text(max_size=20), st.binary(max_size=20)))
async def test_every_payload_comes_back_as_it_was(data: bytes, metadata: dict[str, bytes]) -> None:
    payload = Payload(metadata=metadata, data=data)
    assert await codec().decode(await codec().encode([payload])) == [payload]


async def test_ciphertext_shows_neither_data_nor_metadata_and_differs_each_time() -> None:
    first, second = await codec().encode([PLAIN, PLAIN])
    assert b"anary" not in first.SerializeToString()
    assert b"json/plain" not in first.SerializeToString()
    assert first.data != second.data


async def test_after_a_rotation_old_payloads_open_and_new_ones_use_the_first_key() -> None:
    before = await codec(OLD).encode([PLAIN])
    rotated = codec(NEW, OLD)
    assert await rotated.decode(before) == [PLAIN]
    after = await rotated.encode([PLAIN])
    assert after[0].metadata[KEY_ID] == b"new"
    assert await codec(NEW).decode(after) == [PLAIN]


async def test_a_payload_under_a_key_we_do_not_have_is_refused() -> None:
    with pytest.raises(PayloadRefusedError, match="not configured"):
        await codec(NEW).decode(await codec(OLD).encode([PLAIN]))


@pytest.mark.parametrize("position", [0, 11, 12, 20, -1])
async def test_a_payload_with_one_changed_bit_is_refused(position: int) -> None:
    (payload,) = await codec().encode([PLAIN])
    data = bytearray(payload.data)
    data[position] ^= 1
    payload.data = bytes(data)
    with pytest.raises(PayloadRefusedError, match="changed"):
        await codec().decode([payload])


@pytest.mark.parametrize("length", [0, 5, 12, 27])
async def test_a_payload_cut_short_is_refused(length: int) -> None:
    (payload,) = await codec().encode([PLAIN])
    payload.data = payload.data[:length]
    with pytest.raises(PayloadRefusedError):
        await codec().decode([payload])


async def test_a_payload_under_the_name_of_another_key_is_refused_even_if_the_key_is_the_same() -> None:
    twins = codec(("a", NEW[1]), ("b", NEW[1]))
    (payload,) = await twins.encode([PLAIN])
    payload.metadata[KEY_ID] = b"b"
    with pytest.raises(PayloadRefusedError, match="changed"):
        await twins.decode([payload])


async def test_a_payload_of_another_namespace_is_refused() -> None:
    payloads = await codec(namespace="staging").encode([PLAIN])
    with pytest.raises(PayloadRefusedError, match="another namespace"):
        await codec(namespace="liushui").decode(payloads)


@pytest.mark.parametrize("payload", [PLAIN, Payload(), Payload(metadata={"encoding": b"binary/null"})])
async def test_a_payload_that_is_not_encrypted_is_refused(payload: Payload) -> None:
    with pytest.raises(PayloadRefusedError, match="not encrypted"):
        await codec().decode([payload])


async def test_a_payload_without_a_key_id_is_refused() -> None:
    with pytest.raises(PayloadRefusedError, match="not configured"):
        await codec().decode([Payload(metadata={"encoding": ENCODING}, data=b"x" * 40)])


async def test_neither_refusals_nor_the_codec_show_keys_or_data() -> None:
    (payload,) = await codec().encode([PLAIN])
    payload.data += b"x"
    with pytest.raises(PayloadRefusedError) as refusal:
        await codec().decode([payload])
    assert "anary" not in repr(refusal.value)
    assert "n" * 32 not in repr(vars(codec()))


A = WorkflowSerializationContext("liushui", "collect-payment/a")
B = WorkflowSerializationContext("liushui", "collect-payment/b")


def activity(workflow_id: str, kind: str, number: str | None = None) -> ActivitySerializationContext:
    return ActivitySerializationContext("liushui", number, kind, "queue", workflow_id, "collect-payment", False)


PLACES: list[SerializationContext] = [
    A, B, activity("collect-payment/a", "debit"), activity("collect-payment/a", "settle"),
    activity("collect-payment/b", "debit"), activity("", "debit"),
]  # fmt: skip


def read(payloads: list[Payload]) -> list[object]:
    return SafePayloadConverter().from_payloads(payloads)


async def why_refused(codec: EncryptionCodec, payload: Payload) -> BaseException:
    [marked] = await codec.decode([payload])
    with pytest.raises(Exception, match="payload") as refusal:
        read([marked])
    return refusal.value


@pytest.mark.parametrize("made", PLACES)
@pytest.mark.parametrize("opened", PLACES)
async def test_a_payload_opens_only_where_it_was_made_for(
    made: SerializationContext, opened: SerializationContext
) -> None:
    payloads = await codec().with_context(made).encode([PLAIN])
    if made == opened:
        assert await codec().with_context(opened).decode(payloads) == [PLAIN]
        return
    refused = await why_refused(codec().with_context(opened), payloads[0])
    assert isinstance(refused, ApplicationError)
    assert (refused.type, refused.non_retryable) == (PAYLOAD_REFUSED, True)


async def test_an_activitys_number_is_known_to_one_side_only_and_does_not_matter() -> None:
    payloads = await codec().with_context(activity("w/1", "debit", "7")).encode([PLAIN])
    assert await codec().with_context(activity("w/1", "debit")).decode(payloads) == [PLAIN]


async def test_the_place_that_a_payload_was_made_for_cannot_be_rewritten() -> None:
    [payload] = await codec().with_context(A).encode([PLAIN])
    payload.metadata[MADE_FOR] = b"workflow|collect-payment/b"
    refused = await why_refused(codec().with_context(B), payload)
    assert isinstance(refused, PayloadRefusedError)
    assert refused.why is Refusal.CHANGED
    del payload.metadata[MADE_FOR]
    with pytest.raises(PayloadRefusedError, match="changed"):
        await codec().decode([payload])


async def test_whoever_shows_payloads_to_operators_needs_no_context() -> None:
    payloads = [(await codec().with_context(place).encode([PLAIN]))[0] for place in PLACES]
    assert await codec().decode(payloads) == [PLAIN] * len(PLACES)


async def test_what_was_made_for_no_place_is_refused_by_every_process() -> None:
    [payload] = await codec().encode([PLAIN])
    assert isinstance(await why_refused(codec().with_context(A), payload), ApplicationError)


async def test_histories_from_before_payloads_named_a_place_stay_readable() -> None:
    cipher = AESGCM(NEW[1].get_secret_value())
    sealed = cipher.encrypt(b"0" * 12, PLAIN.SerializeToString(), b"liushui/payload/1|new|liushui")
    old = Payload(metadata={"encoding": ENCODING, KEY_ID: b"new"}, data=b"0" * 12 + sealed)
    assert await codec().with_context(A).decode([old]) == await codec().decode([old]) == [PLAIN]


@pytest.mark.parametrize(
    ("why", "foreign"),
    [
        (Refusal.NOT_ENCRYPTED, True),
        (Refusal.MADE_FOR_ANOTHER, True),
        (Refusal.UNKNOWN_KEY, False),
        (Refusal.CHANGED, False),
    ],
)
async def test_only_what_surely_is_not_ours_fails_whom_it_was_sent_to(why: Refusal, *, foreign: bool) -> None:
    """What may be a key of ours that is missing must leave a process standing until the key is back."""
    heard: list[tuple[str, Refusal]] = []
    here = EncryptionCodec([NEW], "liushui", lambda *refusal: heard.append(refusal)).with_context(A)
    payload = {
        Refusal.NOT_ENCRYPTED: PLAIN,
        Refusal.MADE_FOR_ANOTHER: (await codec().with_context(B).encode([PLAIN]))[0],
        Refusal.UNKNOWN_KEY: (await codec(OLD).with_context(A).encode([PLAIN]))[0],
        Refusal.CHANGED: (await codec(("new", OLD[1])).with_context(A).encode([PLAIN]))[0],
    }[why]
    assert isinstance(await why_refused(here, payload), ApplicationError) is foreign
    assert heard == [("collect-payment/a", why)]


async def test_one_refused_payload_does_not_spoil_its_neighbours() -> None:
    here = codec().with_context(A)
    good = await here.encode(SafePayloadConverter().to_payloads([{"token": "kept"}]))
    first, second, third = await here.decode([good[0], PLAIN, good[0]])
    assert read([first, third]) == [{"token": "kept"}] * 2
    with pytest.raises(ApplicationError):
        read([second])


async def test_an_outsider_cannot_send_the_mark_of_a_refused_payload() -> None:
    forged = Payload(metadata={"encoding": b"liushui/refused"}, data=b"unknown_key")
    assert isinstance(await why_refused(codec().with_context(A), forged), ApplicationError)


def test_other_contexts_leave_the_codec_as_it_is() -> None:
    plain = codec()
    assert plain.with_context(NexusSerializationContext("e", "s", "o")) is plain
