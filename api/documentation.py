"""The OpenAPI document of each route, and a page that shows it without the internet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fastapi import APIRouter
from jinja2 import Environment, FileSystemLoader, select_autoescape
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from api.problems import MEDIA_TYPE, document, status_of
from api.resources import Problem
from api.schemas import Body
from domain.error_codes import ERROR_TEXTS, OPERATOR_CODES, ErrorCode

C = ErrorCode
# What any address of the API may answer.
ANYWHERE = (C.REQUEST_TOO_LARGE, C.SERVICE_UNAVAILABLE, C.TLS_REQUIRED, C.RATE_LIMITED)
OF_A_CALL = (
    C.API_KEY_MISSING,
    C.API_KEY_INVALID,
    C.SCOPE_MISSING,
    C.CONTENT_DIGEST_MISMATCH,
    C.SIGNATURE_INVALID,
    C.SIGNATURE_EXPIRED,
    C.SIGNING_KEY_UNKNOWN,
    C.REQUEST_INVALID,
)
OF_A_COMMAND = (
    C.IDEMPOTENCY_KEY_REQUIRED,
    C.IDEMPOTENCY_KEY_REUSED,
    C.IDEMPOTENCY_IN_PROGRESS,
    C.REQUEST_INVALID,
    C.BODY_NOT_JSON,
    C.FORBIDDEN_CARD_DATA,
    C.SIGNATURE_REQUIRED,
    C.SIGNATURE_REPLAYED,
)
OF_A_PAGE = (C.CURSOR_INVALID, C.REQUEST_INVALID)
# Codes that belong to no address: what is answered where there is none.
NOWHERE = (C.ROUTE_NOT_FOUND, C.METHOD_NOT_ALLOWED)

_PAGE_PARAMETERS: list[dict[str, Any]] = [
    {"name": "cursor", "in": "query", "schema": {"type": "string"}, "description": "`next_cursor` of the page before."},
    {"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": 100, "default": 20}},
]
_KEY_PARAMETER: dict[str, Any] = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": True,
    "schema": {"type": "string", "pattern": "^[A-Za-z0-9_-]{8,64}$"},
    "description": "One for each intended effect; the same key and body give the first answer again.",
}
_SIGNATURE_PARAMETERS = {
    "Signature-Input": '`liushui=(…);created=…;keyid=…;nonce=…;alg=…;tag="liushui-v1"` (RFC 9421).',
    "Signature": "`liushui=:…:` (RFC 9421).",
    "Content-Digest": "`sha-256=:…:` over the body's bytes (RFC 9530); compared wherever it is sent.",
}
_WHEN_SIGNED = {True: "Needed always.", False: "Needed once you have a signing key."}
_RATE_HEADERS: dict[str, Any] = {
    "RateLimit-Policy": {
        "description": 'The quota and its window in seconds: `"commands";q=30000;w=60`.',
        "schema": {"type": "string"},
    },
    "RateLimit": {
        "description": 'What is left, and in how many seconds there is more: `"commands";r=29999;t=60`.',
        "schema": {"type": "string"},
    },
}
_RETRY_AFTER: dict[str, Any] = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}}}
_page = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=select_autoescape(["html"])
).get_template("docs.html")


def query_parameter(name: str, description: str, *, required: bool = False, **schema: Any) -> dict[str, Any]:
    """One parameter of the address's query."""
    return {
        "name": name,
        "in": "query",
        "required": required,
        "schema": {"type": "string"} | schema,
        "description": description,
    }


