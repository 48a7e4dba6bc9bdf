"""How sure a model was of what it wrote, from the log-probabilities of its own tokens."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ponder.errors import UserError
from ponder.protocols import Picking
from ponder.types import Floats, Step, Trace

TOP = 20
"""How many likeliest tokens confidence looks at (DeepConf's k; also vLLM's default limit)."""

TELLING = Picking(top_logprobs=TOP)
"""Asks a sampler for what `confidences` needs."""


def mean_logprob(steps: Step | Trace | Sequence[Step]) -> float:
    """Mean log-probability of all tokens of a step, of several, or of a trace, in nats; 0 without tokens.

    Raises:
        UserError: the sampler gave no log-probabilities.
    """
    several = (steps,) if isinstance(steps, Step) else steps.steps if isinstance(steps, Trace) else steps
    return sum_logprob(several) / max(1, sum(len(step.token_ids) for step in several))


def sum_logprob(steps: Sequence[Step]) -> float:
    """Log-probability of all tokens of some steps together, in nats.

    Raises:
        UserError: the sampler gave no log-probabilities.
    """
    for step in steps:
        if len(step.logprobs) != len(step.token_ids):
            raise UserError(
                "this strategy needs the log-probability of each token, which the sampler does not give",
                "sampler=vllm and sampler=hf give them",
            )
    return float(sum(sum(step.logprobs) for step in steps))


def confidences(trace: Trace) -> Floats:
    """Confidence at each token: minus the mean log-probability of the likeliest tokens there (arXiv 2508.15260).

    High where one token takes all, so that the others are very unlikely; low where many are about as likely.

    Args:
        trace: drawn with `picking=TELLING`.

    Returns:
        Shape (tokens,), from 0.

    Raises:
        UserError: the sampler gave no log-probabilities of the likeliest tokens.
    """
    tops = [top for step in trace.steps for top in step.top_logprobs]
    if len(tops) != len(trace.token_ids) or not all(tops):
        raise UserError(
            "this strategy needs log-probabilities of the likeliest tokens, which the sampler does not give",
            "sampler=vllm and sampler=hf give them",
        )
    if len({len(top) for top in tops}) == 1:
        return np.asarray(-np.array(tops, dtype=np.float64).mean(axis=1), dtype=np.float64)
    return np.array([-np.mean(top) for top in tops], dtype=np.float64)
