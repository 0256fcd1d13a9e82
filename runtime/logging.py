"""JSON lines on standard error, one object an event; the local stack sends them to `var/log/<part>.log`.

Every line passes the redaction, tracebacks and other libraries' lines too.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType, TracebackType
from typing import Any

from pythonjsonlogger.json import JsonFormatter

from runtime.redaction import redact

_request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
_subject: ContextVar[Mapping[str, str]] = ContextVar("subject", default=MappingProxyType({}))


@contextmanager
def request_id(value: str) -> Iterator[None]:
    """Everything logged inside carries this id."""
    token = _request_id.set(value)
    try:
        yield
    finally:
        _request_id.reset(token)


def log_as(request_id: str | None, **subject: str) -> None:
    """From here to its end the running task's lines carry these: for a task that serves one thing only.

    Not undone on the way out, so that what the task's own library says of it at its end carries them too.
    """
    _request_id.set(request_id)
    _subject.set(subject)


def current_request_id() -> str | None:
    """The id of the request being served, if one is."""
    return _request_id.get()


class RedactingFormatter(JsonFormatter):
    """`at` (UTC), `level`, `logger`, `process`, `message`, `request_id`, `workflow_id`, `subject_id`, what came as
    `extra`, `exc_info`.
    """

    def __init__(self, process: str) -> None:
        super().__init__("%(message)s", json_ensure_ascii=False)
        self._process = process

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        return {key: redact(value, key) for key, value in log_data.items()}

    def add_fields(self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]) -> None:
        log_data["at"] = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        log_data |= {"level": record.levelname, "logger": record.name, "process": self._process}
        if (current := current_request_id()) is not None:
            log_data["request_id"] = current
        log_data |= _subject.get()
        super().add_fields(log_data, record, message_dict)
        log_data.pop("color_message", None)  # uvicorn repeats its message for terminals


def configure_logging(process: str, level: str) -> None:
    """Makes every logger of the process write redacted JSON to standard error, at `level` and above."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(RedactingFormatter(process))
    logging.root.handlers[:] = [handler]
    logging.root.setLevel(level)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    # Lines of every request and every poll, with addresses that can hold identifiers, are noise above a
    # warning.
    for name in ("uvicorn.access", "httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.WARNING)
    sys.excepthook = _log_uncaught


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    logging.getLogger("uncaught").critical("the process ends by an error", exc_info=(kind, error, trace))
