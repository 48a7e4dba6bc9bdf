"""A whole solution, split, has the steps that step-by-step generation would have made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import ponder
from ponder.protocols import Until
from ponder.samplers.chat import decode, split
from ponder.types import Cost, Problem, Step, Trace

POLICY = Path(ponder.__file__).parent / "tasks" / "embedded" / "policy"


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(POLICY)


def whole(tokenizer: Any, text: str) -> Step:
    ids = (*tokenizer.encode(text, add_special_tokens=False), tokenizer.eos_token_id)
    return Step(text, ids, tuple(-0.1 * i for i in range(len(ids))), "eos", Cost(new_tokens=len(ids)))


def test_steps_end_with_their_delimiter_and_lose_nothing(tokenizer: Any) -> None:
    step = whole(tokenizer, "a17*3=51\n\nb51-5=46\n\n\\boxed{46}")
    pieces = split(tokenizer, Trace(Problem("p", "17;a*3;b-5?")), step, Until(stop=("\n\n",)))
    assert [piece.text for piece in pieces] == ["a17*3=51\n\n", "b51-5=46\n\n", "\\boxed{46}"]
    assert [piece.why for piece in pieces] == ["stop", "stop", "eos"]
    assert tuple(token for piece in pieces for token in piece.token_ids) == step.token_ids
    assert tuple(logprob for piece in pieces for logprob in piece.logprobs) == step.logprobs
    assert [piece.cost.new_tokens for piece in pieces] == [len(step.token_ids), 0, 0]


def test_a_delimiter_may_span_tokens_and_a_step_may_be_counted(tokenizer: Any) -> None:
    step = whole(tokenizer, "a17*3=51\n\n\\boxed{51}")
    spanning = split(tokenizer, Trace(Problem("p", "?")), step, Until(stop=("*3=",)))
    assert spanning[0].text == "a17*3="
    counted = split(tokenizer, Trace(Problem("p", "?")), step, Until(every=3))
    assert [len(piece.token_ids) for piece in counted[:-1]] == [3] * (len(counted) - 1)
    assert counted[-1].why == "eos"
    assert "".join(piece.text for piece in counted) == decode(tokenizer, step.token_ids)


def test_a_cut_solution_stays_cut(tokenizer: Any) -> None:
    ids = tuple(tokenizer.encode("a17*3=51\n\nb5", add_special_tokens=False))
    cut = Step("a17*3=51\n\nb5", ids, (), "length")
    pieces = split(tokenizer, Trace(Problem("p", "?")), cut, Until(stop=("\n\n",)))
    assert [piece.why for piece in pieces] == ["stop", "length"]
