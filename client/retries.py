"""When a request is sent again: only if it got no answer that counts, always under the same Idempotency-Key."""

from __future__ import annotations

from dataclasses import dataclass

# What says that the service, not the request, is the trouble; proxies in between say it too.
_UNANSWERED_STATUSES = frozenset({500, 502, 503, 504})


@dataclass(frozen=True)
class Retries:
    """How long a call goes on trying. After `total_seconds` no new attempt begins; 0 means a single attempt."""

    total_seconds: float = 30.0
    first_pause_seconds: float = 0.2
    longest_pause_seconds: float = 5.0

    def pause(self, attempt: int, retry_after: float | None, chance: float) -> float:
        """Seconds before the next attempt. `attempt` counts from 1; `chance` is from 0 to 1 and spreads callers."""
        grown = self.first_pause_seconds * 2.0 ** min(attempt - 1, 30)
        pause = min(grown, self.longest_pause_seconds) * (0.5 + chance / 2)
        return pause if retry_after is None else retry_after + pause * 0.1


def is_unsettled(status: int, code: str | None) -> bool:
    """Whether an answer leaves open what became of the request."""
    return status in _UNANSWERED_STATUSES or code == "IDEMPOTENCY_IN_PROGRESS"


def may_be_repeated(status: int, code: str | None) -> bool:
    """Whether the same request under the same key may yet be answered otherwise.

    A refusal that was decided is kept and would only be repeated; another key would be another instruction.
    """
    if status == 429:
        # A code that was asked for too soon is a decided refusal, although its status is the same.
        return code in (None, "RATE_LIMITED")
    return is_unsettled(status, code) and code != "BANK_NO_ANSWER"


def settles(status: int) -> bool:
    """Whether an answer tells what became of all attempts under its key: it was given, or repeated, by who decides."""
    return status < 300 or status in (404, 409, 422)
