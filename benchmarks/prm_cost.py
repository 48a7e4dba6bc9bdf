"""What a stepwise search pays its process reward model: tokens computed, by engine and length of a step. One table.

python -m benchmarks.prm_cost    some minutes; a tiny random model in Math-Shepherd's format, built on the spot

Particle filtering, resampling after each step, 8 particles x 20 steps on one question. "ratio" is computed verifier
tokens over generated tokens plus one prompt; "whole prefixes" is for computing each prefix anew, as its_hub does.
vLLM's cache works in blocks (32 tokens on a CPU, 16 on a GPU), so the part of a block before a step is computed again.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ponder.context import Setup
from ponder.protocols import Until
from ponder.runner import search
from ponder.samplers.scripted import Scripted
from ponder.search.particle_filtering import ParticleFiltering
from ponder.types import Problem, Score, Trace
from ponder.verifiers.prm import ProcessRewardModel
from tests.tiny_families import math_shepherd

PROBLEM = Problem("q", "Natalia sold clips to 48 of her friends in April, then half as many in May. How many in all?")
PARTICLES, STEPS = 8, 20
LENGTHS = (16, 64, 128)
OPTIONS = {"vllm": {"max_model_len": 4096}, "transformers": {}}


@dataclass(frozen=True)
class Spent:
    """Tokens of one search: generated, computed and cached by the verifier, and what whole prefixes would compute."""

    generated: int
    computed: int
    cached: int
    prefixes: int
    prompt: int

    def ratio(self, tokens: int) -> float:
        """Tokens as a multiple of the generated ones plus one prompt."""
        return tokens / (self.generated + self.prompt)


class Watched:
    """A reward model whose every scored prefix is counted whole, too."""

    def __init__(self, verifier: ProcessRewardModel) -> None:
        self.verifier = verifier
        self.quote = verifier.quote
        self.range = verifier.range
        self.prefixes = 0

    async def score(self, traces: Sequence[Trace]) -> list[Score]:
        """The reward model's scores."""
        self.prefixes += sum(self.quote(trace).verifier_tokens for trace in traces)
        return await self.verifier.score(traces)


def letters(trace: Trace, seed: int) -> str:
    """A random continuation that never ends; a letter is a token of the sampler and of the reward model."""
    return "".join(random.Random(f"{seed} {trace.text}").choices("abcdefghij", k=4096))


async def spent(verifier: ProcessRewardModel, length: int, particles: int = PARTICLES, steps: int = STEPS) -> Spent:
    """One search with steps of so many tokens."""
    watched = Watched(verifier)
    setup = Setup(
        {"policy": Scripted(letters)},
        {"verifier": watched},
        step=Until(every=length),
        solution=Until(max_tokens=length * steps),
        max_steps=steps,
    )
    ctx = setup.context(PROBLEM, seed=0)
    await search(ParticleFiltering(particles, ess_threshold=1.0), PROBLEM, ctx)
    cost = ctx.ledger.total
    prompt = verifier.quote(Trace(PROBLEM)).verifier_tokens
    return Spent(cost.new_tokens, cost.verifier_tokens, cost.verifier_cached_tokens, watched.prefixes, prompt)


async def main() -> None:
    """Prints the table."""
    table = Table("engine", "step", "generated", "computed", "cached", "ratio", "whole prefixes", "their ratio")
    with tempfile.TemporaryDirectory() as folder:
        model = str(math_shepherd(Path(folder)))
        for engine, options in OPTIONS.items():
            for length in LENGTHS:
                verifier = ProcessRewardModel(model, "math_shepherd", engine, options=options)
                one = await spent(verifier, length)
                counts = [f"{n:,}" for n in (one.generated, one.computed, one.cached)]
                ratios = [f"{one.ratio(n):.2f}" for n in (one.computed, one.prefixes)]
                table.add_row(engine, f"{length} tokens", *counts, ratios[0], f"{one.prefixes:,}", ratios[1])
            verifier.close()
    Console(width=120).print(table)


if __name__ == "__main__":
    asyncio.run(main())
