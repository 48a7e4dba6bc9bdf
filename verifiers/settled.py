"""A solution with second thoughts, shown to a verifier as it stands in the end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ponder.errors import UserError
from ponder.types import Floats, Score, Trace
from ponder.verifiers.ensemble import Ensemble


class Settled(Ensemble):
    """A verifier that reads what a solution comes to: what it took back is left out before it looks.

    Reward models are trained on solutions in one go; of one that corrects itself they would judge the mistake. The task
    knows what takes back what: its `settled(trace)` gives the solution as it stands. There are no step scores, since
    the steps read are not those of the trace.

    Args:
        verifier: any verifier.
        task: the benchmark, with `settled`.

    Raises:
        UserError: no verifier, or the task knows of no second thoughts.
    """

    stepwise = False

    def __init__(self, verifier: Any, task: Any) -> None:
        super().__init__({"verifier.verifier": verifier})
        if not callable(getattr(task, "settled", None)):
            raise UserError(
                f"verifier.task={type(task).__name__} does not tell what a solution took back",
                "give it `settled(trace) -> Trace`, as task=arithmetic has it, or use the inner verifier itself",
            )
        self.task = task

    def combined(self, scores: Floats) -> Floats:
        """The verifier's own scores."""
        return np.asarray(scores[0], dtype=np.float64)

    def quote(self, asked: Trace | Sequence[Trace]) -> Any:
        """The most that scoring can cost."""
        traces = [asked] if isinstance(asked, Trace) else asked
        return super().quote([self.task.settled(trace) for trace in traces])

    async def _scored(self, traces: Sequence[Trace]) -> list[Score]:
        return await super()._scored([self.task.settled(trace) for trace in traces])
