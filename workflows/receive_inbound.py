"""Receive foreign currency: a bank has announced a remittance; it is asked what it is, and that is booked (A2.3a-b).

Names and numbers never enter the process: one activity asks and books. What a mandate asks for begins with it (A3.2b).
"""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities import names as activity_names
    from activities.interfaces import InboundQuestion, InboundReceived
    from workflows import names, policies
    from workflows.messages import InboundOrder, ProcessResult


@workflow.defn(name=names.Process.RECEIVE_INBOUND.value)
class ReceiveInbound:
    """One remittance from its announcement until it is credited, or in suspense."""

    @workflow.run
    async def run(self, order: InboundOrder) -> ProcessResult:
        workflow.set_current_details(f"{order.bank_code} announced {order.reference}; asking what it is.")
        received: InboundReceived = await workflow.execute_activity(
            activity_names.RECEIVE_INBOUND,
            InboundQuestion(bank_code=order.bank_code, reference=order.reference, now=workflow.now()),
            result_type=InboundReceived,
            start_to_close_timeout=policies.SETTLE_TIMEOUT,
            retry_policy=policies.PATIENTLY,
            summary=f"Ask about {order.reference}, and book it",
        )
        state = received.state or "unknown_to_the_bank"
        workflow.set_current_details(f"Ended as {state}.")
        return ProcessResult(state=state)
