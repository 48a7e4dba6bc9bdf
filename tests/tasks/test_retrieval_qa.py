"""Questions of a corpus: EM and F1 by known values, prompts with passages, and a user's strategy that searches."""

from __future__ import annotations

import json
import re
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ponder.errors import UserError
from ponder.tasks.bm25 import BM25
from ponder.tasks.retrieval_qa import RetrievalQA, f1, normalised
from ponder.types import Problem, Step, Trace
from tests.scripts.command import ROOT, ponder_here, rows, runs, user_folder

SAMPLES = Path(__file__).parent / "samples"
QUESTIONS, CORPUS = str(SAMPLES / "retrieval_qa.jsonl"), str(SAMPLES / "corpus.jsonl")


def closed_book(**further: Any) -> RetrievalQA:
    """The sample questions without passages."""
    return RetrievalQA(QUESTIONS, passages=0, **further)


def says(text: str) -> Trace:
    """A solution that ends with this text."""
    return Trace(Problem("p", "?"), (Step(text, why="eos"),))


@pytest.mark.parametrize(
    ("text", "norm"),
    [
        ("The  Eiffel Tower!", "eiffel tower"),
        ("an apple, a day", "apple day"),
        ("U.S.A.", "usa"),
        ("Thea", "thea"),
        ("1,000", "1000"),
        ("Bedr\u030cich", "bed\u0159ich"),
        ("\u00e0", "\u00e0"),
        ("a\u0300", "\u00e0"),  # no article, though decomposed
        ("A", "a"),
        ("The The", "the the"),
        ("?", "?"),
        (" ", ""),
        ("捷克。", "捷克。"),
    ],
)
def test_answers_are_normalised_as_in_squad(text: str, norm: str) -> None:
    assert normalised(text) == norm


@given(st.text(alphabet=st.characters(codec=None), max_size=30) | st.text(alphabet="aAnthe .,\u0301x", max_size=12))
def test_what_is_normalised_stays_as_it_is(text: str) -> None:
    once = normalised(text)
    assert normalised(once) == once
    assert (once == "") == (text.split() == [])
    assert once == unicodedata.normalize("NFC", once)


@pytest.mark.parametrize(
    ("answer", "gold", "value"),
    [
        ("the North Sea", "North Sea", 1.0),
        ("the cold North Sea", "North Sea", 2 * (2 / 3) * 1 / (2 / 3 + 1)),
        ("Sea", "North Sea", 2 * 1 * 0.5 / 1.5),
        ("sea sea", "North Sea", 0.5),
        ("Baltic", "North Sea", 0.0),
        ("yes", "Yes.", 1.0),
        ("yes it is", "yes", 0.0),
        ("no", "no way", 0.0),
        ("", "North Sea", 0.0),
    ],
)
def test_f1_by_hand(answer: str, gold: str, value: float) -> None:
    assert f1(answer, gold) == pytest.approx(value)
    assert f1(gold, answer) == pytest.approx(value)


@given(*[st.lists(st.sampled_from(["b", "c", "d", "yes", "the"]), max_size=6).map(" ".join)] * 2)
def test_f1_is_a_share_and_one_only_for_the_same_words(one: str, other: str) -> None:
    value = f1(one, other)
    assert 0 <= value <= 1
    same = bool(one) and sorted(normalised(one).split()) == sorted(normalised(other).split())
    assert (value == 1) == same


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("So it is.\n\nAnswer: The North Sea.", "north sea"),
        ("**Answer:** *North Sea*", "north sea"),
        (r"\boxed{\text{North Sea}}", "north sea"),
        (r"Answer: $\boxed{1612}$", "1612"),
        ("Answer: Baltic\nNo.\nAnswer: North Sea\nI am sure.", "north sea"),
        ("<think>Answer: Baltic</think>Answer: North Sea", "north sea"),
        ("Answer: Baltic\n" + r"\boxed{North Sea", None),
        ("It is the North Sea.", None),
        ("The answer is the North Sea.", None),
        ("Answer:\nNorth Sea", None),
        ("<think>Answer: North Sea", None),
        ("", None),
    ],
)
def test_only_a_stated_answer_is_read(text: str, answer: str | None) -> None:
    assert closed_book().answer(says(text)) == answer


def test_an_accepted_answer_is_right_and_a_near_miss_is_not() -> None:
    exact, loose, strict = closed_book(), closed_book(metric="f1"), closed_book(metric="f1", threshold=0.9)
    river, astronomer, composer, capital = exact.problems()
    for problem, right, wrong in [
        (river, "the north sea", "cold north sea"),
        (astronomer, "kepler", "kepler tycho"),
        (capital, "捷克共和国", "德国"),
    ]:
        assert exact.grade(problem, right)
        assert exact.exact(problem, right)
        assert not exact.grade(problem, wrong)
        assert loose.grade(problem, wrong) == (problem is not capital)
        assert not strict.grade(problem, wrong)
    assert exact.f1(astronomer, "johannes") == pytest.approx(2 / 3)  # the best of both accepted answers
    assert not loose.grade(composer, "yes he was")
    assert exact.f1(river, None) == 0.0
    assert not exact.grade(river, None)


