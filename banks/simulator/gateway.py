"""The banks' front door: checks who asks, plays the ordered fault, books in one transaction, signs the
answer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from typing import Any, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from fastapi import Request, Response
from pydantic import ValidationError
from sqlalchemy import Connection

from banks.signatures import (
    NONCE_HEADER,
    SignatureRefusedError,
    instant_from_milliseconds,
    milliseconds,
    sign_response,
    verify_request,
)
from banks.simulator.books import SHANGHAI
from banks.simulator.card_lookup import card_behind_request
from banks.simulator.cards import BANK_NAMES, ISSUERS, card_fault
from banks.simulator.doors import Doors
from banks.simulator.faults import Fault, FaultKind, FaultRegistry
from banks.simulator.fx_offers import DESKS, HOLDS
from banks.simulator.fx_protocol import Quote, Remittance
from banks.simulator.fx_quotes import Desk, DeskRates
from banks.simulator.operations import BODIES, HANDLERS
from banks.simulator.payee_accounts import PAYS_OUT
from banks.simulator.protocol import (
    MAX_BODY_BYTES,
    MAX_NOTICE_BYTES,
    Answer,
    BankCode,
    Body,
    Declarations,
    Operation,
    Status,
)
from banks.simulator.requests import (
    Call,
    RequestRefusedError,
    first_answer,
    last_request_id,
    remember,
    remembered,
    use_nonce,
)
from banks.simulator.responses import UnfinishedResponse, plain_error, signed_json
from banks.simulator.settings import Behaviour
from banks.simulator.statement import statement_csv, statement_rows

logger = logging.getLogger("banks.simulator")
T = TypeVar("T")
# What is read at a bank, be it the state of a request.
Told = Answer | Quote | Remittance


@dataclass
class Gateway:
    """What all requests share. One connection, one process: a transaction has no await in it, so it has no
    rival.
    """

    connection: Connection
    behaviour: Behaviour
    signing_key: Ed25519PrivateKey
    institution_key: Ed25519PublicKey
    clock: Callable[[], datetime]
    queued: asyncio.Event = field(default_factory=asyncio.Event)
    due: asyncio.Event = field(default_factory=asyncio.Event)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    faults: FaultRegistry = field(default_factory=FaultRegistry)
    doors: Doors = field(default_factory=Doors)
    rates: DeskRates = field(default_factory=DeskRates)

    def __post_init__(self) -> None:
        with self.connection.begin():
            self._request_ids = count(last_request_id(self.connection) + 1)

    async def instruct(self, request: Request, bank_code: str, operation: Operation) -> Response:
        """One POST: at most one booking, whatever goes wrong around it."""
        longest = MAX_NOTICE_BYTES if operation is Operation.ERASURE_NOTICE else MAX_BODY_BYTES
        incoming = await self._receive(request, bank_code, longest)
        if isinstance(incoming, Response):
            return incoming
        try:
            body = _parse(BODIES[operation], incoming.raw_body)
        except RequestRefusedError as refused:
            return self._refuse(incoming, refused)
        fault = self._fault_for(bank_code, operation, body)
        early = await self._before(fault)
        if early is not None:
            return early
        try:
            self._verify(incoming)
            answer = self._book(incoming, bank_code, operation, body, fault)
        except RequestRefusedError as refused:
            return self._refuse(incoming, refused)
        self.queued.set()
        self.due.set()
        logger.info("%s %s %s %s %s", bank_code, operation, body.request_number, answer.status, answer.code)
        return await self._after(incoming, answer, fault)

    async def query(self, request: Request, bank_code: str, request_number: str) -> Response:
        """What became of a request number. Signed 404: the bank does not know it."""
        return await self.read(
            request, bank_code, Operation.QUERY, request_number, lambda _: self._look_up(bank_code, request_number)
        )

    async def read(
        self,
        request: Request,
        bank_code: str,
        operation: Operation,
        named: str,
        look: Callable[[Fault | None], Told],
    ) -> Response:
        """One GET of what is `named`; a signed 404 for what the bank does not know."""
        incoming = await self._receive(request, bank_code)
        if isinstance(incoming, Response):
            return incoming
        fault = self.faults.take(bank_code, operation, named, None)
        early = await self._before(fault)
        if early is not None:
            return early
        try:
            answer = self._transact(incoming, lambda: look(fault))
        except RequestRefusedError as refused:
            return self._refuse(incoming, refused)
        return await self._after(incoming, answer, fault)

    def desk(self, bank_code: str) -> Desk:
        """A bank's FX desk as it is now."""
        now = self.clock()
        is_open = self.doors.is_desk_open(bank_code, now)
        return Desk(self.connection, self.behaviour, self.rates, bank_code, is_open, milliseconds(now))

    async def statement(self, request: Request, bank_code: str, day: datetime) -> Response:
        """The day's movements on the reserve account as CSV, with a closing line of count and sum."""
        incoming = await self._receive(request, bank_code)
        if isinstance(incoming, Response):
            return incoming
        fault = self.faults.take(bank_code, Operation.STATEMENT, "", None)
        early = await self._before(fault)
        if early is not None:
            return early
        try:
            rows = self._transact(incoming, lambda: self._statement_rows(bank_code, day))
        except RequestRefusedError as refused:
            return self._refuse(incoming, refused)
        body = statement_csv(rows).encode()
        headers = sign_response(self.signing_key, 200, incoming.nonce, body, self.clock())
        return Response(body, 200, headers, media_type="text/csv; charset=utf-8")

    async def declare(self, request: Request, bank_code: str) -> Response:
        """What the bank declares of itself."""
        incoming = await self._receive(request, bank_code)
        if isinstance(incoming, Response):
            return incoming
        try:
            self._transact(incoming, lambda: None)
        except RequestRefusedError as refused:
            return self._refuse(incoming, refused)
        shared = set(Declarations.model_fields) & set(Behaviour.model_fields)
        pays_out = {region: list(currencies) for region, currencies in PAYS_OUT[bank_code].items()}
        holds = HOLDS[bank_code]
        declared = Declarations(
            bank_code=bank_code,
            currencies=["CNY"] if bank_code in ISSUERS else list(holds),
            holds=list(holds),
            desk=list(DESKS[bank_code]),
            pays_out=pays_out,
            **self.behaviour.model_dump(include=shared),
        )
        return signed_json(self.signing_key, 200, incoming.nonce, declared, self.clock())

    async def _receive(self, request: Request, bank_code: str, longest: int = MAX_BODY_BYTES) -> _Incoming | Response:
        if self.doors.is_down(bank_code, self.clock()):
            return plain_error(503)
        target = request.scope["raw_path"].decode("ascii", "replace")
        query = request.scope["query_string"].decode("ascii", "replace")
        incoming = _Incoming(
            method=request.method,
            target=f"{target}?{query}" if query else target,
            headers=dict(request.headers),
            nonce=request.headers.get(NONCE_HEADER, "")[:64],
        )
        try:
            if bank_code not in BANK_NAMES:
                raise RequestRefusedError(404, BankCode.BANK_NOT_FOUND)
            incoming.raw_body = await _read_body(request, longest)
            self._verify(incoming)
        except RequestRefusedError as refused:
            return self._refuse(incoming, refused)
        return incoming

    def _verify(self, incoming: _Incoming) -> None:
        try:
            verify_request(
                self.institution_key,
                method=incoming.method,
                target=incoming.target,
                headers=incoming.headers,
                body=incoming.raw_body,
                now=self.clock(),
                validity_seconds=self.behaviour.request_validity_seconds,
            )
        except SignatureRefusedError:
            raise RequestRefusedError(401, BankCode.SIGNATURE_REFUSED) from None

    def _refuse(self, incoming: _Incoming, refused: RequestRefusedError) -> Response:
        logger.info("refused %s %s", refused.http_status, refused.answer.code)
        return signed_json(self.signing_key, refused.http_status, incoming.nonce, refused.answer, self.clock())

    def _transact(self, incoming: _Incoming, work: Callable[[], T]) -> T:
        """Nonce and effect in one commit, or neither."""
        with self.connection.begin():
            use_nonce(self.connection, incoming.nonce, milliseconds(self.clock()))
            return work()

    def _book(
        self, incoming: _Incoming, bank_code: str, operation: Operation, body: Body, fault: Fault | None
    ) -> Answer:
        def work() -> Answer:
            now = milliseconds(self.clock())
            known = remembered(self.connection, bank_code, body.request_number, self._memory_starts(now))
            if known is not None:
                return first_answer(known, operation, body)
            call = Call(
                self.connection,
                self.behaviour,
                bank_code,
                operation,
                body.request_number,
                next(self._request_ids),
                fault,
                now,
                self.doors.is_open(bank_code, self.clock()),
                self.doors.is_desk_open(bank_code, self.clock()),
            )
            answer = HANDLERS[operation](call, body)
            remember(call, body, answer)
            return answer

        return self._transact(incoming, work)

    def _memory_starts(self, now: int) -> int:
        # A memory of no seconds forgets even what came in this very millisecond.
        return now - self.behaviour.remembers_request_numbers_seconds * 1000 + 1

    def _look_up(self, bank_code: str, request_number: str) -> Answer:
        oldest = self._memory_starts(milliseconds(self.clock()))
        row = remembered(self.connection, bank_code, request_number, oldest)
        if row is None:
            return Answer(request_number=request_number, status=Status.REFUSED, code=BankCode.REQUEST_NOT_FOUND)
        return Answer.model_validate_json(row.answer)

    def _statement_rows(self, bank_code: str, day: datetime) -> list[Any]:
        if day.date() > self.clock().astimezone(SHANGHAI).date():
            raise RequestRefusedError(404, BankCode.STATEMENT_NOT_READY)
        return statement_rows(self.connection, bank_code, day)

    def _fault_for(self, bank_code: str, operation: Operation, body: Body) -> Fault | None:
        with self.connection.begin():
            card_number = card_behind_request(self.connection, bank_code, body)
        ordered = self.faults.take(bank_code, operation, body.request_number, card_number)
        if ordered is not None or card_number is None:
            return ordered
        fault = card_fault(card_number, operation)
        if fault is None or not self.faults.first_time(bank_code, body.request_number):
            return None
        return fault

    async def _before(self, fault: Fault | None) -> Response | None:
        if fault is None:
            return None
        if fault.kind is FaultKind.TIME_OUT_BEFORE:
            await self._pause(self.behaviour.hang_seconds)
            return plain_error(504)
        if fault.kind is FaultKind.ERROR_BEFORE:
            return plain_error(500)
        if fault.kind is FaultKind.ARRIVES_LATE:
            await self._pause(self.behaviour.arrives_late_seconds)
        return None

    async def _after(self, incoming: _Incoming, answer: Told, fault: Fault | None) -> Response:
        kind = fault.kind if fault is not None else None
        if kind in (FaultKind.TIME_OUT_AFTER, FaultKind.LATE_SUCCESS):
            await self._pause(self.behaviour.hang_seconds)
            return plain_error(504)
        if kind is FaultKind.ERROR_AFTER:
            return plain_error(502)
        if kind in (FaultKind.SLOW, FaultKind.CALLBACKS_OUT_OF_ORDER):
            await self._pause(self.behaviour.slow_seconds)
        return self._answer(incoming, answer, kind)

    def _answer(self, incoming: _Incoming, answer: Told, kind: FaultKind | None) -> Response:
        status = 404 if answer.status is Status.REFUSED else 200
        if kind is FaultKind.LINE_BROKEN:
            return UnfinishedResponse()
        if kind is FaultKind.ANSWER_FORGED:
            forger = Ed25519PrivateKey.generate()
            return signed_json(forger, status, incoming.nonce, _as_success(answer), self.clock())
        if kind is FaultKind.ANSWER_UNREADABLE:
            garbled = b'{"status": "SUCC\xff'
            headers = sign_response(self.signing_key, status, incoming.nonce, garbled, self.clock())
            return Response(garbled, status, headers, media_type="application/json")
        response = signed_json(self.signing_key, status, incoming.nonce, answer, self.clock())
        if kind is FaultKind.ANSWER_UNSIGNED:
            return Response(bytes(response.body), status, media_type="application/json")
        return response

    async def _pause(self, seconds: float) -> None:
        """Waits without holding up others, and not beyond the end of the process."""
        try:
            async with asyncio.timeout(seconds):
                await self.stopping.wait()
        except TimeoutError:
            return


@dataclass
class _Incoming:
    method: str
    target: str
    headers: dict[str, str]
    nonce: str
    raw_body: bytes = b""


async def _read_body(request: Request, longest: int) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > longest:
            raise RequestRefusedError(413, BankCode.REQUEST_TOO_LARGE)
    return bytes(body)


def _parse(model: type[Body], raw: bytes) -> Body:
    try:
        return model.model_validate_json(raw)
    except ValidationError as error:
        fields = sorted({".".join(str(part)[:40] for part in item["loc"]) or "body" for item in error.errors()})
        raise RequestRefusedError(400, BankCode.REQUEST_INVALID, fields[:20]) from None


def _as_success(answer: Told) -> Told:
    return answer.model_copy(update={"status": Status.SUCCESS, "code": BankCode.OK})


def seconds_until(due_at: int | None, now: datetime) -> float:
    """How long a loop may sleep until an instant in Unix milliseconds; a minute if there is none."""
    if due_at is None:
        return 60.0
    return max(0.0, (instant_from_milliseconds(due_at) - now) / timedelta(seconds=1))
