"""Rules: what they look at, what they leave alone, and the oracle as an upper bound."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hydra.utils import instantiate
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from ponder.context import Setup
from ponder.errors import UserError, VerifierError
from ponder.samplers.scripted import Scripted
from ponder.scripts.metrics import pass_at_k
from ponder.search.best_of_n import BestOfN
from ponder.search.select import argmax
from ponder.tasks.arithmetic import Arithmetic, Chain
from ponder.types import Problem, Step, Trace
from ponder.verifiers.check import check, toy_traces
from ponder.verifiers.ensemble import Minimum
from ponder.verifiers.rule import Format, Length, Regex, TaskOracle

CONF = Path(__file__).parents[2] / "conf" / "verifier"
PROBLEM = Problem("p", "ask")
BOX = r"\\boxed\{"


def ended(text: str, why: Any = "eos") -> Trace:
    return Trace(PROBLEM) + Step(text, why=why)


def test_regex_and_length() -> None:
    one, other = Trace(PROBLEM) + Step("x = 4"), Trace(PROBLEM)
    assert Regex(r"=\s*\d").score([one, other]) == [1.0, 0.0]
    assert Length(10).score([one, other]) == [0.5, 0.0]
    with pytest.raises(UserError, match=r"verifier\.pattern"):
        Regex("(")
    with pytest.raises(UserError, match=r"verifier\.target"):
        Length(0)


@pytest.mark.parametrize(
    ("text", "formed"),
    [
        (r"so \boxed{5}.", True),
        (r"so \boxed{5}, no \boxed{6}.", False),
        ("so 5.", False),
        ("", False),
        (r"<think>is it \boxed{4}?</think>so \boxed{5}.", True),
        (r"<think></think>\boxed{5}", True),
        (r"it opened before</think>\boxed{5}", True),
        (r"is it \boxed{4}?</think>so \boxed{5}", True),
        (r"<think>one</think>and <think>two</think>\boxed{5}", True),
        (r"<think>never closed \boxed{5}", False),
        (r"<think>a <think>nested</think> one</think>\boxed{5}", False),
        (r"<think>one</think>two</think>\boxed{5}", False),
        (r"one</think>two</think>\boxed{5}", False),
        (r"\boxed{5}</think>", False),
        (r"<think>\boxed{5}</think>", False),
        (r"\boxed{5}<think>", False),
        (r"<thinking>\boxed{5}", True),
    ],
)
def test_one_box_outside_of_thoughts(text: str, formed: bool) -> None:
    verifier = instantiate(OmegaConf.load(CONF / "boxed_format.yaml"))
    assert verifier.score([ended(text)]) == [float(formed)]
    assert verifier.score([replace(ended(text, "length"), closed=True)]) == [float(formed)]


def test_two_kinds_of_tags_take_turns() -> None:
    verifier = Format(required=["x"], tags=["think", "answer"])
    texts = ["<think>a</think><answer>b</answer>x", "<think>a<answer>b</answer></think>x", "<think>a</answer>x"]
    assert verifier.score([ended(text) for text in texts]) == [1.0, 0.0, 0.0]


def test_required_and_forbidden() -> None:
    verifier = Format(required=["^Answer:", r"\d"], forbidden=["sorry"])
    texts = ["Answer: 5 or 6", "Answer: five", "5", "Answer: 5, sorry"]
    assert verifier.score([ended(text) for text in texts]) == [1.0, 0.0, 0.0, 0.0]


def test_what_can_grow_is_neutral() -> None:
    verifier = Format(once=[BOX], neutral=0.4)
    growing = [Trace(PROBLEM), ended("", "stop"), ended(r"\boxed{5}", "stop"), ended(r"\boxed{5} \boxed{6}", "length")]
    assert verifier.score(growing) == [0.4] * 4
    assert verifier.score([ended("given up", "abort"), replace(growing[0], closed=True)]) == [0.0, 0.0]


@given(st.lists(st.sampled_from(["<think>", "</think>", r"\boxed{", "a"]), max_size=8))
def test_any_text_has_a_score_and_keeps_its_parts(parts: list[str]) -> None:
    text = "".join(parts)
    verifier = Format(once=[BOX], tags=["think"])
    (score,) = verifier.score([ended(text)])
    assert score in (0.0, 1.0)
    if "<think>" not in parts and "</think>" not in parts:
        assert score == float(parts.count(r"\boxed{") == 1)
    if score:
        assert abs(parts.count("</think>") - parts.count("<think>")) <= 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({}, "all empty"),
        ({"once": ["("]}, r"verifier\.once='\('"),
        ({"required": ["["]}, r"verifier\.required"),
        ({"forbidden": ["*"]}, r"verifier\.forbidden"),
        ({"tags": ["think"], "neutral": 2}, r"verifier\.neutral=2"),
    ],
)
def test_a_wrong_format_is_named(arguments: Any, says: str) -> None:
    with pytest.raises(UserError, match=says) as caught:
        Format(**arguments)
    assert caught.value.hint


TASK = Arithmetic(level=1, limit=3)
QUESTION = next(iter(TASK.problems()))
RIGHT = Chain.parse(QUESTION.prompt).solution  # type: ignore[union-attr]
WRONG = r"\boxed{1000}"


def test_the_oracle_grades_what_ended() -> None:
    oracle = TaskOracle(TASK, neutral=0.3)
    start = Trace(QUESTION)
    traces = [start + Step(RIGHT, why="eos"), start + Step(WRONG, why="eos"), start + Step("no box", why="eos")]
    assert oracle.score(traces) == [1.0, 0.0, 0.0]
    assert oracle.score([start, start + Step(RIGHT), start + Step(RIGHT, why="length")]) == [0.3] * 3
    assert oracle.score([replace(start + Step(RIGHT, why="length"), closed=True)]) == [1.0]


def test_the_oracle_keeps_the_contract_on_tasks_that_know_any_problem() -> None:
    class Sums:
        def problems(self) -> Any:
            return ()

        def answer(self, trace: Trace) -> str | None:
            return "5" if "{5}" in trace.text else None

        def grade(self, problem: Problem, answer: str | None) -> bool:
            return answer == "5"

    check(TaskOracle(Sums()))
    check(Format(once=[BOX]))


def test_the_contract_is_tried_on_a_problem_that_the_task_knows() -> None:
    with pytest.raises(UserError, match="no arithmetic problem"):
        check(TaskOracle(TASK), traces=toy_traces())
    check(TaskOracle(TASK))
    check(Minimum({"right": TaskOracle(TASK), "form": Format(once=[BOX])}))


@pytest.mark.parametrize("given_task", [None, "arithmetic", {}])
def test_no_task_is_named(given_task: Any) -> None:
    with pytest.raises(UserError, match=r"verifier\.task=.*is no task") as caught:
        TaskOracle(given_task)
    assert "${task}" in caught.value.hint
    with pytest.raises(UserError, match=r"verifier\.neutral"):
        TaskOracle(TASK, neutral=-1)


def test_best_of_n_with_the_oracle_is_pass_at_n() -> None:
    """A third of the texts is right: best of 3 is right unless all three are wrong."""
    setup = Setup({"policy": Scripted([RIGHT, WRONG, WRONG], order="seed")}, {"verifier": TaskOracle(TASK)})
    right, covered = 0, 0.0
    for seed in range(60):
        context = setup.context(QUESTION, seed, TASK.answer)
        population = asyncio.run(BestOfN(3)(QUESTION, context))
        best = argmax(population, TASK.answer, context.rng)
        found = sum(TASK.grade(QUESTION, TASK.answer(trace)) for trace in population.traces)
        right += TASK.grade(QUESTION, best)
        covered += pass_at_k(3, found, 3)
    assert right == covered
    assert 60 * (1 - (2 / 3) ** 3) - 15 < right < 60 * (1 - (2 / 3) ** 3) + 15


def test_a_task_that_fails_is_the_verifiers_error() -> None:
    class Broken:
        def problems(self) -> Any:
            return ()

        def answer(self, trace: Trace) -> str | None:
            raise KeyError(trace.problem.id)

        def grade(self, problem: Problem, answer: str | None) -> bool:
            return False

    context = Setup({}, {"verifier": TaskOracle(Broken())}).context(PROBLEM, 0)
    with pytest.raises(VerifierError, match=r"TaskOracle\.score raised KeyError"):
        asyncio.run(context.score([ended("x")]))


def test_the_oracle_gets_the_runs_task() -> None:
    config = OmegaConf.create({"task": {"_target_": "ponder.tasks.arithmetic.Arithmetic", "level": 1, "limit": 3}})
    config.verifier = OmegaConf.load(CONF / "task_oracle.yaml")
    assert instantiate(config.verifier).task == TASK
