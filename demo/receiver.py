"""Where the merchant is told of events: a small HTTP server that believes only what is signed, and counts."""

from __future__ import annotations

import threading
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

from client import Event, WebhookRejectedError, webhooks

_LONGEST_BODY = 1 << 20


class Receiver:
    """`with Receiver() as receiver:` listens on a free port of this machine. `secret` is that of the endpoint."""

    def __init__(self) -> None:
        self.secret = ""
        self.rejected: list[str] = []
        self._events: list[Event] = []
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True)

    @property
    def url(self) -> str:
        """What to register."""
        return f"http://127.0.0.1:{self._server.server_port}/events"

    def events(self) -> list[Event]:
        """What came, in its order; what came again is there again."""
        with self._lock:
            return list(self._events)

    def sequences(self) -> dict[str, list[int]]:
        """For each thing, the numbers of its events as they came."""
        found: dict[str, list[int]] = defaultdict(list)
        for event in self.events():
            found[event.object_id].append(event.sequence)
        return dict(found)

    def take(self, headers: dict[str, str], body: bytes) -> int:
        """The status with which a message is answered."""
        try:
            event = webhooks.verify(body, headers, self.secret)
        except WebhookRejectedError as rejected:
            self.rejected.append(rejected.reason)
            return 400
        with self._lock:
            self._events.append(event)
        return 204

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        take = self.take

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length", "0"))
                status = 413 if length > _LONGEST_BODY else take(dict(self.headers), self.rfile.read(length))
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Says nothing: the stage is for the play."""

        return Handler

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def is_without_gap(sequences: dict[str, list[int]]) -> bool:
    """Whether each thing's events came as 1, 2, 3 and so on; one that came again counts once."""
    return all(list(dict.fromkeys(found)) == list(range(1, len(set(found)) + 1)) for found in sequences.values())
