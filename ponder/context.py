"""Context: everything that a strategy may do, and where all of it is counted."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_exponential

from ponder.batching import Scorer
from ponder.batching import gather as gather
from ponder.errors import SamplerError, UserError
from ponder.ledger import Budget, BudgetExhausted, Ledger
from ponder.protocols import Picking, Sampler, Until, Verifier
from ponder.types import Answer, Cost, Floats, Population, Problem, Score, Step, Trace, whole_text

V = TypeVar("V")


@dataclass(frozen=True)
class Report:
    """An anytime point: what was spent when the population looked like this."""

    cost: dict[str, Cost]
    seconds: float
    population: Population


STEP = Until(stop=("\n\n",), max_tokens=512)
SOLUTION = Until(max_tokens=2048)
PLAIN = Picking()


@dataclass
class Setup:
    """What all questions of a run share: models, verifiers, ends, ceilings.

    Attributes:
        samplers: by role: "policy", and where a strategy asks for them "draft", "judge".
        verifiers: by role: "verifier", and whatever else conf binds.
        step: where a step ends.
        solution: where a whole solution ends; its `max_tokens` bounds a trace.
        max_steps: the most steps of a trace that is built step by step.
        budget: ceilings for each question.
        run_budget: ceilings for all questions together.
        attempts: how often a failing request is tried.
        backoff: seconds before its first repetition; they double each time.
    """

    samplers: Mapping[str, Sampler]
    verifiers: Mapping[str, Verifier] = field(default_factory=dict)
    step: Until = STEP
    solution: Until = SOLUTION
    max_steps: int = 40
    budget: Budget = field(default_factory=Budget)
    run_budget: Budget = field(default_factory=Budget)
    attempts: int = 4
    backoff: float = 0.1

    def __post_init__(self) -> None:
        if self.max_steps < 1:
            raise UserError(f"step.max_steps={self.max_steps} is out of range", "allowed: a whole number from 1")
        self.scorers = {role: Scorer(verifier) for role, verifier in self.verifiers.items()}
        self._run_ledger = Ledger(self.run_budget)

    def context(self, problem: Problem, seed: int, answer: Answer = whole_text) -> Context:
        """A fresh context; its chance depends on the seed and the problem's id alone."""
        digest = int.from_bytes(hashlib.blake2b(problem.id.encode(), digest_size=8).digest())
        return Context(self, Ledger(self.budget, self._run_ledger), np.random.default_rng([seed, digest]), answer)


