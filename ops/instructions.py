"""Payments, refunds, bindings, payouts and foreign currency of all merchants: find one, see why it waits, ask the bank
again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api.calls import Done
from api.documentation import query_parameter
from domain.errors import ErrorCode, FieldError, NotFoundError, ValidationRefusedError
from domain.hit_texts import explain_hit
from ops.asking import ask_bank, process_id, read_bank_record
from ops.calls import SUBJECT, Call, Operation, run_command, run_read
from ops.documentation import documented
from ops.queries import limit_of, text_of
from ops.schemas import BankRecord, Instruction, Listed, Question
from storage.ops_payouts import OpsPayouts
from storage.reviews import Reviews

router = APIRouter(prefix="/ops/v1/instructions", tags=["instructions"])
C = ErrorCode

FIND = Operation("find_instruction", "payments:read")
READ = Operation("look_at_instruction", "payments:read")
ASK = Operation("ask_bank", "bank:ask")
RECORD = Operation("read_bank_record", "bank:ask")

_BY = ("order_number", "id", "request_number", "bank_reference", "payee_id")
# What a list shows of each; the rest is at its own address.
_SUMMARY = (
    "id", "object", "merchant_id", "order_number", "amount_minor", "currency", "state", "reason", "waiting_for",
    "bank_reference", "accepted_at",
)  # fmt: skip


@router.get(
    "",
    **documented(
        "Find a payment, refund, binding, payout, conversion or remittance",
        FIND,
        Listed,
        [C.REQUEST_INVALID],
        parameters=[
            query_parameter("order_number", "The merchant's own number of the order."),
            query_parameter("merchant_id", "Only of this merchant, with `order_number`."),
            query_parameter("id", "Of the instruction itself."),
            query_parameter("request_number", "Under which a bank knows one step."),
            query_parameter("bank_reference", "The bank's own."),
            query_parameter("payee_id", "Payouts to this payee."),
        ],
    ),
)
async def find_instructions(request: Request) -> Response:
    """By exactly one of `order_number`, `id`, `request_number`, `bank_reference` and `payee_id`; newest first."""
    return await run_read(request, FIND, _find)


async def _find(call: Call) -> Mapping[str, Any]:
    given = {name: text for name in _BY if (text := text_of(call, name)) is not None}
    merchant_id = text_of(call, "merchant_id", r"mch_[0-9A-Z]{26}")
    if len(given) != 1 or (merchant_id is not None and "order_number" not in given):
        raise ValidationRefusedError(C.REQUEST_INVALID, fields=[FieldError("order_number", "give_exactly_one")])
    [(name, text)] = given.items()
    reading = call.services.reading
    call.detail = {"by": name}
    match name:
        case "order_number":
            ids = await reading.of_order(merchant_id, text, limit_of(call))
        case "id":
            ids = [text]
        case "request_number":
            ids = await reading.of_request_number(text)
        case "payee_id":
            ids = await reading.of_payee(text, limit_of(call))
        case _:
            ids = await reading.of_bank_reference(text)
    found = await reading.instructions(ids)
    items = [{word: item[word] for word in _SUMMARY if word in item} for item in found]
    return {"object": "list", "items": items, "next_cursor": None}


@router.get("/{instruction_id}", **documented("Everything about one", READ, Instruction, [C.INSTRUCTION_NOT_FOUND]))
async def read_instruction(request: Request, instruction_id: str) -> Response:
    """Where it stands and why, what the bank said in its own codes, and who did what, in order."""

    async def read(call: Call) -> Mapping[str, Any]:
        found = await instruction_of(call, instruction_id)
        return found | await _behind(call, found) | {"process": process_link(call, found)}

    return await run_read(request, READ, read)


@router.post(
    "/{instruction_id}/ask-bank",
    **documented("Ask the bank again", ASK, Question, [C.INSTRUCTION_NOT_FOUND, C.BANK_NOT_TO_ASK]),
)
async def ask_bank_again(request: Request, instruction_id: str) -> Response:
    """Asks what became of it, and never sends anything a second time by itself. Read the instruction for the answer."""

    async def ask(call: Call, _payload: dict[str, Any]) -> Done:
        found = await instruction_of(call, instruction_id)
        how = await ask_bank(call.services.processes, found, call.now)
        call.detail = {"how": how}
        return Done({"object": "bank_question", "instruction_id": instruction_id, "how": how})

    return await run_command(request, ASK, ask)


@router.get(
    "/{instruction_id}/bank_record",
    **documented(
        "What the bank's own books say",
        RECORD,
        BankRecord,
        [C.INSTRUCTION_NOT_FOUND, C.BANK_NOT_TO_ASK, C.BANK_NO_ANSWER],
    ),
)
async def read_record_of_bank(request: Request, instruction_id: str) -> Response:
    """The bank's answer to the request number and its statements' lines; what follows from them, people decide."""

    async def read(call: Call) -> Mapping[str, Any]:
        found = await instruction_of(call, instruction_id)
        return await read_bank_record(call.services.processes, found, call.now)

    return await run_read(request, RECORD, read)


async def _behind(call: Call, found: Mapping[str, Any]) -> dict[str, Any]:
    """Of a payout its payee, masked; and, for those who may see reviews, what rules, lists and reviewers said (L5)."""
    if found["object"] != "payout":
        return {}
    payee = await payee_of(call, found["payee_id"])
    payouts = OpsPayouts(call.services.engine)
    if not await payouts.may(call.operator_id, "reviews:read", call.now):
        return {"payee": payee}
    risk = [
        decision | {"hits": [explain_hit(hit, found["currency"]) for hit in decision["hits"]]}
        for decision in await payouts.risk(found["id"])
    ]
    reviews = await Reviews(call.services.engine).of_payout(found["id"], call.now)
    matches = await payouts.matches(found["id"])
    return {"payee": payee, "risk_decisions": risk, "screening_matches": matches, "reviews": reviews}


async def payee_of(call: Call, payee_id: str) -> dict[str, Any]:
    """A payee with its name and account number masked."""
    payee = await OpsPayouts(call.services.engine).payee(payee_id)
    tokens: Mapping[str, str] = payee.pop("tokens")
    masks = await call.services.vault.masked(payee.pop("holder"), list(tokens.values()))
    return payee | {"elements": {name: masks[token] for name, token in tokens.items() if token in masks}}


async def instruction_of(call: Call, instruction_id: str) -> dict[str, Any]:
    """Any merchant's. Raises NotFoundError."""
    is_shaped = re.fullmatch(SUBJECT, instruction_id) is not None
    found = await call.services.reading.instruction(instruction_id) if is_shaped else None
    if found is None:
        raise NotFoundError(C.INSTRUCTION_NOT_FOUND)
    call.merchant_id = found["merchant_id"]
    return found


def process_link(call: Call, instruction: Mapping[str, Any]) -> dict[str, str]:
    """Where its process is found in Temporal; the path is that of Temporal's UI."""
    workflow_id, namespace = process_id(instruction), call.services.temporal_namespace
    path = f"/namespaces/{quote(namespace, safe='')}/workflows/{quote(workflow_id, safe='')}"
    return {"workflow_id": workflow_id, "namespace": namespace, "temporal_ui_path": path}
