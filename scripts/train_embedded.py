"""Trains the embedded policy and process reward model from nothing, or measures the committed ones.

    python -m ponder.scripts.train_embedded                # train both, write them to --out, then measure
    python -m ponder.scripts.train_embedded --evaluate     # measure only

One base model learns true arithmetic. The policy is the base, tuned on a noisy teacher; the reward model is the base
with three more layers, tuned to tell right steps from wrong ones. Every draw is seeded. See docs/embedded.md.
"""

from __future__ import annotations

import argparse
import logging
import random
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional
from transformers import Qwen2ForCausalLM

from ponder.scripts.embedded import evaluate, models, revisions, second_thoughts, vocabulary
from ponder.scripts.embedded.data import Chains, Ints, lesson
from ponder.scripts.embedded.mistakes import Labelled, corrupt, drill, gold_steps, label, split
from ponder.tasks.arithmetic import Chain

WEIGHTS = Path(__file__).resolve().parent.parent / "tasks" / "embedded"
BATCH_TOKENS = 3072
BASE_STEPS, POLICY_STEPS, REVISER_STEPS = 2000, 700, 2000
# The draft is taught for a shorter time, or it would be as good as the policy: the task is small.
DRAFT_BASE_STEPS, DRAFT_STEPS = 850, 250
DRILL_STEPS = 400
ROUNDS = ((2500, 1.0), (1200, 0.6), (800, 0.3))  # updates and learning-rate factor; what fools it is mined between them
Curriculum = tuple[tuple[float, int], ...]
CURRICULUM: Curriculum = ((0.15, 3), (0.5, 8), (1.0, 18))  # until what part of the updates, the most operations
REVISER_CURRICULUM: Curriculum = ((0.3, 3), (0.8, 8), (1.0, 18))
ALL_LENGTHS: Curriculum = ((1.0, 18),)
SAMPLED_LENGTHS = (2, 4, 6, 6, 8, 10, 13, 16)

Source = Callable[[random.Random], Labelled]
Lesson = Callable[[np.random.Generator, int, int], tuple[Ints, NDArray[np.float32]]]
CLEAN, NOISY = partial(lesson, clean=True), partial(lesson, clean=False)

log = logging.getLogger("train_embedded")


def train_language(
    model: Qwen2ForCausalLM, steps: int, lesson: Lesson, seed: int, curriculum: Curriculum, factor: float
) -> Qwen2ForCausalLM:
    """Teaches a language model a teacher's solutions.

    Args:
        model: trained in place.
        steps: number of updates.
        lesson: a teacher: batches of about so many tokens, of problems of so many operations.
        seed: of the data.
        curriculum: how long problems may be, and until when.
        factor: of the learning rates.
    """
    rng = np.random.default_rng(seed)
    optimiser = models.Muon(model)
    begin = time.monotonic()
    for step in range(steps):
        progress = step / steps
        longest = next(n for until, n in curriculum if progress < until)
        ids, weights = (torch.from_numpy(x) for x in lesson(rng, BATCH_TOKENS, int(rng.integers(1, longest + 1))))
        logits = model(input_ids=ids[:, :-1], use_cache=False).logits
        losses = functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
        weight = weights[:, 1:].flatten()
        loss = (losses * weight).sum() / weight.sum()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step(factor * _schedule(step, steps))
        if step % 100 == 0 or step == steps - 1:
            results = losses.detach()[weight > 1].mean().item()
            log.info(
                "step %d loss %.4f results %.4f seconds %.0f", step, loss.item(), results, time.monotonic() - begin
            )
    model.eval()
    return model


def _schedule(step: int, steps: int) -> float:
    return min(1.0, (step + 1) / 20, (1 - step / steps) / 0.4 + 0.02)


def draw(
    policy: Qwen2ForCausalLM, n: int, problems: int, samples: int, seed: int
) -> list[tuple[Chain, list[list[int]]]]:
    """Solutions by the policy to training problems of n operations."""
    chains = Chains.draw(np.random.default_rng(seed), problems, n)
    drawn = models.sample(policy, torch.from_numpy(chains.prompts()), samples, 7 * n + 12, seed)
    return list(zip(chains.chains(), drawn, strict=True))


def policy_rows(policy: Qwen2ForCausalLM, seed: int) -> list[Labelled]:
    """Labelled policy samples of all lengths."""
    rows = []
    for k, n in enumerate(SAMPLED_LENGTHS):
        for chain, solutions in draw(policy, n, 200, 8, seed + k):
            rows += [label(chain, split(s)) for s in solutions if split(s)]
    return rows