def documented(
    summary: str,
    scope: str | None,
    answers: Mapping[int, type[BaseModel]],
    refusals: Sequence[ErrorCode] = (),
    *,
    body: type[Body] | None = None,
    command: bool = False,
    paged: bool = False,
    signed: bool = False,
    parameters: Sequence[dict[str, Any]] = (),
    media_type: str | None = None,
    also_as: str | None = None,
) -> dict[str, Any]:
    """Arguments of a route's decorator: what it answers, and every code with which it can refuse.

    The query parameters stated here are all that the route takes; `signed` if it is never taken without a signature;
    `media_type` if its answer is text of another kind than JSON, `also_as` if it is that unless JSON is asked for.
    """
    codes = [*ANYWHERE, *(OF_A_CALL if scope else ()), *(OF_A_COMMAND if command else ())]
    codes += [*(OF_A_PAGE if paged else ()), *refusals]
    rates = {"headers": _RATE_HEADERS} if scope else {}
    responses: dict[int | str, dict[str, Any]] = {
        status: {"model": model, **rates} if media_type is None else _text_response(model, media_type) | rates
        for status, model in answers.items()
    }
    if also_as is not None:
        responses[min(answers)]["content"] = {also_as: {"schema": {"type": "string"}}}
    for status in sorted({status_of(code) for code in codes}):
        responses[status] = _problem_response([c for c in dict.fromkeys(codes) if status_of(c) == status])
        if status in (429, 503):
            responses[status]["headers"] = _RETRY_AFTER | (_RATE_HEADERS if scope and status == 429 else {})
    extra: dict[str, Any] = {"parameters": [*parameters, *(_PAGE_PARAMETERS if paged else [])]}
    if command:
        extra["parameters"] += [_KEY_PARAMETER, *_signature_parameters(signed, has_body=body is not None)]
    if scope:
        extra |= {"security": [{"apiKey": []}], "x-scope": scope}
    if body is not None:
        needs_fields = not {"required", "anyOf"}.isdisjoint(body.model_json_schema())
        extra["requestBody"] = {"required": needs_fields, "content": {"application/json": _body(body)}}
    return {
        "summary": summary,
        "status_code": min(answers),
        "response_model": None,
        "responses": responses,
        "openapi_extra": extra,
    } | ({} if media_type is None else {"response_class": Response})


def _text_response(model: type[BaseModel], media_type: str) -> dict[str, Any]:
    return {"description": model.__doc__ or "", "content": {media_type: {"schema": {"type": "string"}}}}


def _signature_parameters(signed: bool, *, has_body: bool) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "header",
            "required": signed,
            "schema": {"type": "string"},
            "description": f"{description} {_WHEN_SIGNED[signed]}",
        }
        for name, description in _SIGNATURE_PARAMETERS.items()
        if has_body or name != "Content-Digest"
    ]


def _problem_response(codes: Sequence[ErrorCode]) -> dict[str, Any]:
    examples = {code.value: {"value": problem_example(code)} for code in codes}
    return {
        "description": "; ".join(f"`{code.value}` {ERROR_TEXTS[code].title_en}" for code in codes),
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}, "examples": examples}},
    }


def problem_example(code: ErrorCode) -> dict[str, Any]:
    """A problem as it is answered."""
    request_id = "req_01KB5N3E4H6Q8Z2T7V9W0X1Y2T"
    return document(code) | {"errors": [], "subject_id": None, "request_id": request_id}


def _body(model: type[Body]) -> dict[str, Any]:
    fields = model.model_json_schema()["properties"]
    example = {name: field["examples"][0] for name, field in fields.items() if field.get("examples")}
    if "confirmation_hash" in fields:
        example["confirmation_hash"] = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
    return {"schema": model.model_json_schema(), "example": example}


def complete(openapi: dict[str, Any]) -> dict[str, Any]:
    """Adds what no single route knows: the key, the problem's shape, and what is answered where there is no address."""
    _without_the_frameworks_refusals(openapi)
    components = openapi.setdefault("components", {})
    components.setdefault("schemas", {})["Problem"] = Problem.model_json_schema(
        ref_template="#/components/schemas/{model}"
    )
    components["schemas"] |= components["schemas"]["Problem"].pop("$defs", {})
    components["securitySchemes"] = {
        "apiKey": {
            "type": "http",
            "scheme": "bearer",
            "description": "`lsk_{ULID}_{secret}`, issued by the institution.",
        }
    }
    openapi["x-error-codes"] = {c.value: problem_example(c) for c in ERROR_TEXTS if c not in OPERATOR_CODES}
    openapi["x-answered-at-unknown-addresses"] = [code.value for code in NOWHERE]
    return openapi


def _without_the_frameworks_refusals(openapi: dict[str, Any]) -> None:
    """FastAPI promises a 422 of its own shape wherever there is a parameter; every refusal here is a problem."""
    for methods in openapi["paths"].values():
        for operation in methods.values():
            refused = operation["responses"].get("422")
            if refused is not None and MEDIA_TYPE not in refused["content"]:
                del operation["responses"]["422"]
    for name in ("HTTPValidationError", "ValidationError"):
        openapi.get("components", {}).get("schemas", {}).pop(name, None)


router = APIRouter(include_in_schema=False)


@router.get("/docs")
async def show_documents(request: Request) -> Response:
    """The OpenAPI document as one page that loads nothing from elsewhere."""
    openapi = request.app.openapi()
    return HTMLResponse(_page.render(api=openapi, codes=openapi["x-error-codes"]))
