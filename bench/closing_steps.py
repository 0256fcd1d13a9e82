"""Where the time of a closing goes, as the histories of its process and of the unbinding say."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client

from activities import names
from workflows.names import Process, workflow_id

# In the order in which they come. What is between two of them is Temporal's, unless somebody is waited for.
_DONE = {
    names.LOOK_AT_CLOSURE: "looks at what is in the way",
    names.RETAIN_PAGE: "copies of what the law keeps",
    names.FORGET: "key destroyed, rows emptied",
    names.TELL_RECIPIENTS: "recipients told",
    names.COMPLETE_CLOSURE: "the answer",
    names.END_FOLLOWING: "the end of following",
}
_UNBOUND_FOUND, _UNBOUND, _UNBOUND_SEEN = (
    "until the sweeper starts the unbinding",
    "the unbinding",
    "until the sweeper tells it",
)
_RECORDS, _REPLY, _BETWEEN = "until the records come", "until the merchant replies", "between activities"
_ORDER = (
    *(_DONE[names.LOOK_AT_CLOSURE], _RECORDS, _UNBOUND_FOUND, _UNBOUND, _UNBOUND_SEEN, _DONE[names.RETAIN_PAGE]),
    *(_DONE[names.FORGET], _DONE[names.TELL_RECIPIENTS], _DONE[names.COMPLETE_CLOSURE], _REPLY),
    *(_DONE[names.END_FOLLOWING], _BETWEEN),
)


@dataclass(frozen=True)
class Step:
    """What a closing spends with something: the median of all, and its share of the time of all together."""

    title: str
    median_seconds: float
    percent: float


@dataclass(frozen=True)
class _Done:
    activity: str
    began: datetime
    ended: datetime


async def read_steps(client: Client, bindings: Mapping[str, str]) -> Sequence[Step]:
    """Of closings that have ended, by their ids, each with the binding that it ended."""
    spent: list[dict[str, float]] = []
    for closure, binding in bindings.items():
        history = await client.get_workflow_handle(workflow_id(Process.CLOSE_ACCOUNT, closure)).fetch_history()
        unbinding = await client.get_workflow_handle(workflow_id(Process.UNBIND_CARD, binding)).describe()
        if unbinding.close_time is None:
            raise RuntimeError("an account has closed whose card is not unbound")
        spent.append(_sums(_steps(list(_activities(history.events)), unbinding.start_time, unbinding.close_time)))
    whole = sum(sum(each.values()) for each in spent)
    of_each = {title: [each.get(title, 0.0) for each in spent] for title in _ORDER}
    return [Step(title, statistics.median(all_), 100 * sum(all_) / whole) for title, all_ in of_each.items()]


def _activities(events: Iterable[HistoryEvent]) -> Iterator[_Done]:
    """In their order; before them the start of the process, as one that took no time."""
    scheduled: dict[int, HistoryEvent] = {}
    for event in events:
        match event.event_type:
            case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED:
                yield _Done("", _at(event), _at(event))
            case EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
                scheduled[event.event_id] = event
            case EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
                begun = scheduled[event.activity_task_completed_event_attributes.scheduled_event_id]
                name = begun.activity_task_scheduled_event_attributes.activity_type.name
                yield _Done(name, _at(begun), _at(event))


def _steps(done: Sequence[_Done], unbinding: datetime, unbound: datetime) -> Iterator[tuple[str, float]]:
    for before, this in pairwise(done):
        yield _DONE[this.activity], (this.ended - this.began).total_seconds()
        gap = (this.began - before.ended).total_seconds()
        match before.activity, this.activity:
            case names.LOOK_AT_CLOSURE, names.LOOK_AT_CLOSURE if before.ended <= unbinding <= unbound <= this.began:
                yield _UNBOUND_FOUND, (unbinding - before.ended).total_seconds()
                yield _UNBOUND, (unbound - unbinding).total_seconds()
                yield _UNBOUND_SEEN, (this.began - unbound).total_seconds()
            case names.LOOK_AT_CLOSURE, names.LOOK_AT_CLOSURE:
                yield _RECORDS, gap
            case names.COMPLETE_CLOSURE, _:
                yield _REPLY, gap
            case _:
                yield _BETWEEN, gap


def _sums(steps: Iterable[tuple[str, float]]) -> dict[str, float]:
    found: dict[str, float] = {}
    for title, seconds in steps:
        found[title] = found.get(title, 0.0) + seconds
    return found


def _at(event: HistoryEvent) -> datetime:
    return event.event_time.ToDatetime(UTC)
