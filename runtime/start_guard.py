"""A process that is started without the input it takes fails at once, instead of trying for ever.

Somebody who starts one by hand would otherwise hold its workflow id, and the process that belongs there could not run.
An input that does not open is refused where it is read (`runtime.payloads`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from temporalio.bridge.proto.workflow_activation import WorkflowActivation
from temporalio.bridge.proto.workflow_completion import WorkflowActivationCompletion
from temporalio.worker import WorkflowInstance, WorkflowInstanceDetails
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

START_REFUSED = "START_REFUSED"
_SENTENCE = "the process was started without the input that it takes"

log = logging.getLogger(__name__)
Activate = Callable[[WorkflowActivation], WorkflowActivationCompletion]


class GuardedRunner(SandboxedWorkflowRunner):
    """The sandbox, for workflows that take a fixed number of arguments."""

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        """As the sandbox does it, with an eye on the number of arguments."""
        instance = super().create_instance(det)
        takes = len(det.defn.arg_types or ())
        instance.activate = _guarded(instance.activate, takes, det.info.workflow_id)  # type: ignore[method-assign, assignment]
        return instance


def _guarded(activate: Activate, takes: int, workflow_id: str) -> Activate:
    def guarded(act: WorkflowActivation) -> WorkflowActivationCompletion:
        starts = (job.initialize_workflow for job in act.jobs if job.HasField("initialize_workflow"))
        if all(len(start.arguments) == takes for start in starts):
            return activate(act)
        log.warning(_SENTENCE, extra={"workflow_id": workflow_id})
        return _failed()

    return guarded


def _failed() -> WorkflowActivationCompletion:
    completion = WorkflowActivationCompletion()
    failure = completion.successful.commands.add().fail_workflow_execution.failure
    failure.message = _SENTENCE
    failure.application_failure_info.type = START_REFUSED
    failure.application_failure_info.non_retryable = True
    return completion