def mine(policy: Qwen2ForCausalLM, prm: models.RewardModel, seed: int) -> list[Labelled]:
    """Policy samples that fool the reward model: it believes a wrong one, or doubts a right one, at its last step."""
    hard = []
    for k, (n, problems) in enumerate(((4, 20), (6, 100), (10, 24), (16, 12))):
        rows = []
        for chain, solutions in draw(policy, n, problems, 64, seed + k):
            rows += [label(chain, split(s)) for s in solutions if split(s)]
        scores = models.score(prm, (row.ids for row in rows), vocabulary.ID[vocabulary.MARK])
        fooled = [row for row, steps in zip(rows, scores, strict=True) if abs(steps[-1] - row.right[-1]) > 0.2]
        believed = sum(not row.right[-1] for row in fooled)
        log.info("mined n=%d: %d of %d, %d of them wrong but believed", n, len(fooled), len(rows), believed)
        hard += fooled
    return hard


def chosen_from(rows: Sequence[Labelled]) -> Source:
    """A source that draws from these rows."""
    return lambda rng: rng.choice(rows)


def problem(rng: random.Random, lengths: Sequence[int]) -> Chain:
    """A training problem of one of these lengths."""
    n = rng.choice(lengths)
    while True:
        for chain in Chains.draw(np.random.default_rng(rng.getrandbits(32)), 1, n).chains():
            return chain


def drill_row(rng: random.Random) -> Labelled:
    """A short solution full of mistakes."""
    chain = problem(rng, (1, 1, 2, 3, 4, 6))
    return label(chain, drill(chain, rng))


def synthetic_row(rng: random.Random) -> Labelled:
    """A right or corrupted solution to a training problem, of any length."""
    chain = problem(rng, range(1, 19) if rng.random() < 0.5 else SAMPLED_LENGTHS)
    steps = gold_steps(chain) if rng.random() < 0.25 else corrupt(chain, rng)
    return label(chain, steps, stripped=rng.random() < 0.15)


def train_prm(
    prm: models.RewardModel, steps: int, pools: list[tuple[float, Source]], seed: int, factor: float
) -> models.RewardModel:
    """Teaches the reward model step labels, with the expected tokens as auxiliary tasks.

    Args:
        prm: trained in place.
        steps: number of updates.
        pools: how often to draw from which source of rows.
        seed: of the data.
        factor: of the learning rates.
    """
    prm.train()
    optimiser = models.Muon(prm)
    begin = time.monotonic()
    batches = _batches(pools, random.Random(seed))
    for step in range(steps):
        rows = next(batches)
        ids = torch.full((len(rows), max(len(row.ids) for row in rows)), vocabulary.ID[vocabulary.PAD])
        for k, row in enumerate(rows):
            ids[k, : len(row.ids)] = torch.tensor(row.ids)
        labels, local, following, carried = prm(ids)
        marks = torch.tensor([(k, at) for k, row in enumerate(rows) for at in row.marks]).T
        right = torch.tensor([r for row in rows for r in row.right])
        # Steps after the first wrong one are easy; the first wrong one is what the model is for.
        weight = torch.tensor([_weight(row.right, k) for row in rows for k in range(len(row.right))])
        losses = functional.cross_entropy(labels[marks[0], marks[1]], right.long(), reduction="none")
        main = (losses * weight).sum() / weight.sum()
        # Auxiliary: what should come next, and whether what came is that.
        line, at, token = torch.tensor([(k, at, token) for k, row in enumerate(rows) for at, token in row.expected]).T
        expectation = functional.cross_entropy(following[line, at - 1], token)
        carrying = functional.cross_entropy(carried[line, at], token)
        agrees = (ids[line, at] == token).long()
        surprise = functional.cross_entropy(local[line, at], agrees, weight=torch.tensor([5.0, 1.0]))
        total = main + surprise + 0.5 * (expectation + carrying)
        total.backward()  # type: ignore[no-untyped-call]
        optimiser.step(factor * _schedule(step, steps))
        if step % 50 == 0 or step == steps - 1:
            log.info(
                "step %d labels %.4f surprise %.4f expectation %.4f carrying %.4f seconds %.0f",
                step, main.item(), surprise.item(), expectation.item(), carrying.item(), time.monotonic() - begin,
            )  # fmt: skip
    return prm.eval()


