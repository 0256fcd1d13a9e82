"""What one signed request came to: an answer whose signature held, or none that can be trusted."""

from __future__ import annotations

from dataclasses import dataclass


class NoAnswerError(Exception):
    """No answer that can be trusted; `why` is a stable word of ours."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


@dataclass(frozen=True)
class VerifiedReply:
    """A verified answer below 500."""

    status: int
    body: bytes
