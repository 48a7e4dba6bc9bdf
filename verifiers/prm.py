"""Process reward models: one score a step, at linear cost.

A causal model's score of a step does not depend on what follows. So a step's score is kept
once known, and a trace that grew by one step costs the tokens of that step: the engine's
prefix cache has the rest. Marks are placed as token ids at known offsets, therefore no text
of a question or an answer can add, move or hide one.
"""

from __future__ import annotations

import hashlib
import math
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from ponder.errors import UserError, VerifierError
from ponder.types import Cost, Problem, Score, Trace
from ponder.verifiers.memory import Memory
from ponder.verifiers.prm_transformers import TransformersRewards
from ponder.verifiers.prm_vllm import VLLMRewards
from ponder.verifiers.reduce import reduction as reduction_named
from ponder.verifiers.rewards import Request, Rewards

_SLOT = "ponderquestionslot"


@dataclass(frozen=True)
class Family:
    """How one family of reward models reads a solution.

    Attributes:
        mark: the special token after each step, where the score is read.
        system: the system message; None for none.
        strip: whether white space around a step is dropped.
        positive: the label that means "right".
        range: lowest and highest score.
    """

    mark: str
    system: str | None
    strip: bool
    positive: int = 1
    range: tuple[float, float] = (0.0, 1.0)

    def score(self, logits: Sequence[float]) -> float:
        """Softmax over the labels, at the positive one."""
        top = max(logits)
        exps = [math.exp(value - top) for value in logits]
        return exps[self.positive] / sum(exps)


FAMILIES = {
    "qwen": Family("<extra_0>", "Please reason step by step, and put your final answer within \\boxed{}.", strip=True),
    "embedded": Family("<extra_0>", None, strip=False),
}


