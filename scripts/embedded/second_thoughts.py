"""Measures the reviser on held-out problems: how often it is right after second thoughts, and what it questions."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from transformers import Qwen2ForCausalLM

from ponder.scripts.embedded import models, vocabulary
from ponder.scripts.embedded.mistakes import LETTER_OF, gold_steps, prompt_ids, split
from ponder.tasks.arithmetic import Arithmetic, Chain, settled
from ponder.types import Problem, Step, Trace

ASK = [vocabulary.ID[vocabulary.STEP_END], vocabulary.ID["?"]]
EOS = vocabulary.ID[vocabulary.EOS]
LONGEST = 480
TOKENS = vocabulary.build()


@dataclass
class Thought:
    """One solution that is told to think again and again.

    Attributes:
        chain: its problem.
        problem: which one that is.
        ids: everything so far, prompt and <eos> included.
        right: whether the box was right, after each round.
    """

    chain: Chain
    problem: int
    ids: list[int]
    right: list[bool]

    def first_wrong(self) -> int | None:
        """The first line, as the solution stands, that is not the right solution's, None if all are."""
        written = TOKENS.decode(self.ids[len(prompt_ids(self.chain)) :]).removesuffix(vocabulary.EOS)
        stands = settled(Trace(Problem("", self.chain.prompt), (Step(written),))).text
        pairs = zip(stands.split(vocabulary.STEP_END), self.chain.solution.split(vocabulary.STEP_END), strict=False)
        return next((k for k, (line, gold) in enumerate(pairs) if line != gold), None)


def report(folder: Path, log: logging.Logger, level: int = 3, problems: int = 200, samples: int = 8) -> None:
    """Logs accuracy after each of four rounds with 95 % intervals over problems, and what the first round does."""
    reviser, policy = (models.load_policy(folder / name) for name in ("reviser", "policy"))
    found = [Chain.parse(p.prompt) for p in Arithmetic(level=level, limit=problems, seed=7001).problems()]
    chains = [chain for chain in found if chain is not None]
    first = _accuracy(_solutions(policy, chains, samples), 0)
    log.info("policy, level %d, %d problems x %d samples: %s", level, problems, samples, first)
    thoughts = _solutions(reviser, chains, samples)
    log.info("reviser, the same: %s", _accuracy(thoughts, 0))
    for number in range(1, 5):
        before = [(thought.first_wrong(), thought.right[-1]) for thought in thoughts]
        named = _again(reviser, thoughts, number)
        wrong = [(at, name) for (at, _), name in zip(before, named, strict=True) if at is not None and name is not None]
        seen = np.mean([at == name for at, name in wrong])
        lengths = np.mean([len(thought.ids) for thought in thoughts])
        mended = np.mean([t.right[-1] for t, (_, right) in zip(thoughts, before, strict=True) if not right])
        broken = np.mean([not t.right[-1] for t, (_, right) in zip(thoughts, before, strict=True) if right])
        log.info(
            "  told %d times: %s; names the first wrong step %.3f of the time, mends %.3f of wrong ones, breaks %.3f "
            "of right ones, %.0f tokens with the prompt",
            number, _accuracy(thoughts, -1), seen, mended, broken, lengths,
        )  # fmt: skip


def _solutions(model: Qwen2ForCausalLM, chains: list[Chain], samples: int) -> list[Thought]:
    prompts = [prompt_ids(chain) for chain in chains]
    drawn = models.sample(model, torch.tensor(prompts), samples, 60, 77)
    thoughts = []
    for number, (chain, prompt, part) in enumerate(zip(chains, prompts, drawn, strict=True)):
        for tokens in part:
            right = split(tokens)[-1:] == gold_steps(chain)[-1:]
            thoughts.append(Thought(chain, number, [*prompt, *tokens], [right]))
    return thoughts


def _again(model: Qwen2ForCausalLM, thoughts: list[Thought], seed: int) -> list[int | None]:
    """Tells every solution that ended to think again; the line that each questions, None where it names none."""
    named: list[int | None] = [None] * len(thoughts)
    by_length: dict[int, list[int]] = defaultdict(list)
    for k, thought in enumerate(thoughts):
        if thought.ids[-1] == EOS and len(thought.ids) < LONGEST:
            by_length[len(thought.ids)].append(k)
        thought.right.append(thought.right[-1])
    for length, which in by_length.items():
        prompts = torch.tensor([[*thoughts[k].ids[:-1], *ASK] for k in which])
        for k, (reply,) in zip(which, models.sample(model, prompts, 1, 60, 1000 * seed + length), strict=True):
            thought, lines = thoughts[k], split(reply)
            thought.ids = [*thought.ids[:-1], *ASK, *reply]
            named[k] = LETTER_OF.get(lines[0][0]) if lines else None
            thought.right[-1] = lines[-1:] == gold_steps(thought.chain)[-1:]
    return named


def _accuracy(thoughts: Iterable[Thought], at: int) -> str:
    by_problem: dict[int, list[bool]] = defaultdict(list)
    for thought in thoughts:
        by_problem[thought.problem].append(thought.right[at])
    means = [float(np.mean(of)) for of in by_problem.values()]
    return f"{100 * np.mean(means):.1f} ± {196 * np.std(means, ddof=1) / len(means) ** 0.5:.1f} % right"
