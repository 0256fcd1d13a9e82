"""How values become payloads, and what is raised when somebody reads a payload that the codec refused.

Whoever a refused payload is meant for gets the error, and nobody else: a signal is dropped, an update is rejected, a
query fails, a process that was started with it fails at once. What may only be a missing key of ours raises another
error instead: messages are refused all the same, but the start, the results and the history of a process stop it where
it stands, visibly, until the key is there again.
"""

from __future__ import annotations

from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.contrib.pydantic import PydanticPayloadConverter
from temporalio.converter import EncodingPayloadConverter
from temporalio.exceptions import ApplicationError

from runtime.codec import REFUSED_ENCODING, SENTENCES, PayloadRefusedError, Refusal

PAYLOAD_REFUSED = "PAYLOAD_REFUSED"


class _RefusedPayloads(EncodingPayloadConverter):
    """Makes none, reads none."""

    @property
    def encoding(self) -> str:
        return REFUSED_ENCODING.decode()

    def to_payload(self, value: Any) -> Payload | None:
        return None

    def from_payload(self, payload: Payload, type_hint: type | None = None) -> Any:
        why = Refusal(payload.data.decode())
        if why.is_foreign:
            raise ApplicationError(SENTENCES[why], type=PAYLOAD_REFUSED, non_retryable=True)
        raise PayloadRefusedError(why)


class SafePayloadConverter(PydanticPayloadConverter):
    """pydantic models as JSON; a refused payload raises when it is read.

    Raises ApplicationError of type PAYLOAD_REFUSED for what surely is not ours, else PayloadRefusedError.
    """

    def __init__(self) -> None:
        super().__init__()
        self._set_converters(*self.converters.values(), _RefusedPayloads())
