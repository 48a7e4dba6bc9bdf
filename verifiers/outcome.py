"""Outcome reward models: one number for a whole conversation, read at its end.

They are classifiers of sequences: a linear layer on the last hidden state of the question and the solution in the
model's own chat format. A partial solution is scored as if it ended there, so that the closing tokens of its turn are
new each time; all before them the engine's prefix cache has.
"""

from __future__ import annotations

import hashlib
import math
from array import array
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any

from ponder.errors import UserError
from ponder.types import Cost, Score, Trace
from ponder.verifiers.memory import Memory
from ponder.verifiers.prm import ENGINES
from ponder.verifiers.rewards import Head, Request, bill, tokenizer_of

_QUESTION, _ANSWER = "ponderquestionslot", "ponderanswerslot"


class OutcomeRewardModel:
    """Scores a solution with an outcome reward model; higher is better, and no bounds are known.

    One label: its logit is the reward, as in models of pairwise preferences (Skywork-Reward, arXiv:2410.18451). Several
    labels (objectives, as in ArmoRM, arXiv:2406.12845): the reward is their weighted sum. A trace without text scores
    `neutral`. There are no step scores.

    Args:
        model: a checkpoint folder or a hub name of a ...ForSequenceClassification model with a chat template.
        engine: "vllm", "server" or "transformers", as of `ponder.verifiers.prm.ProcessRewardModel`.
        system: the system message; None sends none, and the chat template may have its own.
        weights: one number a label; needed where a model has several.
        neutral: score of a trace without text.
        dtype: as of vLLM; None is float32 on a CPU, "auto" elsewhere. With transformers None is float32.
        options: of the engine.
        memory: how many rewards are kept.

    Raises:
        UserError: an argument or an engine option is not one that is allowed.
    """

    def __init__(
        self,
        model: str,
        engine: str = "vllm",
        system: str | None = None,
        weights: Sequence[float] | None = None,
        neutral: float = 0.0,
        dtype: str | None = None,
        options: Mapping[str, Any] | None = None,
        memory: int = 200_000,
    ) -> None:
        if engine not in ENGINES:
            raise UserError(f"verifier.engine={engine!r} is unknown", f"Allowed: {', '.join(ENGINES)}")
        if weights is not None and not (len(weights) and all(map(math.isfinite, weights))):
            raise UserError(f"verifier.weights={list(weights)} is not allowed", "Allowed: one finite number a label")
        if not math.isfinite(neutral):
            raise UserError(f"verifier.neutral={neutral} is not allowed", "Allowed: a finite number")
        self.model = str(model)
        self.system = system
        self.weights = None if weights is None else [float(weight) for weight in weights]
        self.neutral = float(neutral)
        self._engine = ENGINES[engine](self.model, dtype, dict(options or {}), head=Head("labels"))
        self._rewards: Memory[bytes, float] = Memory(memory)
        self._heads: Memory[str, str] = Memory(10_000)

    async def score(self, traces: Sequence[Trace]) -> list[Score]:
        """One `Score` a trace, without steps, and what it cost.

        Raises:
            VerifierError: the engine failed, or a trace does not fit the model's context.
            UserError: the model has several labels and `weights` has not as many numbers.
        """
        laid = {trace: self._lay(trace) for trace in traces if trace.text.strip()}
        known = {lay.key: self._rewards[lay.key] for lay in laid.values() if lay.key in self._rewards}
        asked: dict[bytes, Trace] = {}
        for trace, lay in laid.items():
            if lay.key not in known:
                asked.setdefault(lay.key, trace)
        answers = await self._engine.logits([laid[trace].request for trace in asked.values()])
        costs: dict[Trace, Cost] = {}
        for (key, trace), answer in zip(asked.items(), answers, strict=True):
            known[key] = self._reward(answer.rows[0])
            costs[trace] = bill(self._engine, answer)
        for key, value in known.items():
            self._rewards[key] = value
        return [
            Score(known[laid[trace].key] if trace in laid else self.neutral, (), costs.pop(trace, Cost()))
            for trace in traces
        ]

    def quote(self, trace: Trace) -> Cost:
        """The most that scoring this trace can cost: nothing known, nothing cached."""
        tokens = len(self._lay(trace).request.ids) if trace.text.strip() else 0
        return Cost(verifier_tokens=tokens, flops=self._engine.flops(tokens, 0))

    def close(self) -> None:
        """Stops this verifier's engines."""
        self._engine.close()

    def _reward(self, logits: Sequence[float]) -> float:
        weights = self.weights if self.weights is not None else [1.0]
        if len(weights) != len(logits):
            raise UserError(
                f"verifier.weights={self.weights}: {self.model} has {len(logits)} labels",
                "Give one number a label, in the order of the model's labels.",
            )
        return math.fsum(weight * logit for weight, logit in zip(weights, logits, strict=True))

    def _lay(self, trace: Trace) -> _Layout:
        """The conversation as the model's chat template writes it; special tokens' names in it are plain text.

        The whole is encoded at once, so that tokens are those of the model's own use. Cuts lie before the last word of
        each step: what follows may change its last tokens, and a template may trim its last white space.
        """
        question, answer = trace.problem.prompt, trace.text
        head = self._head(question)
        if any(name in text for name in self._names for text in (question, answer)):
            between, trims = self._parts
            texts = [text.strip() if trims else text for text in (question, answer)]
            pieces = [(between[0], True), (texts[0], False), (between[1], True), (texts[1], False), (between[2], True)]
        else:
            pieces = [(self._rendered(question, answer), True)]
        ids: list[int] = []
        ends: list[int] = []
        before = 0
        for text, special in pieces:
            found = self._tokenizer(
                text, add_special_tokens=False, split_special_tokens=not special, return_offsets_mapping=True
            )
            ids += found["input_ids"]
            ends += [before + end for _, end in found["offset_mapping"]]
            before += len(text)
        whole = "".join(text for text, _ in pieces)
        start = whole.find(answer.strip(), min(len(head), len(whole)))
        lead = len(answer) - len(answer.lstrip())
        stops = [len(head)]
        if start >= 0:  # else the template has changed the answer
            for end in accumulate(len(step.text) for step in trace.steps):
                bare = answer[:end].rstrip()
                if bare:
                    stops.append(start - lead + len(bare) - len(bare.rsplit(None, 1)[-1]))
        cuts = sorted({bisect_right(ends, stop) for stop in stops} - {0})
        digest = hashlib.blake2b(array("q", ids).tobytes(), digest_size=16).digest()
        return _Layout(Request(ids, [len(ids) - 1], cuts), digest)

    def _head(self, question: str) -> str:
        """What stands before the answer."""
        if question not in self._heads:
            self._heads[question] = self._rendered(question, _ANSWER).split(_ANSWER)[0]
        return self._heads[question]

    @cached_property
    def _parts(self) -> tuple[list[str], bool]:
        """The template's texts before, between and after question and answer, and whether it trims these."""
        text = self._rendered(f" {_QUESTION} ", f" {_ANSWER} ")
        trims = f" {_ANSWER} " not in text
        first, rest = text.split(_QUESTION if trims else f" {_QUESTION} ")
        return [first, *rest.split(_ANSWER if trims else f" {_ANSWER} ")], trims

    def _rendered(self, question: str, answer: str) -> str:
        if not self._tokenizer.chat_template:
            raise UserError(
                f"verifier.model={self.model!r}: its tokenizer has no chat template",
                "An outcome reward model is read in its own chat format.",
            )
        messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        if self.system is not None:
            messages.insert(0, {"role": "system", "content": self.system})
        try:
            text: str = self._tokenizer.apply_chat_template(messages, tokenize=False)
        except Exception as error:
            raise UserError(
                f"verifier.system={self.system!r}: the chat template of {self.model} refuses: {error}",
                "Some templates take no system message: set verifier.system=null.",
            ) from error
        return text

    @cached_property
    def _names(self) -> list[str]:
        """Special tokens' names. Other added tokens (<think>, say) are words like any: the template knows them."""
        return [str(token) for token in self._tokenizer.added_tokens_decoder.values() if token.special]

    @cached_property
    def _tokenizer(self) -> Any:
        return tokenizer_of(self.model)


@dataclass(frozen=True, slots=True)
class _Layout:
    """A conversation as token ids, and a digest of these."""

    request: Request
    key: bytes