class ProcessRewardModel:
    """Scores each step of a trace with a process reward model.

    A trace without steps scores `neutral`; so does an empty step at the beginning. A later
    empty step (an end-of-sequence token alone) takes the score of the step before it.

    Args:
        model: a checkpoint folder or a hub name.
        family: "qwen" (Qwen2.5-Math-PRM-7B, -72B, -7B-PRM800K) or "embedded".
        engine: "vllm", or "transformers" (no prefix cache: whole prefixes are computed again).
        reduction: how step scores become one: last, min, prod, mean; or "whole", which scores
            the whole solution as a single step and gives no step scores.
        system: the system message; "default" is the family's, None sends none.
        strip: whether white space around steps is dropped; None is the family's habit.
        neutral: score of a trace without steps.
        dtype: as of vLLM; None is float32 on a CPU, "auto" elsewhere.
        options: with vllm, any option of AsyncEngineArgs; with transformers, device and batch_size.
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
        system: str | None = "default",
        strip: bool | None = None,
        neutral: float = 0.5,
        dtype: str | None = None,
        options: Mapping[str, Any] | None = None,
        memory: int = 200_000,
    ) -> None:
        engines: dict[str, Callable[..., Rewards]] = {
            "vllm": VLLMRewards,
            "transformers": TransformersRewards,
        }
        if family not in FAMILIES:
            raise UserError(f"verifier.family={family!r} is unknown", f"Allowed: {', '.join(FAMILIES)}")
        if engine not in engines:
            raise UserError(f"verifier.engine={engine!r} is unknown", f"Allowed: {', '.join(engines)}")
        self.model = str(model)
        kind = FAMILIES[family]
        self.family = replace(
            kind, system=kind.system if system == "default" else system, strip=kind.strip if strip is None else strip
        )
        self.range = self.family.range
        self.whole = reduction == "whole"
        self.neutral = neutral
        self._reduce = reduction_named("last" if self.whole else reduction)
        self._engine = engines[engine](self.model, dtype, options or {})
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
        answers = await self._engine.logits(
            [
                Request(laid[trace].ids[: laid[trace].ends[unknown[-1]]], [laid[trace].ends[i] - 1 for i in unknown])
                for trace, unknown in asked.items()
            ]
        )
        costs: dict[Trace, Cost] = {}
        for (trace, unknown), answer in zip(asked.items(), answers, strict=True):
            for i, row in zip(unknown, answer.rows, strict=True):
                known[laid[trace].keys[i]] = self.family.score(row)
            flops = self._engine.flops(answer.computed, answer.cached)
            costs[trace] = Cost(verifier_tokens=answer.computed, verifier_cached_tokens=answer.cached, flops=flops)
        for key, value in known.items():
            self._scores[key] = value
        return [self._score(trace, laid[trace], known, costs.pop(trace, Cost())) for trace in traces]

    def quote(self, trace: Trace) -> Cost:
        """The most that scoring this trace can cost: nothing known, nothing cached."""
        tokens = len(self._lay(trace).ids)
        return Cost(verifier_tokens=tokens, flops=self._engine.flops(tokens, 0))

    def close(self) -> None:
        """Stops this verifier's engines."""
        self._engine.close()

    def _score(self, trace: Trace, lay: _Layout, known: Mapping[bytes, float], cost: Cost) -> Score:
        marks = [known[key] for key in lay.keys]
        if self.whole:
            return Score(marks[-1] if marks else self.neutral, (), cost)
        steps = [marks[slot] if slot >= 0 else self.neutral for slot in lay.slots]
        if len(steps) != len(trace.steps):
            raise VerifierError(f"{self.model}: {len(steps)} scores for {len(trace.steps)} steps")
        return Score(self._reduce(steps) if steps else self.neutral, steps, cost)

    def _lay(self, trace: Trace) -> _Layout:
        """Token ids of a trace with a mark after each step that has text."""
        ids = list(self._prompt(trace.problem))
        digest = hashlib.blake2b(array("q", ids).tobytes(), digest_size=16)
        ends: list[int] = []
        keys: list[bytes] = []
        slots: list[int] = []
        texts = [trace.text] if self.whole else [step.text for step in trace.steps]
        for text in texts:
            text = text.strip() if self.family.strip else text
            if text:
                new = [*self._tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True), self._mark]
                ids += new
                digest.update(array("q", new).tobytes())
                ends.append(len(ids))
                keys.append(digest.copy().digest())
            slots.append(len(ends) - 1)
        return _Layout(ids, ends, keys, slots)

    def _prompt(self, problem: Problem) -> Sequence[int]:
        """Ids up to the assistant's turn; special tokens' names within the question are plain text."""
        known = self._prompts.get(problem.prompt)
        if known is None:
            tokenizer = self._tokenizer
            odd = any(name in problem.prompt for name in tokenizer.get_added_vocab())
            messages = [{"role": "user", "content": _SLOT if odd else problem.prompt}]
            if self.family.system is not None:
                messages.insert(0, {"role": "system", "content": self.family.system})
            text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
            head, *tail = text.split(_SLOT) if odd else [text]
            known = tokenizer.encode(head, add_special_tokens=False)
            if odd:
                known += tokenizer.encode(problem.prompt, add_special_tokens=False, split_special_tokens=True)
                known += tokenizer.encode(tail[0], add_special_tokens=False)
            self._prompts[problem.prompt] = known
        return known

    @cached_property
    def _prompts(self) -> dict[str, list[int]]:
        return {}

    @cached_property
    def _tokenizer(self) -> Any:
        from transformers import AutoTokenizer, PreTrainedTokenizerFast
        from transformers.models.auto.tokenization_auto import get_tokenizer_config

        # For Qwen2 models AutoTokenizer of transformers 5 puts a byte-level tokenizer in place of a generic stored one.
        generic = get_tokenizer_config(self.model).get("tokenizer_class") == "PreTrainedTokenizerFast"
        return (PreTrainedTokenizerFast if generic else AutoTokenizer).from_pretrained(self.model)

    @cached_property
    def _mark(self) -> int:
        found = self._tokenizer.get_added_vocab().get(self.family.mark)
        if found is None:
            raise UserError(
                f"verifier.model={self.model!r}: its tokenizer has no step mark {self.family.mark!r}",
                "Choose the verifier.family that fits the model.",
            )
        return int(found)


@dataclass(frozen=True, slots=True)
class _Layout:
    """A trace as token ids.

    Attributes:
        ids: prompt, then steps, a mark after each.
        ends: for each mark, how many ids go up to and with it.
        keys: for each mark, a digest of these ids.
        slots: for each step, the number of the mark that scores it; -1 for none.
    """

    ids: list[int]
    ends: list[int]
    keys: list[bytes]
    slots: list[int]
