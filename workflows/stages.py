"""A process as stages: each waits for what it waits for and answers the state that then holds; from that it goes on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from workflows import policies

Stage = Callable[[], Awaitable[str]]


async def through_stages(
    stages: Mapping[str, Stage],
    state: Callable[[], str],
    move: Callable[[str], None],
    renew: Callable[[], Awaitable[None]],
) -> None:
    """Until a state that has no stage. `renew` continues in a fresh history where this one has grown long."""
    pause = policies.PAUSE_BETWEEN_ROUNDS
    while (stage := stages.get(state())) is not None:
        began, before = workflow.now(), state()
        # The stage may have changed what it is about, so it is moved only afterwards.
        move(await stage())
        if state() != before or workflow.now() - began > pause:
            pause = policies.PAUSE_BETWEEN_ROUNDS
        else:
            await workflow.sleep(pause, summary="What comes back at once to where it was takes its time")
            pause = min(pause * 2, policies.LONGEST_PAUSE_BETWEEN_QUESTIONS)
        await renew()
