"""What processes have written down about one user, opened with the keys of payloads: as an operator may see it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from google.protobuf.message import Message
from pydantic import SecretBytes, TypeAdapter
from temporalio.api.common.v1 import Payload
from temporalio.client import Client

from config.settings import PayloadKeys
from runtime.codec import EncryptionCodec, is_encrypted
from runtime.temporal import connection
from workflows.names import USER

_KEYS: TypeAdapter[tuple[tuple[str, SecretBytes], ...]] = TypeAdapter(PayloadKeys)


async def opened_histories(variables: Mapping[str, str], user_id: str) -> dict[str, bytes]:
    """By process, everything in its listing and its events as bytes, the payloads opened.

    `variables`: those of a process of the stack. Raises RPCError, RuntimeError (no server there).
    """
    config = connection(variables)
    client = await Client.connect(**config)
    codec = EncryptionCodec(_KEYS.validate_python(variables["LIUSHUI_PAYLOAD_KEYS"]), config["namespace"])
    found: dict[str, bytes] = {}
    async for execution in client.list_workflows(f"{USER.name} = '{user_id}'"):
        history = await client.get_workflow_handle(execution.id, run_id=execution.run_id).fetch_history()
        pieces = [await _opened(message, codec) for message in (execution.raw_info, *history.events)]
        found[execution.id] = found.get(execution.id, b"") + b"\n".join(pieces)
    return found


async def _opened(message: Message, codec: EncryptionCodec) -> bytes:
    sealed = [payload for payload in payloads_of(message) if is_encrypted(payload)]
    opened = [payload.data for payload in await codec.decode(sealed)]
    return b"\n".join([message.SerializeToString(), *opened])


def payloads_of(value: Any) -> Iterator[Payload]:
    """Every payload anywhere in a message."""
    if isinstance(value, Payload):
        yield value
    elif isinstance(value, Message):
        for _, field in value.ListFields():
            yield from payloads_of(field)
    elif isinstance(value, Mapping):
        yield from _payloads_in(value.values())
    # A repeated field has a length and no __iter__.
    elif not isinstance(value, str | bytes) and hasattr(value, "__len__"):
        yield from _payloads_in(value)


def _payloads_in(values: Iterable[Any]) -> Iterator[Payload]:
    for value in values:
        yield from payloads_of(value)
