"""Looks at every answer of a run: what no answer of ours may ever be, whatever was asked."""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import schemathesis

from api.problems import status_of
from domain.error_codes import ErrorCode

_REQUEST_ID = re.compile(r"req_[0-9A-HJKMNP-TV-Z]{26}")
# Words of our own insides; no answer needs them.
_INSIDES = re.compile(
    r"Traceback|File \\?\"|asyncpg|sqlalchemy|psycopg|pydantic|starlette|temporalio|SQLSTATE|PL/pgSQL|relation \\?\"|"
    r"site-packages|Exception|Error\(|secret_hash|ciphertext",
)
COMMANDS = frozenset({"POST", "PUT", "PATCH", "DELETE"})
KEPT = 12


@dataclass
class Watch:
    """What was seen of one run. `strange` holds values that must be in no answer, by what they are.

    `may_be_served` says of an operation whether whoever asks here may have it; `shows` names operations whose very
    purpose is to show what is strange elsewhere.
    """

    strange: Mapping[str, str]
    may_be_served: Callable[[schemathesis.Case], bool] = lambda _: True
    shows: frozenset[str] = frozenset()
    cases: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    reached: Counter[str] = field(default_factory=Counter)
    refused_commands: dict[str, str] = field(default_factory=dict)
    findings: dict[str, str] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def look(self, case: schemathesis.Case, response: schemathesis.Response) -> None:
        """Judges one answer; called from the threads that ask."""
        with self._lock:
            self.cases += 1
            self.statuses[response.status_code] += 1
            if response.status_code < 300:
                self.reached[case.operation.label] += 1
            for fault in self._faults(case, response):
                key = f"{fault} | {case.operation.label}"
                if len(self.findings) < KEPT:
                    self.findings.setdefault(key, f"{case.as_curl_command()}\n{response.text[:600]}")

    def _faults(self, case: schemathesis.Case, response: schemathesis.Response) -> list[str]:
        text, headers = response.text, {name: values[0] for name, values in response.headers.items()}
        found = []
        if response.status_code >= 500:
            found.append(f"an outage of ours: {response.status_code}")
        if _REQUEST_ID.fullmatch(headers.get("x-request-id", "")) is None:
            found.append("no X-Request-Id")
        if headers.get("cache-control") != "no-store" or headers.get("x-content-type-options") != "nosniff":
            found.append("an answer that may be cached or sniffed")
        if _INSIDES.search(text):
            found.append("our insides in an answer")
        if case.operation.label not in self.shows or response.status_code >= 300:
            found += [f"{what} in an answer" for what in _given_away(text + str(headers), self.strange)]
        if response.status_code >= 400:
            found += self._faults_of_a_problem(case, response, headers)
        elif not self.may_be_served(case):
            found.append("served to somebody who may not have it")
        return found

    def _faults_of_a_problem(
        self, case: schemathesis.Case, response: schemathesis.Response, headers: Mapping[str, str]
    ) -> list[str]:
        if case.method == "HEAD":
            return []
        try:
            problem: dict[str, Any] = json.loads(response.text)
            code = ErrorCode(problem["code"])
        except (ValueError, KeyError, TypeError):
            return ["a refusal that is no problem document with a code of ours"]
        self.codes[code.value] += 1
        found = []
        if not headers.get("content-type", "").startswith("application/problem+json"):
            found.append("a problem of another media type")
        if not response.status_code == problem["status"] == status_of(code):
            found.append(f"{code} with status {response.status_code}")
        replayed = headers.get("idempotency-replayed") == "true"
        if problem["request_id"] != headers.get("x-request-id") and not replayed:
            found.append("a problem that names another request")
        if case.method in COMMANDS and not replayed:
            self.refused_commands[headers["x-request-id"]] = code.value.lower()
        return found


def _given_away(said: str, strange: Mapping[str, str]) -> Collection[str]:
    return [what for what, value in strange.items() if value in said]