class Context:
    """One question's hands: sample, step, score, probe, report.

    Args:
        setup: what this question shares with all others.
        ledger: this question's account.
        rng: this question's source of chance; every request's seed comes from it.
        answer: a trace's answer in canonical form, None if it has none; costs nothing.
    """

    def __init__(self, setup: Setup, ledger: Ledger, rng: np.random.Generator, answer: Answer = whole_text) -> None:
        self.ledger = ledger
        self.rng = rng
        self.answer = answer
        self.max_steps = setup.max_steps
        self.reports: list[Report] = []
        self.notes: dict[str, float] = {}
        self._setup = setup
        self._scores: dict[tuple[str, Trace], float] = {}

    async def sample(
        self, start: Problem | Trace, n: int, *, role: str = "policy", picking: Picking = PLAIN
    ) -> list[Trace]:
        """Draws n whole solutions, split into the steps that `step` would have made.

        Returns:
            n traces; fewer if the budget ended after some of them.

        Raises:
            BudgetExhausted: the budget does not allow even one.
        """
        trace = start if isinstance(start, Trace) else Trace(start)
        if not trace.alive:
            return [trace] * n
        sampler = self._sampler(role, picking)
        split = getattr(sampler, "split", None)
        try:
            drawn = await self._draw(sampler, trace, n, self._within(self._setup.solution, trace), role, self._seed())
        except _Cut as cut:
            if not cut.steps:
                raise
            drawn = cut.steps
        grown = [
            replace(trace, steps=(*trace.steps, *(split(trace, step, self._setup.step) if split else [step])))
            for step in drawn
        ]
        return [replace(one, closed=not one.finished) for one in grown]

    async def step(
        self, traces: Sequence[Trace], fan_out: int = 1, *, role: str = "policy", picking: Picking = PLAIN
    ) -> list[Trace]:
        """Moves each trace one step, in `fan_out` ways; ended traces pass through, at no cost.

        Equal traces share one request. A trace that reaches the step or token limit comes back closed.

        Returns:
            The children in the order of their parents; an ended parent stands once.
        """
        wanted = Counter(trace for trace in traces if trace.alive)
        sampler = self._sampler(role, picking)
        draws = {
            trace: self._draw(
                sampler, trace, count * fan_out, self._within(self._setup.step, trace), role, self._seed()
            )
            for trace, count in wanted.items()
        }
        drawn = dict(zip(draws, await gather(draws.values()), strict=True))
        children = {trace: iter([self._grown(trace, step) for step in steps]) for trace, steps in drawn.items()}
        moved: list[Trace] = []
        for trace in traces:
            moved.extend([next(children[trace]) for _ in range(fan_out)] if trace.alive else [trace])
        return moved

    async def score(self, traces: Sequence[Trace], *, role: str = "verifier") -> Floats:
        """Scores traces, shape (len(traces),); a trace scored before costs nothing.

        A verifier that compares sees all of these traces, copies too, if one of them is new to it.

        Raises:
            BudgetExhausted: a ceiling on verifier work would be passed.
            VerifierError: the verifier failed or returned what is no score.
        """
        scorer = _bound(self._setup.scorers, role, "verifier")
        new = list(dict.fromkeys(trace for trace in traces if (role, trace) not in self._scores))
        if new:
            asked = list(traces) if scorer.compares else new  # copies count where solutions support each other
            upto = scorer.quote(asked)
            async with self.ledger.reserve(role, lambda _: upto, 1, 1) as grant:
                scores = await scorer(asked)
                spent = sum((score.cost for score in scores if isinstance(score, Score)), Cost())
                grant.charge(Cost(verifier_calls=len(set(asked))) + spent)
            self._scores.update(zip(((role, trace) for trace in asked), scores, strict=True))
        return np.array([self._scores[role, trace] for trace in traces], dtype=np.float64)

    async def probe(self, trace: Trace, suffix: str, choices: Sequence[str], *, role: str = "policy") -> Floats:
        """Next-token probability of each choice after trace + suffix, shape (len(choices),)."""
        sampler = self._sampler(role)
        asked = trace + Step(suffix)
        async with self.ledger.reserve(role, lambda tokens: self._quote(sampler, asked, tokens), 1, 1) as grant:
            found = await self._attempt(role, lambda: sampler.probe(trace, suffix, choices))
            grant.charge(getattr(found, "cost", Cost(new_tokens=1)))
        return np.array(found, dtype=np.float64)

    async def read(self, trace: Trace, step: Step, *, role: str = "policy") -> Step:
        """The step with the log-probabilities that the model gives its tokens after the trace.

        Raises:
            UserError: the sampler cannot do it.
        """
        sampler = self._sampler(role)
        reader = _able(sampler, "read", role)
        async with self.ledger.reserve(role, lambda most: self._quote(sampler, trace + step, most), 1, 1) as grant:
            (found,) = await self._attempt(role, lambda: gather([reader(trace, step)]))
            grant.charge(found.cost)
        return replace(step, logprobs=found.logprobs)

    def report(self, population: Population) -> None:
        """Notes an anytime point; the last one is the answer if the budget ends."""
        self.reports.append(Report(dict(self.ledger.spent), self.ledger.seconds, population))

    def note(self, name: str, amount: float) -> None:
        """Adds to a count of the strategy's own, such as accepted steps; the row keeps the sums as `notes`."""
        self.notes[name] = self.notes.get(name, 0) + amount

    def known_score(self, trace: Trace, role: str = "verifier") -> float | None:
        """The score that a trace was given, None if it never was; costs nothing."""
        return self._scores.get((role, trace))

    async def _draw(self, sampler: Sampler, trace: Trace, n: int, until: Until, role: str, seed: int) -> list[Step]:
        """n steps from one prefix, in as many requests as the budget and the engine force."""
        begun = 0 if trace.steps or trace.problem.verbatim else 1
        steps: list[Step] = []

        def quote(tokens: int) -> Cost:
            return Cost(samples=begun) + self._quote(sampler, trace, tokens)

        while len(steps) < n:
            # A follow-up request needs a seed of its own, derived so that it depends on nothing else.
            request_seed = seed if not steps else int(np.random.default_rng([seed, len(steps)]).integers(2**31))
            try:
                longest = min(until.max_tokens, until.every or until.max_tokens)
                async with self.ledger.reserve(role, quote, longest, n - len(steps)) as grant:
                    allowed = replace(until, max_tokens=grant.tokens)
                    ask = partial(sampler.sample, trace, grant.count, allowed, seed=request_seed)
                    got = list(await self._attempt(role, ask))
                    if len(got) > grant.count:
                        raise SamplerError(f"{role}: {type(sampler).__name__} returned {len(got)} for {grant.count}")
                    grant.charge(sum((step.cost for step in got), Cost(samples=begun * len(got))))
            except BudgetExhausted as error:
                raise _Cut(str(error), steps) from error
            if grant.tokens < longest and any(step.why == "length" for step in got):
                raise _Cut("the budget's last tokens did not finish a step", steps)
            steps.extend(got)
        return steps

    async def _attempt(self, role: str, call: Callable[[], Awaitable[Sequence[V]]]) -> Sequence[V]:
        """Calls the engine, again with backoff if it fails or answers with nothing."""

        async def once() -> Sequence[V]:
            if not len(answer := await call()):
                raise SamplerError(f"{role}: the engine returned nothing")
            return answer

        retrying = AsyncRetrying(
            stop=stop_after_attempt(self._setup.attempts),
            wait=wait_exponential(multiplier=self._setup.backoff, max=10.0),
            retry=retry_if_exception(lambda error: isinstance(error, Exception) and not isinstance(error, UserError)),
            reraise=True,
        )
        try:
            return await retrying(once)
        except (UserError, SamplerError):
            raise
        except Exception as error:
            raise SamplerError(f"{role}: {type(error).__name__}: {error} ({self._setup.attempts} attempts)") from error

    def _grown(self, trace: Trace, step: Step) -> Trace:
        grown = trace + step
        full = len(grown) >= self._setup.max_steps or len(grown.token_ids) >= self._setup.solution.max_tokens
        stuck = step.why == "length" and not step.token_ids
        return replace(grown, closed=grown.alive and (full or stuck))

    def _within(self, until: Until, trace: Trace) -> Until:
        """The same end, within what is left of the solution's token limit."""
        left = max(1, self._setup.solution.max_tokens - len(trace.token_ids))
        return replace(until, max_tokens=min(until.max_tokens, left))

    def _quote(self, sampler: Sampler, trace: Trace, tokens: int) -> Cost:
        quote: Callable[[Trace, int], Cost] | None = getattr(sampler, "quote", None)
        return quote(trace, tokens) if quote else Cost(new_tokens=tokens)

    def _seed(self) -> int:
        return int(self.rng.integers(2**31))

    def _sampler(self, role: str, picking: Picking = PLAIN) -> Sampler:
        sampler = _bound(self._setup.samplers, role, "model")
        return sampler if picking == PLAIN else _able(sampler, "varied", role)(picking)


class _Cut(BudgetExhausted):
    """The budget ended within a draw; holds the steps that were drawn whole."""

    def __init__(self, message: str, steps: list[Step]) -> None:
        super().__init__(message)
        self.steps = steps


def _bound(parts: Mapping[str, V], role: str, kind: str) -> V:
    if role not in parts:
        raise UserError(
            f"this strategy needs a {kind} in the role {role!r}", f"bound roles: {', '.join(parts) or 'none'}"
        )
    return parts[role]


def _able(sampler: Sampler, method: str, role: str) -> Callable[..., Any]:
    """An optional method of a sampler."""
    if (found := getattr(sampler, method, None)) is None:
        raise UserError(
            f"this strategy needs the sampler's `{method}`, which {type(sampler).__name__} ({role}) lacks",
            "use another sampler, or add the method: ponder.protocols.Sampler says what it does",
        )
    return found  # type: ignore[no-any-return]
