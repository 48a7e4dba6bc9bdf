"""Confidence of the policy in its own solutions: by hand, on a language with known probabilities, and from yaml."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path
from typing import Any

import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

from ponder.context import Setup
from ponder.errors import UserError, VerifierError
from ponder.protocols import Until
from ponder.samplers.scripted import Scripted
from ponder.samplers.toy_language import ToyLanguage
from ponder.search.best_of_n import BestOfN
from ponder.search.deepconf import lowest_group, mean, tail, trace_confidence
from ponder.search.select import argmax
from ponder.search.self_certainty import certainty
from ponder.search.uncertainty import TELLING, mean_logprob
from ponder.search.weights import exponential
from ponder.types import Problem, Step, Trace
from ponder.verifiers.check import check, findings
from ponder.verifiers.confidence import Confidence, PTrue

CONF = Path(__file__).parents[2] / "conf" / "verifier"
PROBLEM = Problem("p", "ask")


def told(*logprobs: float, why: Any = "stop") -> Step:
    """A step whose second likeliest token at each place is one nat less likely than its own."""
    text = "x" * len(logprobs)
    tops = tuple((one, one - 1.0) for one in logprobs)
    return Step(text, tuple(range(1, len(logprobs) + 1)), logprobs, why, top_logprobs=tops)


TRACE = Trace(PROBLEM) + told(-1.0, -2.0) + told(-3.0, -6.0, why="eos")


def wired(name: str, *overrides: str) -> Any:
    """The verifier of a yaml."""
    return instantiate(OmegaConf.merge(OmegaConf.load(CONF / f"{name}.yaml"), OmegaConf.from_dotlist([*overrides])))


@pytest.mark.parametrize(
    ("name", "overrides", "expected"),
    [
        ("mean_logprob", [], -3.0),
        ("self_certainty", [], 3.5),  # each place: half a nat above its own token's
        ("deepconf", [], 3.5),
        ("deepconf", ["measure.group=2"], 2.0),  # windows of 2.0, 3.0, 5.0
        ("deepconf", ["measure.group=2", "measure.measure.path=ponder.search.deepconf.lowest_group"], 2.0),
        ("deepconf", ["measure.group=1", "measure.measure.path=ponder.search.deepconf.tail"], 6.5),
        ("deepconf", ["measure.group=1", "measure.measure.path=ponder.search.deepconf.mean"], 3.5),
    ],
)
def test_by_hand_and_from_yaml(name: str, overrides: list[str], expected: float) -> None:
    verifier = wired(name, *overrides)
    assert verifier.score([TRACE]) == [pytest.approx(expected)]
    assert verifier.score([Trace(PROBLEM)]) == [0.0]
    check(verifier)
    check(verifier, traces=[TRACE, Trace(PROBLEM) + told(-0.5), Trace(PROBLEM)])


def test_strategies_and_verifiers_read_one_function() -> None:
    for measure in (mean, tail, lowest_group):
        assert wired("deepconf", f"measure.measure.path=ponder.search.deepconf.{measure.__name__}").score([TRACE]) == [
            trace_confidence(TRACE, measure, 2048)
        ]
    assert wired("self_certainty").measure is certainty
    assert wired("mean_logprob").measure is mean_logprob


@pytest.mark.parametrize("name", ["mean_logprob", "self_certainty", "deepconf"])
@pytest.mark.parametrize(
    "silent",
    [
        Trace(PROBLEM) + Step("words alone"),
        Trace(PROBLEM) + told(-1.0) + Step("words alone"),
        Trace(PROBLEM) + Step("ab", (1, 2)),
    ],
    ids=["text", "a step of text", "tokens alone"],
)
def test_without_log_probabilities_it_says_what_to_set(name: str, silent: Trace) -> None:
    with pytest.raises(UserError, match="of p does not say how likely") as caught:
        wired(name).score([TRACE, silent])
    assert "sampler.top_logprobs=20" in caught.value.hint


def test_the_end_of_sequence_needs_no_text() -> None:
    ended = Trace(PROBLEM) + told(-1.0) + Step("", (0,), (-2.0,), "eos", top_logprobs=((-2.0, -3.0),))
    assert wired("mean_logprob").score([ended]) == [-1.5]
    bare = Trace(PROBLEM) + told(-1.0) + Step("", why="eos")
    assert wired("mean_logprob").score([bare]) == [-1.0]
    assert wired("deepconf").score([bare]) == [1.5]


def test_without_the_option_the_likeliest_tokens_are_missing() -> None:
    """What a run without sampler.top_logprobs gives: tokens and their own log-probabilities."""
    sampler = ToyLanguage({"^": {"a": 0.9, "b": 0.1}, "a": {"$": 1.0}, "b": {"$": 1.0}})
    (plain,) = asyncio.run(sampler.sample(Trace(PROBLEM), 1, Until(), seed=0))
    (telling,) = asyncio.run(sampler.varied(TELLING).sample(Trace(PROBLEM), 1, Until(), seed=0))
    assert wired("mean_logprob").score([Trace(PROBLEM) + plain]) == [pytest.approx(math.log(0.9) / 2)]
    with pytest.raises(UserError, match="how likely"):
        wired("self_certainty").score([Trace(PROBLEM) + plain])
    expected = (-(math.log(0.9) + math.log(0.1)) / 2 + 0.0) / 2
    assert wired("self_certainty").score([Trace(PROBLEM) + telling]) == [pytest.approx(expected)]


def test_best_of_n_takes_the_likeliest() -> None:
    sampler = ToyLanguage({"^": {"a": 0.6, "b": 0.4}, "a": {"$": 1.0}, "b": {"$": 1.0}})
    setup = Setup({"policy": sampler}, {"verifier": wired("mean_logprob")})
    context = setup.context(PROBLEM, 0)
    population = asyncio.run(BestOfN(12, weight=exponential)(PROBLEM, context))
    assert {trace.text for trace in population.traces} == {"a", "b"}
    assert argmax(population, lambda trace: trace.text, context.rng) == "a"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"measure": "mean_logprob"}, r"verifier\.measure='mean_logprob' is no function"),
        ({"measure": mean_logprob, "low": 1.0, "high": 0.0}, r"verifier\.low=1.0"),
        ({"measure": mean_logprob, "high": -1.0}, r"verifier\.neutral=0.0"),
        ({"measure": mean_logprob, "neutral": float("nan")}, r"verifier\.neutral=nan"),
    ],
)
def test_a_wrong_confidence_is_named(arguments: Any, says: str) -> None:
    with pytest.raises(UserError, match=says) as caught:
        Confidence(**arguments)
    assert caught.value.hint


def true(p: tuple[float, float], **arguments: Any) -> tuple[PTrue, Scripted]:
    sampler = Scripted(["-"], probabilities=p)
    return PTrue(sampler, **arguments), sampler


def test_p_true_is_normalised_and_billed() -> None:
    verifier, sampler = true((0.3, 0.1))
    (score,) = asyncio.run(verifier.score([TRACE]))
    assert score == pytest.approx(0.75)
    assert score.unread == 0
    assert sampler.probes == 1
    assert score.cost.verifier_tokens == score.cost.prompt_tokens + score.cost.new_tokens > 0
    most = verifier.quote(TRACE)
    assert most.verifier_tokens >= score.cost.verifier_tokens
    assert most.new_tokens >= score.cost.new_tokens
    assert most.prompt_tokens >= score.cost.prompt_tokens


def test_p_true_that_says_neither_is_lowest_and_unread() -> None:
    (score,) = asyncio.run(true((0.0, 0.0))[0].score([TRACE]))
    assert (score, score.unread) == (0.0, 1)


def test_p_true_asks_nothing_about_an_empty_solution() -> None:
    verifier, sampler = true((0.3, 0.1), neutral=0.4)
    assert asyncio.run(verifier.score([Trace(PROBLEM)])) == [0.4]
    assert sampler.probes == 0
    assert verifier.quote(Trace(PROBLEM)).prompt_tokens == 0


def test_p_true_shows_question_and_solution_and_reads_the_letters() -> None:
    seen: list[Any] = []

    class Eyes(Scripted):
        async def probe(self, trace: Trace, suffix: str, choices: Any) -> Any:
            seen.append((trace, suffix, tuple(choices)))
            return await super().probe(trace, suffix, choices)

    verifier = PTrue(Eyes(["-"]))
    asked = Trace(Problem("q", "What is {2 + 3}?")) + Step(" It is {5}.\n", why="eos")
    asyncio.run(verifier.score([asked]))
    ((trace, suffix, choices),) = seen
    prompt = trace.problem.prompt
    assert trace.problem.verbatim
    assert not trace.steps
    assert prompt.index("What is {2 + 3}?") < prompt.index("It is {5}.") < prompt.index("(A) True\n(B) False")
    assert suffix.endswith("(")
    assert choices == ("A", "B")
    assert all(finding.passed for finding in asyncio.run(findings(verifier)))


def test_p_true_names_what_is_wrong() -> None:
    for arguments in ({"true": "A", "false": "A"}, {"true": ""}, {"neutral": 2.0}):
        with pytest.raises(UserError, match="verifier"):
            true((0.5, 0.5), **arguments)
    with pytest.raises(UserError, match=r"judge: \$\{sampler\}"):
        PTrue(None)  # type: ignore[arg-type]


def test_p_true_of_a_broken_model_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ponder.verifiers.judging._ATTEMPTS", 1)
    with pytest.raises(VerifierError, match="the judge failed"):
        asyncio.run(true((0.5, 0.25, 0.25))[0].score([TRACE]))  # type: ignore[arg-type]


def test_p_true_from_yaml() -> None:
    config = OmegaConf.create(
        {"sampler": {"_target_": "ponder.samplers.scripted.Scripted", "texts": ["-"], "probabilities": [0.2, 0.6]}}
    )
    config.verifier = OmegaConf.load(CONF / "p_true.yaml")
    assert asyncio.run(instantiate(config.verifier).score([TRACE])) == [pytest.approx(0.25)]
