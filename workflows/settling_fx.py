"""How a process changes the books of foreign currency: locally and fast, or remotely and for as long as it takes."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities import names
    from activities.interfaces import SettleResult
    from domain.fx import FxEntry
    from workflows.settling import book


async def settle_fx(entry: FxEntry) -> SettleResult:
    """One entry, exactly once in effect. Answers the state that holds, also when another run was quicker."""
    return await book(names.SETTLE_FX, entry, entry.action)