def test_passages_stand_in_the_prompt() -> None:
    index = BM25(CORPUS)
    task, bare = RetrievalQA(QUESTIONS, index, passages=2), closed_book()
    for problem, without in zip(task.problems(), bare.problems(), strict=True):
        question = problem.meta["question"]
        found = index.search(question, 2)
        assert problem.meta["passages"] == [one.id for one in found]
        assert all(one.text in problem.prompt for one in found)
        assert problem.prompt.endswith(f"\n\nQuestion: {question}")
        assert without.prompt == task_prompt(question)
        assert problem.id == without.id
    assert [problem.meta.get("category") for problem in bare.problems()] == ["bridge", None, "comparison", None]
    assert "[1] Johannes Kepler\nJohannes Kepler, an astronomer" in task.problems()[1].prompt


def task_prompt(question: str) -> str:
    """A prompt without passages."""
    return (
        "Answer the following question. Think step by step before answering. The last line of your response should be "
        "of the following format: 'Answer: $ANSWER' (without quotes) where $ANSWER is as short as can be: a name, "
        f"a date, a number, yes or no.\n\nQuestion: {question}"
    )


PYTHON, YAML = re.findall(
    r"```(?:python|yaml)\n(# mywork.*?)```", (ROOT / "docs" / "retrieval_qa.md").read_text(encoding="utf-8"), re.DOTALL
)

READER = '''\


from ponder.types import Cost, Step


class Reader:
    """Says what its passages say: where the Vltava flows, and once it has been told of the Elbe, where that does."""

    async def sample(self, trace, n, until, *, seed):
        if "into the North Sea" in trace.problem.prompt:
            step = Step("The Elbe flows on.\\n\\nAnswer: the North Sea", (1, 2), why="eos", cost=Cost(new_tokens=2))
        elif "The Vltava is" in trace.problem.prompt:
            step = Step("It ends in the Elbe, above Dresden.\\n\\n", (1,), cost=Cost(new_tokens=1))
        else:
            step = Step("I do not know.", (1,), why="eos", cost=Cost(new_tokens=1))
        return [step] * n

    async def probe(self, trace, suffix, choices):
        return [1 / len(choices)] * len(choices)
'''


def test_a_users_strategy_searches(tmp_path: Path) -> None:
    """IRCoT word for word as the page has it: the second passage is found by what the first one made the model say."""
    user_folder(tmp_path, "search", "ircot", PYTHON + READER, YAML)
    user_folder(tmp_path, "sampler", "reader", "", "_target_: ircot.Reader\n")
    question = {"id": "vltava", "question": "The Vltava: where does its water end?", "answers": ["North Sea"]}
    path = tmp_path / "questions.jsonl"
    path.write_text(json.dumps(question), encoding="utf-8")
    given = ["--config-dir", "conf", "search=ircot", "search.k=1", "sampler=reader", "verifier=constant"]
    given += ["task=retrieval_qa", f"task.path={path}", f"task.retriever.corpus={CORPUS}", "task.passages=0"]
    ponder_here(tmp_path, *given).well()
    (run,) = runs(tmp_path)
    (row,) = rows(run)
    assert row["error"] is None
    assert row["meta"] == {"question": question["question"], "passages": []}
    assert row["answers"]["argmax"] == {"answer": "north sea", "correct": True}
    assert "".join(row["traces"][-1]["steps"]).startswith("It ends in the Elbe, above Dresden.\n\nThe Elbe")
    assert row["cost"]["policy"]["new_tokens"] == 3


def test_a_closed_book_run_needs_no_corpus(tmp_path: Path) -> None:
    done = ponder_here(
        tmp_path,
        "task=retrieval_qa",
        f"task.path={QUESTIONS}",
        "task.retriever=null",
        "task.passages=0",
        "sampler=scripted",
        "sampler.texts=['Answer: The Kepler!']",
        "verifier=none",
        "search=self_consistency",
        "select=majority",
        "budget.n=2",
    ).well()
    assert "4 questions, accuracy 25.0 %" in done.err


def test_settings_are_checked() -> None:
    for wrong, message in [
        ({"passages": -1}, r"task\.passages=-1"),
        ({"passages": True}, r"task\.passages=True"),
        ({"passages": 3}, r"task\.retriever=null finds none"),
        ({"passages": 0, "metric": "bleu"}, r"task\.metric='bleu'"),
        ({"passages": 0, "threshold": 0.0}, r"task\.threshold=0\.0"),
        ({"passages": 0, "limit": 0}, r"task\.limit=0"),
    ]:
        with pytest.raises(UserError, match=message):
            RetrievalQA(QUESTIONS, **wrong)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="no home on the hub"):
        RetrievalQA(passages=0).problems()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answers": []}, "answers=[]: one text or more"),
        ({"answers": ["", "b"]}, "answers=['', 'b']"),
        ({"answers": [1]}, "answers=[1]"),
        ({"answers": "b"}, "answers='b' is a str"),
        ({"question": " "}, "question is empty"),
        ({"id": "a"}, "the id 'retrieval_qa-a' is there twice"),
    ],
)
def test_a_bad_row_is_named_by_its_line(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    good = {"id": "a", "question": "?", "answers": ["b"]}
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, [good, {**good, "id": "b", **change}])), encoding="utf-8")
    with pytest.raises(UserError) as caught:
        RetrievalQA(str(path), passages=0).problems()
    assert message in str(caught.value)
    assert f"task.path: {path}:2: " in str(caught.value)
