"""Plays the payer over HTTP: reads the text messages that the simulated banks sent to a phone."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, Self

import httpx

from banks.trust import trusted_authorities


class NoMessageError(Exception):
    """No text message of that kind reached the phone in time."""


class Phone:
    """One mobile number's text messages, as `GET /control/messages?mobile=` gives them."""

    def __init__(self, simulator_url: str, mobile: str) -> None:
        self._client = httpx.AsyncClient(
            base_url=simulator_url, timeout=5, trust_env=False, verify=trusted_authorities()
        )
        self._mobile = mobile

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def messages(self) -> list[dict[str, Any]]:
        """All messages, newest first: `message_id, bank_code, mobile, purpose, request_number, code, text,
        sent_at, expires_at`.
        """
        answer = await self._client.get("/control/messages", params={"mobile": self._mobile})
        answer.raise_for_status()
        read: list[dict[str, Any]] = answer.json()
        return read

    async def code(
        self,
        *,
        purpose: str | None = None,
        request_number: str | None = None,
        after_message_id: int = 0,
        within_seconds: float = 10,
    ) -> str:
        """The code of the newest message that fits, see `message`."""
        found = await self.message(
            purpose=purpose,
            request_number=request_number,
            after_message_id=after_message_id,
            within_seconds=within_seconds,
        )
        return str(found["code"])

    async def message(
        self,
        *,
        purpose: str | None = None,
        request_number: str | None = None,
        after_message_id: int = 0,
        within_seconds: float = 10,
    ) -> dict[str, Any]:
        """The newest message that fits, waiting for it if need be. `purpose` is `sign` or `payment`; raises
        `NoMessageError`.
        """
        try:
            async with asyncio.timeout(within_seconds):
                while True:
                    for message in await self.messages():
                        fits = (
                            message["message_id"] > after_message_id
                            and purpose in (None, message["purpose"])
                            and request_number in (None, message["request_number"])
                        )
                        if fits:
                            return message
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise NoMessageError("no code reached the phone in time") from None
