"""What people have decided about an instruction: its process is told by an update, and believes only the database."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities import names as activity_names
    from activities.interfaces import DecisionQuestion, DecisionVerdict, EffectResult
    from domain.banking import BankOutcome
    from domain.decisions import TOLD_TO_PROCESSES, DecisionKind
    from workflows import policies
    from workflows.messages import DecisionMessage, DecisionTaken

WITHDRAWN = "withdrawn"
CONCLUDED = "concluded_by_operators"


async def check_decision(subject_id: str, message: DecisionMessage) -> EffectResult | None:
    """What a decision comes to as the outcome of the step that waits, or None if it does not hold for this one."""
    return outcome_of(await look_up_decision(subject_id, message), message)


async def look_up_decision(subject_id: str, message: DecisionMessage) -> DecisionVerdict:
    """What the database says of a decision that the process was told of.

    A remote activity: it is rare, so its cost counts for nothing, and while the books are away it stands there as
    pending, for operators to see.
    """
    verdict: DecisionVerdict = await workflow.execute_activity(
        activity_names.CHECK_DECISION,
        DecisionQuestion(subject_id=subject_id, decision_id=message.decision_id, now=workflow.now()),
        result_type=DecisionVerdict,
        start_to_close_timeout=policies.SETTLE_TIMEOUT,
        retry_policy=policies.PATIENTLY,
        summary="Look the decision up",
    )
    return verdict


def outcome_of(verdict: DecisionVerdict, message: DecisionMessage) -> EffectResult | None:
    """What a withdrawal or a conclusion comes to, or None for what decides nothing about a step at a bank."""
    if not verdict.holds or verdict.kind not in TOLD_TO_PROCESSES:
        return None
    if verdict.kind == DecisionKind.INSTRUCTION_WITHDRAW:
        return EffectResult(outcome=BankOutcome.DECLINED, blocked=WITHDRAWN, decision_id=message.decision_id)
    succeeded = verdict.outcome == "succeeded"
    return EffectResult(
        outcome=BankOutcome.SUCCEEDED if succeeded else BankOutcome.DECLINED,
        reason=CONCLUDED,
        bank_reference=verdict.bank_reference,
        request_number=verdict.request_number,
        decision_id=message.decision_id,
    )


def taken(outcome: EffectResult | None) -> DecisionTaken:
    """The answer to who told of the decision."""
    return DecisionTaken(holds=outcome is not None)
