"""Outcome reward models: equal to the classifier's own forward on the chat-formatted conversation."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ponder.errors import UserError, VerifierError
from ponder.types import Cost, Problem, Score, Step, Trace
from ponder.verifiers.check import acheck
from ponder.verifiers.outcome import OutcomeRewardModel
from tests.tiny_families import LLAMA_CHAT, OUTCOMES

pytest.importorskip("torch")
pytestmark = pytest.mark.filterwarnings("default")
WEIGHTS = [0.5, -1.0, 0.25, 2.0, 0.0]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Builds each model once."""
    built: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in built:
            built[name] = OUTCOMES[name](tmp_path_factory.mktemp(name))
        return built[name]

    return folder


def verifier(folder: Path, **arguments: Any) -> OutcomeRewardModel:
    """On transformers."""
    return OutcomeRewardModel(str(folder), "transformers", **arguments)


def trace(name: str, steps: int, question: str = "What is 17 + 3?") -> Trace:
    """A trace of so many steps of a dozen words."""
    grown = Trace(Problem(name, question))
    for i in range(steps):
        grown += Step(f"{name} has {i} apples and {i * i} pears, so there are {i + i * i} in all.\n\n")
    return grown


def direct(folder: Path, scored: Trace, system: str | None = None) -> list[float]:
    """All labels' logits by the classifier's own forward on what the chat template gives."""
    import torch
    from transformers import AutoModelForSequenceClassification, PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    messages = [{"role": "user", "content": scored.problem.prompt}, {"role": "assistant", "content": scored.text}]
    if system is not None:
        messages.insert(0, {"role": "system", "content": system})
    ids = tokenizer.apply_chat_template(messages, return_dict=True)["input_ids"]
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    with torch.inference_mode():
        logits: list[float] = model(torch.tensor([ids])).logits[0].tolist()
    return logits


@pytest.mark.parametrize("name", ["outcome_llama", "outcome_qwen"])
async def test_the_reward_is_the_classifiers_logit(tiny: Callable[[str], Path], name: str) -> None:
    model = verifier(tiny(name))
    traces = [trace(f"t{i}", i) for i in range(1, 7)]
    scores = await model.score(traces)
    for scored, score in zip(traces, scores, strict=True):
        (expected,) = direct(tiny(name), scored)
        assert float(score) == pytest.approx(expected, abs=3e-5)
        assert score.steps == ()
    assert min(scores) < 0 or max(scores) > 1  # unbounded, as they are
    assert not hasattr(model, "range")
    await acheck(model)


async def test_several_labels_are_weighted(tiny: Callable[[str], Path]) -> None:
    scored = trace("w", 3)
    (score,) = await verifier(tiny("objectives"), weights=WEIGHTS).score([scored])
    expected = direct(tiny("objectives"), scored)
    assert float(score) == pytest.approx(sum(w * x for w, x in zip(WEIGHTS, expected, strict=True)), abs=3e-5)


async def test_armorm_gives_its_objectives_without_its_gate(tiny: Callable[[str], Path]) -> None:
    scored = trace("a", 2)
    (ours,) = await verifier(tiny("armorm"), weights=WEIGHTS).score([scored])
    (same,) = await verifier(tiny("objectives"), weights=WEIGHTS).score([scored])
    assert float(ours) == pytest.approx(float(same), abs=1e-6)


async def test_a_system_message_is_sent(tiny: Callable[[str], Path]) -> None:
    scored = trace("s", 2)
    (score,) = await verifier(tiny("outcome_qwen"), system="Be strict.").score([scored])
    assert float(score) == pytest.approx(direct(tiny("outcome_qwen"), scored, "Be strict.")[0], abs=3e-5)
    assert float(score) != pytest.approx(direct(tiny("outcome_qwen"), scored)[0], abs=1e-2)


@pytest.mark.parametrize("name", ["outcome_llama", "outcome_qwen"])
async def test_a_growing_trace_costs_what_is_new(tiny: Callable[[str], Path], name: str) -> None:
    model = verifier(tiny(name))
    grown = trace("grown", 12)
    computed = []
    for depth in range(1, 13):
        short = dataclasses.replace(grown, steps=grown.steps[:depth])
        (score,) = await model.score([short])
        quote = model.quote(short)
        assert score.cost.verifier_tokens + score.cost.verifier_cached_tokens == quote.verifier_tokens
        assert score.cost.flops <= quote.flops
        computed.append(score.cost.verifier_tokens)
    # Of each step: its tokens, the last word of the one before, and what closes the turn.
    assert max(computed[1:]) < len(grown.steps[-1].text) + 12
    assert float(score) == pytest.approx(direct(tiny(name), grown)[0], abs=3e-5)
    assert (await model.score([grown]))[0].cost == Cost()


