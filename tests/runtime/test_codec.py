"""The payload codec: what Temporal stores is ciphertext, and nothing but our own ciphertext is read back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretBytes
from temporalio.api.common.v1 import Payload

from runtime.codec import ENCODING, KEY_ID, EncryptionCodec, PayloadRefusedError

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
