"""Tekton's words for why a task was skipped, and why a run ended."""

from __future__ import annotations

from mlops.domain.run import Ending

NOT_WANTED = "When Expressions evaluated to false"
PARENTS_SKIPPED = "Parent Tasks were skipped"
RESULTS_MISSING = "Results were missing"
STOPPING = "PipelineRun was stopping"
GRACEFULLY = {
    Ending.RUN_FINALLY: "PipelineRun was gracefully cancelled",
    Ending.STOPPED: "PipelineRun was gracefully stopped",
}
RUNNING_FINALLY = {
    Ending.RUN_FINALLY: "CancelledRunningFinally",
    Ending.STOPPED: "StoppedRunningFinally",
}
PIPELINE_LATE = "PipelineRun timeout has been reached"
TASKS_LATE = "PipelineRun Tasks timeout has been reached"
FINALLY_LATE = "PipelineRun Finally timeout has been reached"
CANCELLED = "Cancelled"
TIMEOUT = "PipelineRunTimeout"
INVALID_RESULT = "InvalidTaskResultReference"  # of a task that a result was missing for
INVALID = "PipelineValidationFailed"
