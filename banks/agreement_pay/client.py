"""`BankConnector` over HTTP. Whatever a bank or a network does becomes an answer; only a signed no is a
decline.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, date, datetime
from typing import Any
from urllib.parse import quote

import httpx

from banks.agreement_pay import erasure_translate, translate
from banks.agreement_pay.config import (
    MAX_ANSWER_BYTES,
    MAX_CALLBACK_BYTES,
    MAX_STATEMENT_BYTES,
    STATEMENT_TIMEOUT_SECONDS,
    BankConnection,
)
from banks.agreement_pay.exchange import NoAnswerError, VerifiedReply
from banks.agreement_pay.fx_client import FxOperations
from banks.signatures import (
    NONCE_HEADER,
    SignatureRefusedError,
    sign_request,
    verify_callback,
    verify_response,
)
from banks.trust import trusted_authorities
from domain.banking import (
    BankAnswer,
    BankCapabilities,
    BankNotice,
    CallbackRejectedError,
    DebitRequest,
    ErasureNotice,
    ErasureReply,
    PaymentCodeRequest,
    PaymentCodeVerification,
    PayoutRequest,
    RefundRequest,
    SignApplication,
    SignConfirmation,
    StatementLine,
    StatementUnavailableError,
    UnsignRequest,
)

log = logging.getLogger(__name__)


def _now() -> datetime:
    return datetime.now(UTC)


class AgreementPayConnector(FxOperations):
    """One bank that speaks the agreement-payment protocol, its foreign currency included (`fx_client.py`). Holds a
    connection pool: build one a process, `close` it.
    """

    def __init__(
        self,
        capabilities: BankCapabilities,
        connection: BankConnection,
        *,
        clock: Callable[[], datetime] = _now,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._capabilities = capabilities
        self._connection = connection
        self._clock = clock
        self._root = f"/banks/{capabilities.bank_code}/v1"
        self._client = httpx.AsyncClient(
            base_url=connection.base_url,
            timeout=None,  # noqa: S113 - the whole exchange has one limit, in `_exchange`
            limits=httpx.Limits(max_connections=128, max_keepalive_connections=64, keepalive_expiry=4),
            headers={"Accept-Encoding": "identity", "User-Agent": "liushui"},
            transport=transport,
            verify=trusted_authorities(),
            trust_env=False,
            follow_redirects=False,
        )

    def __repr__(self) -> str:
        return f"AgreementPayConnector({self._capabilities.bank_code})"

    @property
    def capabilities(self) -> BankCapabilities:
        """What the bank declared."""
        return self._capabilities

    async def apply_to_sign(self, request: SignApplication) -> BankAnswer:
        """Success brings `code_expires_at`; the issuer has texted a code."""
        return await self._instruct(translate.sign_application(request))

    async def confirm_sign(self, request: SignConfirmation) -> BankAnswer:
        """Success brings `agreement_number`; a wrong code brings `attempts_left`."""
        return await self._instruct(translate.sign_confirmation(request))

    async def unsign(self, request: UnsignRequest) -> BankAnswer:
        """Ends an agreement."""
        return await self._instruct(translate.unsign(request))

    async def send_payment_code(self, request: PaymentCodeRequest) -> BankAnswer:
        """Success brings `code_expires_at`."""
        return await self._instruct(translate.payment_code(request))

    async def verify_payment_code(self, request: PaymentCodeVerification) -> BankAnswer:
        """Success brings `authorisation`; a wrong code brings `attempts_left`."""
        return await self._instruct(translate.payment_code_verification(request))

    async def debit(self, request: DebitRequest) -> BankAnswer:
        """Success brings `bank_reference`, `booked_at` and the amount that was asked for."""
        return await self._instruct(translate.debit(request))

    async def refund(self, request: RefundRequest) -> BankAnswer:
        """Success brings `bank_reference`, `booked_at` and the amount that was asked for."""
        return await self._instruct(translate.refund(request))

    async def pay_out(self, request: PayoutRequest) -> BankAnswer:
        """Success brings `bank_reference`, `booked_at` and the amount that was asked for. RETURNED: this number was
        sent before, was paid, and has come back since.
        """
        return await self._instruct(translate.payout(request))

    async def query(self, request_number: str) -> BankAnswer:
        """What became of a request number."""
        try:
            reply = await self._exchange("GET", f"{self._root}/requests/{quote(request_number, safe='')}", b"")
        except NoAnswerError as error:
            return translate.unknown(error.why)
        return translate.read_query_answer(reply.status, reply.body, request_number)

    async def send_erasure_notice(self, notice: ErasureNotice) -> ErasureReply:
        """RECEIVED: the bank replies later, and `ask_erasure_notice` tells. It may be sent again under its number."""
        body = _json(erasure_translate.body_of(notice))
        try:
            reply = await self._exchange("POST", f"{self._root}/{translate.Resource.ERASURE_NOTICES.value}", body)
        except NoAnswerError as error:
            return erasure_translate.unknown(error.why)
        return erasure_translate.read_reply(reply.status, reply.body, notice)

    async def ask_erasure_notice(self, request_number: str) -> ErasureReply:
        """What became of a notice of erasure."""
        try:
            reply = await self._exchange("GET", f"{self._root}/requests/{quote(request_number, safe='')}", b"")
        except NoAnswerError as error:
            return erasure_translate.unknown(error.why)
        return erasure_translate.read_query_reply(reply.status, reply.body, request_number)

    async def statement(self, business_date: date) -> AsyncIterator[StatementLine]:
        """The booked movements of one Asia/Shanghai date; nothing is yielded before the whole file is
        verified.

        Raises `StatementUnavailableError` if the bank does not give a file that can be trusted.
        """
        path = f"{self._root}/statements/{business_date.isoformat()}"
        try:
            reply = await self._exchange("GET", path, b"", STATEMENT_TIMEOUT_SECONDS, MAX_STATEMENT_BYTES)
            lines = translate.read_statement(reply.body) if reply.status == 200 else None
        except NoAnswerError as error:
            raise StatementUnavailableError(error.why) from None
        except ValueError:
            raise StatementUnavailableError("STATEMENT_UNREADABLE") from None
        if lines is None:
            raise StatementUnavailableError("STATEMENT_REFUSED")
        for line in lines:
            yield line

    def read_callback(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes, now: datetime
    ) -> BankNotice:
        """A callback whose signature, time and bank are right. Raises `CallbackRejectedError(reason)`.

        `path` is the path that was called, with its query. The same notice may come again: the caller keeps
        its id.
        """
        if len(body) > MAX_CALLBACK_BYTES:
            raise CallbackRejectedError("too_large")
        validity = self._capabilities.request_validity_seconds
        try:
            verify_callback(
                self._connection.bank_key,
                method=method,
                target=path,
                headers=headers,
                body=body,
                now=now,
                validity_seconds=validity,
            )
        except SignatureRefusedError as refused:
            raise CallbackRejectedError(refused.reason) from None
        notice = translate.read_notice(body, self._capabilities.bank_code)
        if notice is None:
            raise CallbackRejectedError("unreadable")
        return notice

    async def close(self) -> None:
        """Closes the pool."""
        await self._client.aclose()

    async def _instruct(self, instruction: translate.Instruction) -> BankAnswer:
        body = _json(instruction.body)
        try:
            reply = await self._exchange("POST", f"{self._root}/{instruction.resource.value}", body)
        except NoAnswerError as error:
            return translate.unknown(error.why)
        return translate.read_answer(reply.status, reply.body, instruction)

    async def _exchange(
        self,
        method: str,
        path: str,
        body: bytes,
        timeout_seconds: float | None = None,
        limit: int = MAX_ANSWER_BYTES,
    ) -> VerifiedReply:
        """One signed request and its verified answer, the whole inside one time limit. Raises
        `NoAnswerError`, and says so in the log: what is asked for again is worth a line each time.
        """
        try:
            return await self._within(timeout_seconds or self._capabilities.timeout_seconds, method, path, body, limit)
        except NoAnswerError as error:
            # The last part of the path is a resource, or a request number, which is no secret.
            asked = {"bank_code": self._capabilities.bank_code, "asked": f"{method} {path.rpartition('/')[2]}"}
            log.warning("a bank gave no answer that can be trusted", extra={**asked, "reason": error.why})
            raise

    async def _within(self, seconds: float, method: str, path: str, body: bytes, limit: int) -> VerifiedReply:
        try:
            async with asyncio.timeout(seconds):
                return await self._send(method, path, body, limit)
        except TimeoutError:
            raise NoAnswerError("TIME_OUT") from None
        except (httpx.HTTPError, httpx.StreamError, OSError):
            raise NoAnswerError("LINE_BROKEN") from None
        except SignatureRefusedError:
            raise NoAnswerError("ANSWER_UNSIGNED") from None

    async def _send(self, method: str, path: str, body: bytes, limit: int) -> VerifiedReply:
        request = self._client.build_request(method, path, content=body)
        target = request.url.raw_path.decode("ascii")
        request.headers.update(sign_request(self._connection.signing_key, method, target, body, self._clock()))
        if body:
            request.headers["Content-Type"] = "application/json"
        response = await self._client.send(request, stream=True)
        try:
            content = await _read_limited(response, limit)
        finally:
            await response.aclose()
        if response.status_code >= 500:
            raise NoAnswerError(f"HTTP_{response.status_code}")
        nonce = request.headers[NONCE_HEADER]
        verify_response(self._connection.bank_key, response.status_code, nonce, response.headers, content)
        return VerifiedReply(response.status_code, content)


def _json(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()


async def _read_limited(response: httpx.Response, limit: int) -> bytes:
    content = bytearray()
    async for chunk in response.aiter_raw():
        content += chunk
        if len(content) > limit:
            raise NoAnswerError("ANSWER_TOO_LARGE")
    return bytes(content)
