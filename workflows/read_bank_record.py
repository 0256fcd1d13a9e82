"""Look into a bank's own books for an operator: the API that people use does not reach banks itself."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities import names as activity_names
    from activities.interfaces import BankRecord, BankRecordQuestion
    from workflows import names, policies


@workflow.defn(name=names.Process.READ_BANK_RECORD.value)
class ReadBankRecord:
    """One question; nothing follows from the answer but what people decide."""

    @workflow.run
    async def run(self, question: BankRecordQuestion) -> BankRecord:
        record: BankRecord = await workflow.execute_activity(
            activity_names.READ_BANK_RECORD,
            question,
            result_type=BankRecord,
            schedule_to_close_timeout=policies.BANK_RECORD_TIMEOUT,
            retry_policy=policies.ONCE,
            summary=f"Look for {question.request_number} at {question.bank_code}",
        )
        return record
