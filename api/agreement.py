"""The agreement in force, as a user has to be shown it (A0.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api.calls import Call, Operation, run_read
from api.documentation import documented
from api.resources import AgreementInForce

router = APIRouter(prefix="/v1", tags=["agreement"])

READ = Operation("read_agreement", "users:read")


@router.get("/agreement", **documented("The agreement in force", READ.scope, {200: AgreementInForce}))
async def read_agreement(request: Request) -> Response:
    async def read(call: Call) -> Mapping[str, Any]:
        agreement = call.services.policy.agreement
        return {"object": "agreement", **agreement.model_dump(), "text": call.services.agreement_text}

    return await run_read(request, READ, read)
