r"""What whole replies answer, and the labels of four other projects' tests: 270 pairs, each under its own options."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ponder.errors import UserError
from ponder.tasks.equivalence import close
from ponder.tasks.grading import Options, equivalent, final_answer, letter

PAIRS = Path(__file__).parents[3] / "shared" / "data" / "grading_pairs.jsonl"
DISAGREEMENTS = json.loads(Path(__file__).with_name("grading_disagreements.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module", autouse=True)
def workers() -> Iterator[None]:
    """Workers end with this file."""
    yield
    close()


@pytest.fixture(scope="module")
def pairs() -> list[dict[str, Any]]:
    """The pairs of Math-Verify, lighteval, NeMo-Skills and open-instruct."""
    if not PAIRS.exists():
        pytest.skip("shared/data/grading_pairs.jsonl is not beside the repository")
    return [json.loads(line) for line in PAIRS.read_text(encoding="utf-8").splitlines()]


def test_labels_are_those_of_other_projects(pairs: Any) -> None:
    with ThreadPoolExecutor(2) as threads:
        ours = list(threads.map(lambda p: equivalent(p["gold"], p["pred"], Options.of(p["options"])), pairs))
    differing = {pair["id"] for pair, verdict in zip(pairs, ours, strict=True) if verdict != pair["equivalent"]}
    assert differing == set(DISAGREEMENTS), "a disagreement that is not listed, or one that is no more"
    plain = [pair["id"] for pair in pairs if not (pair["disputed"] or pair["suspect"])]
    assert len(plain) == 266
    assert len(differing & set(plain)) / len(plain) < 0.01


def test_strict_comparison_serves_bare_answers_alike(pairs: Any) -> None:
    """Where upstream compares bare answers, our defaults say what its options say."""
    bare = [pair for pair in pairs if not pair["options"].get("match_types")]
    assert len(bare) == 46
    assert [p["id"] for p in bare if equivalent(p["gold"], p["pred"]) != p["equivalent"]] == []


def test_strict_comparison_calls_nothing_right_that_is_labelled_wrong(pairs: Any) -> None:
    wrong = [pair for pair in pairs if not pair["equivalent"]]
    assert len(wrong) == 40
    assert [pair["id"] for pair in wrong if equivalent(pair["gold"], pair["pred"])] == []


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        (r"So \boxed{2}.", "2"),
        (r"\boxed{1} or rather \boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\fbox{3}", "3"),
        (r"\boxed {4}", "4"),
        (r"<think>\boxed{1}</think> \boxed{2}", "2"),
        (r"<think>\boxed{1}</think>", None),
        (r"<think>\boxed{1}", None),
        (r"\boxed{1}</think>\boxed{2}", "2"),
        (r"<think>a</think>\boxed{1}<think>b</think>\boxed{2}", "2"),
        (r"\boxed{1}<think>\boxed{2}", "1"),
        (r"\boxed{1}<think>\boxed{2}</think>", "1"),
        (r"<think><think>a</think>\boxed{2}</think>", None),
        (r"\boxed{\text{a \} b}}", r"\text{a \} b}"),
        (r"\boxed{2", None),
        (r"\boxed{}", None),
        (r"\boxed{1} \boxed{2", None),
        ("The answer is 2", None),
        ("2", None),
        ("", None),
    ],
)
def test_the_answer_of_a_reply(reply: str, answer: str | None) -> None:
    assert final_answer(reply) == answer


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ("The answer is 2.", "2"),
        ("The answer is: **2**", "2"),
        ("Final Answer: The final answer is $28 \\%$. I hope it is correct.", "$28 \\%$"),
        ("16 - 3 = 13\n#### 13", "13"),
        ("It is 5\nA: 20", "20"),
        ("Answer: 7\nThe answer is 8", "8"),
        ("答案是 3", "3"),
        (r"The answer is 1. \boxed{2}", "2"),
        ("<think>The answer is 1</think>", None),
        ("nothing", None),
    ],
)
def test_stated_answers_are_an_option(reply: str, answer: str | None) -> None:
    assert final_answer(reply, stated=True) == answer
    assert r"\boxed" in reply or final_answer(reply) is None


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ("I got 7, then 1,234.5.", "1,234.5"),
        ("1,2", "2"),
        ("1,2345", "2345"),
        ("-3 or 4/5", "4/5"),
        ("3 and\n12,000", "12,000"),
        ("no number", None),
    ],
)
def test_the_last_number_is_an_option(reply: str, answer: str | None) -> None:
    assert final_answer(reply, last_number=True) == answer
    assert final_answer(reply) is None


@pytest.mark.parametrize(
    ("gold", "pred", "options"),
    [
        ("2", "It is 2", {"last_number": True}),
        ("2", "The answer is 2.", {"stated": True}),
        ("50", "0.5", {"percent": True}),
        ("0.5", "50", {"percent": True}),
        (r"\frac{1}{2}", r"\boxed{50}", {"percent": True}),
    ],
)
def test_what_is_loose_is_an_option(gold: str, pred: str, options: dict[str, Any]) -> None:
    assert equivalent(gold, pred, Options.of(options))
    assert not equivalent(gold, pred)
    assert not equivalent("7", pred, Options.of(options))


def test_a_gold_solution_is_read_by_its_box() -> None:
    assert equivalent(r"So 1 + 1 = \boxed{2}.", r"It is \boxed{2.0}.")
    assert not equivalent(r"Of \boxed{1} and \boxed{2}", r"\boxed{1,2}")


def test_digits_of_other_scripts_are_read_out_of_replies() -> None:
    options = Options(match_types=("latex", "expr"), language="ARABIC")
    assert equivalent("66", "الجواب هو ٦٦", options)
    assert not equivalent("67", "الجواب هو ٦٦", options)


@pytest.mark.parametrize(
    ("reply", "found"),
    [("**B**", "B"), ("It's (C).", "C"), ("I am sure: the answer is D", "D"), ("none", None), ("", None)],
)
def test_letters(reply: str, found: str | None) -> None:
    assert letter(reply) == found


ODD = [
    "9" * 1_000_000,
    r"\boxed{" * 100_000,
    "{" * 1_000_000,
    "\\" * 1_000_000,
    "answer is " * 100_000,
    "<think>" * 150_000,
    "1," * 500_000,
    "1,234," * 150_000,
    "x" * 1_000_000,
]


@pytest.mark.parametrize("text", ODD, ids=range(len(ODD)))
def test_long_replies_are_read_in_linear_time(text: str) -> None:
    start = time.monotonic()
    final_answer(text, stated=True, last_number=True)
    final_answer(r"\boxed{" + text, stated=True, last_number=True)
    assert time.monotonic() - start < 2.0


@pytest.mark.parametrize(
    "pred", [*ODD[:3], "9**9**9**9", r"\frac{" * 10_000 + "1", "\udcff", "\x00", r"10^{10^{10^{10}}}"]
)
def test_hostile_predictions_are_wrong_and_quick(pred: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ponder.tasks.equivalence.LIMIT", 1.0)
    start = time.monotonic()
    assert not equivalent("2", pred)
    assert not equivalent(pred, "2")
    assert not equivalent("2", pred, Options(match_types=("latex", "expr")))
    assert time.monotonic() - start < 15.0


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"tolerance": 1}, "option 'tolerance' is unknown"),
        ({"precision": "6"}, "option precision='6' is a str"),
        ({"precision": True}, "option precision=True is a bool"),
        ({"match_types": ["image"]}, "option match_types has 'image'"),
        ({"language": "KLINGON"}, "option language='KLINGON' is unknown"),
    ],
)
def test_mistakes(given: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        Options.of(given)
