"""How each family of process reward models reads a solution: one row of `FAMILIES` a family.

A family says how a trace becomes token ids, where its score is read, and how logits become a score. Marks are placed as
token ids at known offsets, therefore no text of a question or an answer can add, move or hide one. Question, steps and
marks are encoded apart, so that traces of one question share their first ids.
"""

from __future__ import annotations

import hashlib
import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from ponder.errors import UserError
from ponder.types import Problem, Trace

_SLOT = "ponderquestionslot"


@dataclass(frozen=True)
class Family:
    r"""How one family of reward models reads a solution.

    Attributes:
        form: "chat": the chat template up to the assistant's turn, then steps, a mark after each; "plain": the bare
            question, then the same; "turns": each step a user's turn that the assistant answers with the mark, and what
            is read is the position before that.
        mark: what stands after each step. In "chat" a special token; else text, whose last token is read.
        head: what is on top of the model; see `ponder.verifiers.rewards.Head`.
        words: for the head "words": what the model says of a right and of a wrong step.
        positive: the place in the logits that means "right".
        scale: "softmax": the probability of the positive place; "difference": that less the others' probability;
            "sigmoid": of a single logit.
        system: the system message; None for none.
        strip: whether white space around a step is dropped.
        begin: whether the ids start with the tokenizer's beginning-of-sequence token, if it has one. In "chat" and
            "turns" the template decides.
        close: text that ends the question.
        join: text between the question and the first step, encoded with the step.
        gap: text between a mark and the next step, encoded with the step.
        range: lowest and highest score.
    """

    form: Literal["chat", "plain", "turns"]
    mark: str
    head: Literal["process", "labels", "words", "value"]
    words: tuple[str, ...] = ()
    positive: int = 1
    scale: Literal["softmax", "difference", "sigmoid"] = "softmax"
    system: str | None = None
    strip: bool = True
    begin: bool = False
    close: str = ""
    join: str = ""
    gap: str = ""
    range: tuple[float, float] = (0.0, 1.0)

    def score(self, logits: Sequence[float]) -> float:
        """A number in `range` for the head's logits at one position.

        Raises:
            UserError: the head has another number of outputs than this family's.
        """
        if (len(logits) > 1) == (self.scale == "sigmoid") or not logits:
            raise UserError(
                f"verifier: the model's head has {len(logits)} outputs",
                "Choose the verifier.family that fits the model.",
            )
        if self.scale == "sigmoid":
            return 0.5 * (1.0 + math.tanh(0.5 * logits[0]))
        top = max(logits)
        exps = [math.exp(value - top) for value in logits]
        right = exps[self.positive] / sum(exps)
        return right if self.scale == "softmax" else 2.0 * right - 1.0


_REASON = "Please reason step by step, and put your final answer within \\boxed{}."
_WORDS = (" +", " -")

FAMILIES = {
    # Qwen/Qwen2.5-Math-PRM-7B and -72B, Qwen/Qwen2.5-Math-7B-PRM800K: arXiv 2501.07301, 2412.06559.
    "qwen": Family("chat", "<extra_0>", "process", system=_REASON),
    # The model that ponder ships: docs/embedded.md.
    "embedded": Family("chat", "<extra_0>", "process", strip=False),
    # peiyi9979/math-shepherd-mistral-7b-prm: arXiv 2312.08935. A line a step.
    "math_shepherd": Family("plain", " ки", "words", _WORDS, positive=0, begin=True, join=" ", gap="\n"),
    # RLHFlow/Llama3.1-8B-PRM-Deepseek-Data and -Mistral-Data: github.com/RLHFlow/RLHF-Reward-Modeling, math-rm.
    "rlhflow": Family("turns", "+", "words", ("+", "-"), positive=0, join=" "),
    # Skywork/Skywork-o1-Open-PRM-Qwen-2.5-1.5B and -7B: github.com/SkyworkAI/skywork-o1-prm-inference.
    "skywork": Family("plain", "\n", "value", scale="sigmoid", begin=True, close="\n"),
    # openreasoner/Math-psa, merged into its base: OpenR, arXiv 2410.09671.
    "math_psa": Family("plain", " \n\n\n\n\n", "words", _WORDS, positive=0, join=" ", gap=" "),
    # What TRL's PRMTrainer makes, such as HuggingFaceH4/Qwen2.5-Math-7B-Instruct-PRM-0.2: github.com/huggingface/trl.
    "trl": Family("plain", "\n\n", "labels", begin=True),
    # jinachris/PURE-PRM-7B: arXiv 2504.15275. Trained with TRL, read as a difference.
    "pure": Family("plain", "\n", "labels", scale="difference", range=(-1.0, 1.0)),
}
"""Name in yaml to family. A new one is a new row."""


@dataclass(frozen=True, slots=True)
class Layout:
    """A trace as token ids.

    Attributes:
        ids: prompt, then steps, a mark after each.
        ends: for each step that has text, how many ids go up to and with the position where its score is read.
        keys: for each of these, a digest of these ids.
        cuts: numbers of ids up to which other traces may be the same: the prompt's, and `ends`.
        slots: for each step, the place in `ends` that scores it; -1 for none.
    """

    ids: list[int]
    ends: list[int]
    keys: list[bytes]
    cuts: list[int]
    slots: list[int]


