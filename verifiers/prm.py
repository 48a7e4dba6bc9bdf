"""Process reward models: one score a step, at linear cost.

A causal model's score of a step does not depend on what follows. So a step's score is kept
once known, and a trace that grew by one step costs the tokens of that step: the engine's
prefix cache has the rest. How each family reads a solution: `ponder.verifiers.families`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

from ponder.errors import UserError, VerifierError
from ponder.types import Cost, Score, Trace
from ponder.verifiers.families import FAMILIES, Layout, Layouts
from ponder.verifiers.memory import Memory
from ponder.verifiers.prm_server import ServerRewards
from ponder.verifiers.prm_transformers import TransformersRewards
from ponder.verifiers.prm_vllm import VLLMRewards
from ponder.verifiers.reduce import reduction as reduction_named
from ponder.verifiers.rewards import Head, Request, Rewards, bill, tokenizer_of

ENGINES: dict[str, Callable[..., Rewards]] = {
    "vllm": VLLMRewards,
    "server": ServerRewards,
    "transformers": TransformersRewards,
}


class ProcessRewardModel:
    """Scores each step of a trace with a process reward model.

    A trace without steps scores `neutral`; so does an empty step at the beginning. A later
    empty step (an end-of-sequence token alone) takes the score of the step before it.

    Args:
        model: a checkpoint folder or a hub name.
        family: how the model reads: a row of `ponder.verifiers.families.FAMILIES`.
        engine: "vllm", in this process; "server", a vLLM server elsewhere (its prefix cache is out of reach: whole
            prefixes are computed again); or "transformers".
        reduction: how step scores become one: last, min, prod, mean; or "whole", which scores
            the whole solution as a single step and gives no step scores.
        mark: what stands after each step; None is the family's. For models of TRL: the separator of their training.
        system: the system message; "default" is the family's, None sends none.
        strip: whether white space around steps is dropped; None is the family's habit.
        neutral: score of a trace without steps.
        dtype: as of vLLM; None is float32 on a CPU, "auto" elsewhere. A server has its own.
        options: of the engine. With vllm any option of AsyncEngineArgs; for the others see `TransformersRewards` and
            `ServerRewards`.
        memory: how many step scores are kept.

    Raises:
        UserError: an argument or an engine option is not one that is allowed.
    """

    def __init__(
        self,
        model: str,
        family: str = "qwen",
        engine: str = "vllm",
        reduction: str = "last",
        mark: str | None = None,
        system: str | None = "default",
        strip: bool | None = None,
        neutral: float = 0.5,
        dtype: str | None = None,
        options: Mapping[str, Any] | None = None,
        memory: int = 200_000,
    ) -> None:
        if family not in FAMILIES:
            raise UserError(f"verifier.family={family!r} is unknown", f"Allowed: {', '.join(FAMILIES)}")
        if engine not in ENGINES:
            raise UserError(f"verifier.engine={engine!r} is unknown", f"Allowed: {', '.join(ENGINES)}")
        if mark == "":
            raise UserError("verifier.mark='' is no mark", "Allowed: any text, or null for the family's.")
        kind = FAMILIES[family]
        low, high = self.range = kind.range
        if not low <= neutral <= high:
            raise UserError(f"verifier.neutral={neutral} is out of range", f"Allowed: a number in [{low:g}, {high:g}]")
        self.model = str(model)
        self.family = replace(
            kind,
            mark=kind.mark if mark is None else mark,
            system=kind.system if system == "default" else system,
            strip=kind.strip if strip is None else strip,
        )
        self.whole = reduction == "whole"
        self.neutral = neutral
        self._reduce = reduction_named("last" if self.whole else reduction)
        self._open = partial(ENGINES[engine], self.model, dtype, dict(options or {}))
        self._open(head=Head(kind.head))  # a wrong option is seen now, not at the first score
        self._scores: Memory[bytes, float] = Memory(memory)

    async def score(self, traces: Sequence[Trace]) -> list[Score]:
        """One `Score` a trace: the reduced value, all step scores, and what they cost.

        Raises:
            VerifierError: the engine failed, or a trace does not fit the model's context.
        """
        laid = {trace: self._lay(trace) for trace in traces}
        wanted = {
            trace: [i for i, key in enumerate(lay.keys) if key not in self._scores] for trace, lay in laid.items()
        }
        asked = {trace: unknown for trace, unknown in wanted.items() if unknown}
        known = {key: self._scores[key] for lay in laid.values() for key in lay.keys if key in self._scores}
        answers = await self._engine.logits([_request(laid[trace], unknown) for trace, unknown in asked.items()])
        costs: dict[Trace, Cost] = {}
        for (trace, unknown), answer in zip(asked.items(), answers, strict=True):
            for i, row in zip(unknown, answer.rows, strict=True):
                known[laid[trace].keys[i]] = self.family.score(row)
            costs[trace] = bill(self._engine, answer)
        for key, value in known.items():
            self._scores[key] = value
        return [self._score(trace, laid[trace], known, costs.pop(trace, Cost())) for trace in traces]

    def quote(self, trace: Trace) -> Cost:
        """The most that scoring this trace can cost: nothing known, nothing cached."""
        tokens = len(self._lay(trace).ids)
        return Cost(verifier_tokens=tokens, flops=self._engine.flops(tokens, 0))

    def close(self) -> None:
        """Stops this verifier's engines."""
        if "_engine" in self.__dict__:
            self._engine.close()

    def _score(self, trace: Trace, lay: Layout, known: Mapping[bytes, float], cost: Cost) -> Score:
        marks = [known[key] for key in lay.keys]
        if self.whole:
            return Score(marks[-1] if marks else self.neutral, (), cost)
        steps = [marks[slot] if slot >= 0 else self.neutral for slot in lay.slots]
        if len(steps) != len(trace.steps):
            raise VerifierError(f"{self.model}: {len(steps)} scores for {len(trace.steps)} steps")
        return Score(self._reduce(steps) if steps else self.neutral, steps, cost)

    def _lay(self, trace: Trace) -> Layout:
        return self._layouts.of(trace, self.whole)

    @cached_property
    def _engine(self) -> Rewards:
        return self._open(head=Head(self.family.head, self._layouts.words))

    @cached_property
    def _layouts(self) -> Layouts:
        return Layouts(self.family, tokenizer_of(self.model), self.model)


def _request(lay: Layout, unknown: Sequence[int]) -> Request:
    """Asks for the unknown steps' logits: ids up to the last of them."""
    end = lay.ends[unknown[-1]]
    return Request(lay.ids[:end], [lay.ends[i] - 1 for i in unknown], [cut for cut in lay.cuts if cut <= end])
