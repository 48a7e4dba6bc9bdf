"""Cross-lingual consistency and conjugate prompting: who is asked what, how often, and one vote."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import OmegaConf

from ponder.errors import UserError
from ponder.search import select
from ponder.search.conjugate_prompting import ConjugatePrompting
from ponder.search.cross_lingual import CrossLingual
from ponder.tasks.mgsm import LANGUAGES, mgsm
from ponder.types import Problem
from tests.laws.speaking import Speaker, prompts

ROOT = Path(__file__).parents[2]
RECORDED = ROOT.parent / "shared" / "data" / "mgsm.jsonl.gz"
RNG = np.random.default_rng(0)
CONF: Any = OmegaConf.to_container(OmegaConf.load(ROOT / "conf" / "search" / "cross_lingual.yaml"), resolve=False)
TWO = {"en": "{question} In English.", "de": "{question} Auf Deutsch."}


def test_the_budget_is_shared_and_the_vote_pooled(lab: Any) -> None:
    model = Speaker({"solve": ["4", "5", "5", "4", "4"]})
    population, ctx = lab.run(CrossLingual(5, TWO), model, problem=Problem("p", "How many?"))
    assert len(population) == ctx.ledger.total.samples == 5
    assert prompts(model) == ["How many? In English."] * 3 + ["How many? Auf Deutsch."] * 2
    assert [trace.problem.meta["lang"] for trace in population.traces] == ["en"] * 3 + ["de"] * 2
    assert select.majority(population, lambda trace: trace.text, RNG) == "4"


def test_it_costs_what_the_monolingual_vote_costs(lab: Any) -> None:
    both = [
        lab.run(CrossLingual(6, of), Speaker({"solve": ["12"]}))[1].ledger.total for of in (TWO, {"en": "{question}"})
    ]
    assert both[0].new_tokens == both[1].new_tokens
    assert both[0].samples == both[1].samples == 6


def test_with_fewer_solutions_than_languages_the_first_are_asked(lab: Any) -> None:
    model = Speaker({"solve": ["4"]})
    lab.run(CrossLingual(1, TWO), model)
    assert len(model.asked) == 1
    assert "English" in prompts(model)[0]


def test_a_translation_of_the_task_goes_before_a_translators(lab: Any) -> None:
    problem = Problem("p", "How many?", {"lang": "en", "questions": {"en": "How many?"}})
    model = Speaker({"translate German": ["Wie viele?"], "solve": ["4"]})
    strategy = CrossLingual(2, TWO, translator="policy", names={"de": "German"})
    _, ctx = lab.run(strategy, model, problem=problem)
    asked = sorted(prompts(model))
    assert asked[0] == "How many? In English."
    assert "into German" in asked[1]
    assert asked[2] == "Wie viele? Auf Deutsch."
    assert ctx.ledger.total.new_tokens == 2 * len("4.") + len("Wie viele?") + 1


@pytest.mark.parametrize("instructions", [{}, {"en": "no place"}])
def test_instructions_without_a_place_are_refused(instructions: Any) -> None:
    with pytest.raises(UserError, match=r"search\.instructions"):
        CrossLingual(2, instructions)


def test_conf_has_all_languages_of_the_task() -> None:
    assert sorted(CONF["instructions"]) == sorted(CONF["names"]) == sorted(LANGUAGES)
    for text in CONF["instructions"].values():
        assert "{question}" in text
        assert "\\boxed{}" in text


def test_eleven_languages_of_mgsm_vote_together(lab: Any) -> None:
    """A model that answers right in all scripts but three: the pooled vote is right, and each answer is read."""
    if not RECORDED.exists():
        pytest.skip("shared/data/mgsm.jsonl.gz is not beside the repository")
    task = mgsm(str(RECORDED), language="en", limit=20, translations=True)
    for problem in task.problems():
        gold = task.solution(problem)
        seen: list[str] = []

        def reply(trace: Any, gold: str = gold, seen: list[str] = seen) -> str:
            language = trace.problem.meta["lang"]
            seen.append(language)
            assert trace.problem.meta["questions"][language] in trace.problem.prompt
            return "\\boxed{0}" if language in ("sw", "te", "bn") else gold

        population, ctx = lab.run(CrossLingual(22, CONF["instructions"]), Speaker({"solve": [reply]}), problem=problem)
        assert sorted(seen) == sorted([*LANGUAGES] * 2)
        chosen = select.majority(population, task.answer, RNG)
        assert task.grade(problem, chosen)
        assert ctx.ledger.total.samples == 22
    json.dumps([dict(problem.meta) for problem in task.problems()])  # as a row holds it


def test_conjugate_prompting_asks_in_the_other_language(lab: Any) -> None:
    model = Speaker({"translate French": ["Combien ?"], "French": ["4", "5"], "back": ["four"]})
    population, ctx = lab.run(ConjugatePrompting(2), model, problem=Problem("p", "How many?"))
    assert [trace.text for trace in population.traces] == ["4", "5"]
    assert prompts(model)[1] == "Combien ?"
    assert population.traces[0].problem.prompt == "How many?"
    assert ctx.ledger.total.samples == 2


def test_and_brings_the_answers_back_if_told(lab: Any) -> None:
    model = Speaker({"translate French": ["Combien ?"], "French": ["quatre"], "back": ["four"]})
    strategy = ConjugatePrompting(1, back="Into English: {solution}")
    population, _ = lab.run(strategy, model)
    assert [trace.text for trace in population.traces] == ["four"]
    assert prompts(model)[-1] == "Into English: quatre"