class Layouts:
    """Lays traces out for one model.

    Args:
        family: how the model reads.
        tokenizer: the model's, of transformers.
        model: its name, for errors.
    """

    def __init__(self, family: Family, tokenizer: Any, model: str) -> None:
        self.family = family
        self.tokenizer = tokenizer
        self.model = model
        self._prompts: dict[str, list[int]] = {}

    def of(self, trace: Trace, whole: bool = False) -> Layout:
        """Token ids of a trace with a mark after each step that has text.

        Args:
            trace: the solution so far.
            whole: lays out all of its text as one step.

        Raises:
            UserError: the tokenizer does not fit the family.
        """
        family, (before, after) = self.family, self._frame
        ids = list(self._prompt(trace.problem))
        digest = hashlib.blake2b(array("q", ids).tobytes(), digest_size=16)
        start = len(ids)
        ends: list[int] = []
        keys: list[bytes] = []
        slots: list[int] = []
        for text in [trace.text] if whole else [step.text for step in trace.steps]:
            text = text.strip() if family.strip else text
            if text:
                lead = family.gap if ends else family.join
                new = [*(before if ends else ()), *self._encode(lead + text), *after]
                ids += new
                digest.update(array("q", new).tobytes())
                ends.append(len(ids))
                keys.append(digest.copy().digest())
            slots.append(len(ends) - 1)
        return Layout(ids, ends, keys, [start, *ends], slots)

    @cached_property
    def words(self) -> tuple[int, ...]:
        """Token ids of the family's words: their last tokens."""
        found = tuple(self._encode(word)[-1] for word in self.family.words)
        if len(set(found)) < len(found):
            raise self._misfit(f"does not tell {' from '.join(map(repr, self.family.words))}")
        return found

    @cached_property
    def mark(self) -> list[int]:
        """Token ids of the mark; those of a special token are one."""
        if self.family.form != "chat":
            return self._encode(self.family.mark)
        found = self.tokenizer.get_added_vocab().get(self.family.mark)
        if found is None:
            raise self._misfit(f"has no step mark {self.family.mark!r}")
        return [int(found)]

    @cached_property
    def _frame(self) -> tuple[list[int], list[int]]:
        """Ids between a read position and the next step, and those between a step and its read position."""
        if self.family.form != "turns":
            return [], self.mark
        _, to_answer, to_step, *_ = self._turns
        return [*self.mark, *to_step], to_answer

    @cached_property
    def _turns(self) -> list[list[int]]:
        """Ids before a user's words, between these and the assistant's, between those and a user's, and so on."""
        messages = [{"role": role, "content": _SLOT} for role in ("user", "assistant", "user", "assistant")]
        parts = self._rendered(messages).split(_SLOT)
        if len(parts) != 5 or parts[1] != parts[3]:
            raise self._misfit("has a chat template that does not show each turn as it is")
        return [self.tokenizer.encode(part, add_special_tokens=False) for part in parts]

    def _prompt(self, problem: Problem) -> Sequence[int]:
        known = self._prompts.get(problem.prompt)
        if known is None:
            known = self._prompts[problem.prompt] = self._asked(problem.prompt)
        return known

    def _asked(self, question: str) -> list[int]:
        """Ids up to the first step; special tokens' names within the question are plain text."""
        tokenizer, family = self.tokenizer, self.family
        if family.form == "turns":
            return [*self._turns[0], *self._plain(question.lstrip())]
        if family.form == "plain":
            begin = tokenizer.bos_token_id if family.begin else None
            return [*([] if begin is None else [int(begin)]), *self._plain(question + family.close)]
        odd = any(name in question for name in tokenizer.get_added_vocab())
        messages = [{"role": "user", "content": _SLOT if odd else question}]
        if family.system is not None:
            messages.insert(0, {"role": "system", "content": family.system})
        head, *tail = self._rendered(messages, answer=True).split(_SLOT) if odd else [self._rendered(messages, True)]
        ids: list[int] = tokenizer.encode(head, add_special_tokens=False)
        return ids + (self._plain(question) + tokenizer.encode(tail[0], add_special_tokens=False) if odd else [])

    def _rendered(self, messages: list[dict[str, str]], answer: bool = False) -> str:
        if not self.tokenizer.chat_template:
            raise self._misfit("has no chat template")
        text: str = self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=answer)
        return text

    def _plain(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)
        return ids

    def _encode(self, text: str) -> list[int]:
        """Ids of text within a solution: without the blank that sentencepiece puts before a text of its own."""
        ids = self._plain(self._anchor + text)
        skip = self._plain(self._anchor) if self._anchor else []
        return ids[len(skip) :] if ids[: len(skip)] == skip else self._plain(text)

    @cached_property
    def _anchor(self) -> str:
        first = self.tokenizer.convert_ids_to_tokens(self._plain("a"))[0]
        return "\n" if first.startswith("\u2581") else ""

    def _misfit(self, what: str) -> UserError:
        return UserError(
            f"verifier.model={self.model!r}: its tokenizer {what}", "Choose the verifier.family that fits the model."
        )