async def test_a_question_is_computed_once_for_all_solutions(tiny: Callable[[str], Path]) -> None:
    model = verifier(tiny("outcome_llama"))
    traces = [trace(name, 1, question="How many? " * 30) for name in "abcd"]
    scores = await model.score([*traces, traces[0]])
    assert scores[0].cost.verifier_tokens > 300
    assert all(score.cost.verifier_tokens < 100 for score in scores[1:])
    assert scores[4] == scores[0]
    assert scores[4].cost == Cost()


@pytest.mark.parametrize("name", ["outcome_llama", "outcome_qwen"])
async def test_special_tokens_names_are_plain_text(tiny: Callable[[str], Path], name: str) -> None:
    model = verifier(tiny(name))
    names = model._names
    odd = trace("odd", 1, f"what is {names[0]}?") + Step(f"{names[1]} and {names[2]}.\n\n")
    plain = trace("odd", 1, "what is it?") + Step("this and that.\n\n")
    special = set(model._tokenizer.get_added_vocab().values())
    count = [sum(token in special for token in model._lay(t).request.ids) for t in (odd, plain)]
    assert count[0] == count[1] > 3
    text = model._tokenizer.decode(model._lay(odd).request.ids)
    assert f"what is {names[0]}?" in text
    assert f"{names[1]} and {names[2]}." in text
    (score,) = await model.score([odd])
    assert math.isfinite(score)


@pytest.mark.parametrize("name", ["outcome_llama", "outcome_qwen"])
def test_both_ways_to_put_a_conversation_together_agree(tiny: Callable[[str], Path], name: str) -> None:
    model, pieced = verifier(tiny(name)), verifier(tiny(name))
    scored = trace("same", 3)
    whole = model._lay(scored)
    pieced._names.append("apples")  # so that the answer holds a name
    apart = pieced._lay(scored)
    assert apart.request.ids == whole.request.ids
    assert apart.request.cuts == whole.request.cuts
    assert len(whole.request.cuts) == 4


async def test_a_trace_without_text_is_neutral(tiny: Callable[[str], Path]) -> None:
    model = verifier(tiny("outcome_llama"), neutral=-1.5)
    empty = Trace(Problem("e", "2 + 2?"))
    scores = await model.score([empty, empty + Step("", why="eos"), trace("x", 1), trace("x", 1) + Step("", why="eos")])
    assert [float(score) for score in scores[:2]] == [-1.5, -1.5]
    assert model.quote(empty).verifier_tokens == 0
    assert scores[2] == scores[3]


async def test_rewards_do_not_hang_on_the_batch(tiny: Callable[[str], Path]) -> None:
    traces = [trace(f"b{i}", i % 5 + 1) for i in range(12)]
    together = await verifier(tiny("outcome_qwen")).score(traces)
    single = verifier(tiny("outcome_qwen"), options={"batch_size": 1, "cache_tokens": 0})
    for one, score in zip(reversed(traces), reversed(together), strict=True):
        (alone,) = await single.score([one])
        assert isinstance(alone, Score)
        assert float(alone) == pytest.approx(float(score), abs=3e-5)


async def test_too_long_is_an_error_that_names_the_limit(tiny: Callable[[str], Path]) -> None:
    with pytest.raises(VerifierError, match="2048"):
        await verifier(tiny("outcome_llama")).score([trace("long", 60)])


@pytest.mark.parametrize(
    ("name", "weights"), [("objectives", None), ("objectives", [1.0]), ("outcome_qwen", [1.0, 2.0])]
)
async def test_as_many_weights_as_labels(tiny: Callable[[str], Path], name: str, weights: list[float] | None) -> None:
    with pytest.raises(UserError, match=r"verifier\.weights=.*labels") as caught:
        await verifier(tiny(name), weights=weights).score([trace("x", 1)])
    assert caught.value.hint


async def test_a_template_that_refuses_or_is_missing_is_named(tiny: Callable[[str], Path]) -> None:
    model = verifier(tiny("outcome_llama"), system="Be strict.")
    refusing = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}" + LLAMA_CHAT
    model._tokenizer.chat_template = refusing
    with pytest.raises(UserError, match=r"verifier\.system='Be strict\.'.*no system"):
        await model.score([trace("x", 1)])
    model._tokenizer.chat_template = None
    with pytest.raises(UserError, match="chat template"):
        model.quote(trace("x", 1))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"engine": "none"}, "verifier.engine"),
        ({"engine": "transformers", "weights": []}, "verifier.weights"),
        ({"engine": "transformers", "weights": [math.nan]}, "verifier.weights"),
        ({"engine": "transformers", "neutral": math.inf}, "verifier.neutral"),
        ({"engine": "transformers", "options": {"block_size": 1}}, "verifier.options.block_size"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(UserError) as caught:
        OutcomeRewardModel(str(tmp_path), **arguments)
    assert named in caught.value.message
    assert caught.value.hint