def _weight(right: list[bool], k: int) -> float:
    if right[k]:
        return 1.0
    return 3.0 if k == 0 or right[k - 1] else 0.3


def _batches(pools: list[tuple[float, Source]], rng: random.Random) -> Iterator[list[Labelled]]:
    """Batches of rows of like length, about BATCH_TOKENS tokens each."""
    shares = [share for share, _ in pools]
    while True:
        rows = [rng.choices(pools, shares)[0][1](rng) for _ in range(2000)]
        rows.sort(key=lambda row: len(row.ids))
        batches: list[list[Labelled]] = [[]]
        for row in rows:
            if (len(batches[-1]) + 1) * len(row.ids) > BATCH_TOKENS:
                batches.append([])
            batches[-1].append(row)
        rng.shuffle(batches)
        yield from batches


def train(out: Path, seed: int) -> None:
    """Trains everything and writes it below `out`: policy/ and prm/."""
    torch.manual_seed(seed + 1)
    base = Qwen2ForCausalLM(models.config(models.POLICY_LAYERS))
    log.info("base: %d parameters", sum(p.numel() for p in base.parameters()))
    train_language(base, BASE_STEPS, CLEAN, seed + 1, CURRICULUM, factor=1.0)
    torch.manual_seed(seed)
    prm = models.RewardModel.grown(base)
    train_language(base, POLICY_STEPS, NOISY, seed + 2, ALL_LENGTHS, factor=0.5)
    models.save_policy(base, out / "policy")
    vocabulary.save(out / "policy")
    log.info("reward model: %d parameters", sum(p.numel() for p in prm.parameters()))
    train_prm(prm, DRILL_STEPS, [(1.0, drill_row)], seed + 3, 1.0)
    tune_prm(prm, models.load_policy(out / "policy"), out, seed)


def train_draft(out: Path, seed: int) -> None:
    """Trains the policy's smaller sibling in the same way and writes it to `out`/draft."""
    torch.manual_seed(seed + 10)
    draft = Qwen2ForCausalLM(models.config(models.DRAFT_LAYERS, models.DRAFT_HIDDEN))
    log.info("draft: %d parameters", sum(p.numel() for p in draft.parameters()))
    train_language(draft, DRAFT_BASE_STEPS, CLEAN, seed + 10, CURRICULUM, factor=1.0)
    train_language(draft, DRAFT_STEPS, NOISY, seed + 11, ALL_LENGTHS, factor=0.5)
    models.save_policy(draft, out / "draft")
    vocabulary.save(out / "draft")


def train_reviser(out: Path, seed: int) -> None:
    """Tunes the policy in `out` on second thoughts and writes what comes of it to `out`/reviser."""
    reviser = models.load_policy(out / "policy").train()
    train_language(reviser, REVISER_STEPS, revisions.lesson, seed + 12, REVISER_CURRICULUM, factor=1.0)
    models.save_policy(reviser, out / "reviser")
    vocabulary.save(out / "reviser")


def tune_prm(prm: models.RewardModel, policy: Qwen2ForCausalLM, out: Path, seed: int) -> None:
    """Teaches the reward model on whole solutions, then on what fools it; writes it after each round."""
    vocabulary.save(out / "prm")
    seen, hard = chosen_from(policy_rows(policy, seed + 1000)), list[Labelled]()
    for number, (steps, factor) in enumerate(ROUNDS):
        if number:
            hard += mine(policy, prm, seed + 2000 + 100 * number)
        pools = [(0.2, drill_row), (0.35, synthetic_row), (0.25, seen), (0.2, chosen_from(hard) if hard else seen)]
        train_prm(prm, steps, pools, seed + 4 + number, factor)
        models.save_prm(prm, out / "prm")
        log.info("round %d done", number + 1)


PARTS = {"policy": train, "draft": train_draft, "reviser": train_reviser}


def main() -> None:
    """Parses the command line and runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="folder of policy/ and prm/")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", choices=PARTS, action="append", help="train this part alone; may be given twice")
    parser.add_argument("--evaluate", action="store_true", help="measure only")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(message)s",
        handlers=[logging.StreamHandler(), logging.FileHandler("train_embedded.log", mode="w")],
    )
    torch.set_num_threads(args.threads)
    if not args.evaluate:
        for name in args.only or PARTS:
            PARTS[name](args.out, args.seed)
    evaluate.report(args.out, log)
    second_thoughts.report(args.out, log)


if __name__ == "__main__":
    main()
