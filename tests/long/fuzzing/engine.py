"""Runs schemathesis over an OpenAPI document: examples, edge cases, random ones, and chains from answer to request."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Mapping
from typing import Any

import schemathesis
from requests.auth import AuthBase
from schemathesis.engine import Status, events, from_schema

from tests.long.fuzzing.aiming import Aim
from tests.long.fuzzing.watching import Watch

SIGNATURE = frozenset({"Signature", "Signature-Input", "Content-Digest"})
# What our rules refuse although its form is right, or answer although the document does not say so, is no defect.
CHECKS = {
    "enabled": False,
    "not_a_server_error": {"enabled": True, "expected-statuses": ["2xx", "3xx", "4xx"]},
    "status_code_conformance": {"enabled": True},
    "content_type_conformance": {"enabled": True},
    "response_schema_conformance": {"enabled": True},
    "response_headers_conformance": {"enabled": True},
    # An address or a body that is too long is refused as such (413), whatever else is wrong with it.
    "negative_data_rejection": {
        "enabled": True,
        "expected-statuses": ["400", "401", "403", "404", "405", "409", "413", "415", "422", "429"],
    },
    "missing_required_header": {"enabled": True},
    "unsupported_method": {"enabled": True},
    "use_after_free": {"enabled": True},
}


async def fuzz(
    document: dict[str, Any],
    address: str,
    watch: Watch,
    *,
    seed: int,
    examples: int,
    chains: int = 0,
    edges: bool = True,
    headers: Mapping[str, str] | None = None,
    auth: AuthBase | None = None,
    aim: Aim | None = None,
    checks: Mapping[str, Any] | None = None,
    leave_out: frozenset[str] = frozenset(),
) -> list[str]:
    """What schemathesis has to say against the API; `watch` has seen every answer. The same seed asks the same."""
    phases: dict[str, Any] = {"examples": {"enabled": True}, "coverage": {"enabled": edges}}
    # What is aimed is to be right; wrong in every way are the edge cases.
    phases["fuzzing"] = {"enabled": True, "generation": {"mode": "all" if aim is None else "positive"}}
    phases["stateful"] = {"enabled": chains > 0, "generation": {"max-examples": max(chains, 1)}}
    config = {
        "seed": seed,
        "base-url": address,
        "continue-on-failure": True,
        "request-timeout": 30,
        "headers": dict(headers or {}),
        # Who asks is said by `auth`, after everything else was made up.
        "generation": {"max-examples": examples, "database": "none", "with-security-parameters": False},
        "suppress-health-check": ["all"],
        "phases": phases,
        "checks": CHECKS | dict(checks or {}),
    }
    schema = schemathesis.openapi.from_dict(
        _unsigned(document, leave_out), config=schemathesis.Config.from_dict(config)
    )
    schema.hooks.register_hook_with_name(_after_call(watch, aim), "after_call")
    for name, hook in (aim.hooks() if aim is not None else {}).items():
        schema.hooks.register_hook_with_name(hook, name)
    if auth is not None:
        schema.auth.set_from_requests(auth)
    return await asyncio.to_thread(_run, schema)


def _unsigned(document: dict[str, Any], leave_out: frozenset[str]) -> dict[str, Any]:
    """Without some paths, and without the parameters of signatures, which the client adds to what was made up."""
    same: dict[str, Any] = copy.deepcopy(document)
    same["paths"] = {path: methods for path, methods in same["paths"].items() if path not in leave_out}
    for methods in same["paths"].values():
        for operation in methods.values():
            parameters = operation.get("parameters", [])
            operation["parameters"] = [item for item in parameters if item["name"] not in SIGNATURE]
    return same


def _after_call(watch: Watch, aim: Aim | None) -> Any:
    def after_call(_context: Any, case: schemathesis.Case, response: schemathesis.Response) -> None:
        watch.look(case, response)
        if aim is not None:
            aim.learn(response)

    return after_call


def _run(schema: Any) -> list[str]:
    found: dict[str, str] = {}
    for event in from_schema(schema).execute():
        if isinstance(event, events.ScenarioFinished):
            for label, sentence in _failures(event):
                found.setdefault(label, sentence)
        elif isinstance(event, events.NonFatalError):
            found.setdefault(f"{event.label} {event.info.title}", str(event.value))
        elif isinstance(event, events.FatalError):
            raise event.exception
    return list(found.values())


def _failures(event: events.ScenarioFinished) -> Any:
    recorder = event.recorder
    for case_id, checked in recorder.checks.items():
        for check in checked:
            if check.status is Status.FAILURE and check.failure_info is not None:
                failure = check.failure_info.failure
                case = recorder.cases[case_id].value
                key = f"{case.operation.label} {check.name} {failure.title}"
                yield key, f"{key}: {failure.message}\n{check.failure_info.code_sample}"
