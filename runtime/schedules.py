"""Processes that Temporal starts by itself, every day at one time; kept as the configuration says."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import timedelta

from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleCalendarSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleRange,
    ScheduleSpec,
    ScheduleUpdate,
    ScheduleUpdateInput,
)
from temporalio.service import RPCError, RPCStatusCode

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DailyProcess:
    """A process without input, started every day `at` (HH:MM) of a time zone. Temporal appends the instant to its id.

    `catch_up`: a start that was missed, because Temporal stood still, is made up for so long.
    """

    schedule_id: str
    workflow: str
    workflow_id: str
    task_queue: str
    at: str
    time_zone: str
    catch_up: timedelta
    note: str


async def keep_schedule(client: Client, daily: DailyProcess) -> bool:
    """Creates the schedule, or sets it right; whether it is paused is the operators' business and stays as it is.

    False where the server has no schedules, as that of the tests.
    """
    try:
        await client.create_schedule(daily.schedule_id, _schedule(daily))
    except ScheduleAlreadyRunningError:
        await client.get_schedule_handle(daily.schedule_id).update(lambda found: _set_right(found, daily))
    except RPCError as error:
        if error.status is not RPCStatusCode.UNIMPLEMENTED:
            raise
        log.warning("the server has no schedules", extra={"subject_id": daily.schedule_id})
        return False
    return True


def _set_right(found: ScheduleUpdateInput, daily: DailyProcess) -> ScheduleUpdate:
    wanted = _schedule(daily)
    # Who paused it said why in the note.
    wanted.state = found.description.schedule.state
    return ScheduleUpdate(schedule=wanted)


def _schedule(daily: DailyProcess) -> Schedule:
    hour, minute = (int(part) for part in daily.at.split(":"))
    schedule = Schedule(
        action=ScheduleActionStartWorkflow(daily.workflow, args=[], id=daily.workflow_id, task_queue=daily.task_queue),
        spec=ScheduleSpec(
            calendars=[ScheduleCalendarSpec(hour=(ScheduleRange(hour),), minute=(ScheduleRange(minute),))],
            time_zone_name=daily.time_zone,
        ),
        policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP, catchup_window=daily.catch_up),
    )
    schedule.state.note = daily.note
    return schedule
