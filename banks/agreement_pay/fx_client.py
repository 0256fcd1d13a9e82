"""`FxConnector` over HTTP, by the exchange of the connector that it is a part of."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from urllib.parse import quote

from banks.agreement_pay import fx_translate
from banks.agreement_pay.config import MAX_ANSWER_BYTES
from banks.agreement_pay.exchange import NoAnswerError, VerifiedReply
from domain.banking import BankCapabilities
from domain.fx_banking import (
    ConversionRequest,
    FxAnswer,
    FxQuote,
    InboundRemittance,
    InboundReturnRequest,
    OfficialQuota,
    QuoteSide,
    QuoteUnavailableError,
    ReceivingAccountRequest,
    RemittanceUnavailableError,
)


class FxOperations:
    """What a bank is asked about foreign currency. Only what is signed, and about the very thing asked, is believed."""

    _capabilities: BankCapabilities
    _clock: Callable[[], datetime]
    _root: str

    async def _exchange(
        self,
        method: str,
        path: str,
        body: bytes,
        timeout_seconds: float | None = None,
        limit: int = MAX_ANSWER_BYTES,
    ) -> VerifiedReply:
        raise NotImplementedError

    async def fx_quote(self, currency: str, side: QuoteSide) -> FxQuote:
        """What the desk deals at now. It may be stale or expired: whoever deals looks at its instants.

        Raises `QuoteUnavailableError`.
        """
        try:
            reply = await self._exchange("GET", f"{self._root}/fx-quotes/{quote(currency, safe='')}/{side.value}", b"")
        except NoAnswerError as error:
            raise QuoteUnavailableError(error.why) from None
        asked = fx_translate.AskedQuote(self._capabilities, currency, side, self._clock())
        return fx_translate.read_quote(reply.status, reply.body, asked)

    async def deal(self, request: ConversionRequest) -> FxAnswer:
        """Success brings everything that proves the deal, and its delivery if that was at once."""
        return await self._instruct_fx(fx_translate.deal(request))

    async def open_receiving_account(self, request: ReceivingAccountRequest) -> FxAnswer:
        """Success brings `account_number`."""
        return await self._instruct_fx(fx_translate.receiving_account(request))

    async def return_inbound(self, request: InboundReturnRequest) -> FxAnswer:
        """Success brings `bank_reference`, `booked_at` and the amount that was asked for."""
        return await self._instruct_fx(fx_translate.inbound_return(request))

    async def fx_query(self, request_number: str) -> FxAnswer:
        """What became of a deal, of a return of a remittance or of a receiving account."""
        try:
            reply = await self._exchange("GET", f"{self._root}/requests/{quote(request_number, safe='')}", b"")
        except NoAnswerError as error:
            return fx_translate.unknown(error.why)
        return fx_translate.read_fx_query_answer(reply.status, reply.body, request_number)

    async def inbound(self, reference: str) -> InboundRemittance:
        """The remittance that the bank has booked under this reference. Raises `RemittanceUnavailableError`."""
        try:
            reply = await self._exchange("GET", f"{self._root}/inbound-remittances/{quote(reference, safe='')}", b"")
        except NoAnswerError as error:
            raise RemittanceUnavailableError(error.why) from None
        return fx_translate.read_remittance(reply.status, reply.body, reference)

    async def official_quota(self, name: str, id_number: str, year: int) -> OfficialQuota | None:
        """None where the bank does not offer the question, or does not answer it as asked (A5.2a)."""
        instruction = fx_translate.official_quota(name, id_number, year)
        try:
            reply = await self._send_fx(instruction)
        except NoAnswerError:
            return None
        return fx_translate.read_official_quota(reply.status, reply.body, instruction)

    async def _instruct_fx(self, instruction: fx_translate.FxInstruction) -> FxAnswer:
        try:
            reply = await self._send_fx(instruction)
        except NoAnswerError as error:
            return fx_translate.unknown(error.why)
        return fx_translate.read_fx_answer(reply.status, reply.body, instruction)

    async def _send_fx(self, instruction: fx_translate.FxInstruction) -> VerifiedReply:
        body = json.dumps(instruction.body, ensure_ascii=False, separators=(",", ":")).encode()
        return await self._exchange("POST", f"{self._root}/{instruction.resource.value}", body)
