"""The mock must be truthful: costs, endings, seeds."""

import asyncio
import math
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ponder.errors import SamplerError, UserError
from ponder.protocols import Picking, Until
from ponder.samplers.characters import EOS
from ponder.samplers.scripted import Scripted
from ponder.samplers.toy_language import ToyLanguage
from ponder.types import Cost, Problem, Step, Trace

PROBLEM = Problem("p", "ask:")
BARE = Trace(PROBLEM)
WHOLE = Until()
STEPS = Until(stop=("\n\n",))
TOY = {"^": {"a": 0.5, "b": 0.5}, "a": {"b": 0.3, "$": 0.7}, "b": {"c": 0.6, "$": 0.4}, "c": {"$": 1.0}}


def draw(sampler: Any, trace: Any = BARE, n: Any = 1, until: Any = WHOLE, seed: Any = 0) -> Any:
    return asyncio.run(sampler.sample(trace, n, until, seed=seed))


def test_a_whole_text_ends_with_the_end_of_sequence_and_is_billed_for_it() -> None:
    sampler = Scripted(["four"])
    first, second = draw(sampler, n=2)
    assert (first.text, first.why, first.token_ids) == ("four", "eos", (*map(ord, "four"), EOS))
    assert first.cost == Cost(prompt_tokens=4, new_tokens=5)
    assert second.cost == Cost(new_tokens=5)
    assert (sampler.requests, sampler.new_tokens, sampler.prompt_tokens) == (1, 10, 4)


def test_listed_texts_are_played_in_order_and_cyclically() -> None:
    assert [s.text for s in draw(Scripted(["x", "y"]), n=3, seed=7)] == ["x", "y", "x"]


def test_steps_continue_the_text_that_the_trace_began() -> None:
    sampler = Scripted(["a\n\nb", "c\n\nd\n\n"])
    first, second = draw(sampler, n=2, until=STEPS)
    assert (first.text, first.why, second.text) == ("a\n\n", "stop", "c\n\n")
    (end,) = draw(sampler, BARE + first, until=STEPS)
    assert (end.text, end.why) == ("b", "eos")
    trace = BARE + second + draw(sampler, BARE + second, until=STEPS)[0]
    (nothing,) = draw(sampler, trace, until=STEPS)
    assert (nothing.text, nothing.why, nothing.token_ids) == ("", "eos", (EOS,))


def test_an_edited_trace_gets_a_whole_text_appended() -> None:
    assert draw(Scripted(["x"]), BARE + Step("Wait"))[0].text == "x"


def test_a_limit_cuts_and_is_reported_as_such() -> None:
    (step,) = draw(Scripted(["12345"]), until=Until(max_tokens=5))
    assert (step.text, step.why, step.cost.new_tokens) == ("12345", "length", 5)
    (counted,) = draw(Scripted(["12345"]), until=Until(max_tokens=5, every=2))
    assert (counted.text, counted.why) == ("12", "stop")


def test_seeded_order_is_a_function_of_seed_and_prefix() -> None:
    texts = [str(i) for i in range(10)]
    one = [s.text for s in draw(Scripted(texts, order="seed"), n=50, seed=1)]
    assert one == [s.text for s in draw(Scripted(texts, order="seed"), n=50, seed=1)]
    assert one != [s.text for s in draw(Scripted(texts, order="seed"), n=50, seed=2)]
    assert one[:5] == [s.text for s in draw(Scripted(texts, order="seed"), n=5, seed=1)]
    assert len(set(one)) > 5


def test_a_function_says_steps_or_texts() -> None:
    sampler = Scripted(lambda trace, seed: Step(f"{len(trace)}", why="stop") if seed < 2 else "end")
    steps = draw(sampler, n=2, seed=1)
    assert [(s.text, s.why) for s in steps] == [("0", "stop"), ("end", "eos")]
    assert steps[0].token_ids == (ord("0"),)
    assert steps[0].cost == Cost(prompt_tokens=4, new_tokens=1)


@pytest.mark.parametrize("texts", [[], "abc"])
def test_no_texts_are_a_mistake(texts: Any) -> None:
    with pytest.raises(UserError, match=r"sampler\.texts"):
        Scripted(texts)
    unknown: Any = "random"
    with pytest.raises(UserError, match="listed, seed"):
        Scripted(["a"], order=unknown)


def test_a_finished_trace_cannot_be_continued() -> None:
    with pytest.raises(SamplerError, match="finished"):
        draw(Scripted(["a"]), BARE + Step("a", why="eos"))


def test_probe_answers_and_bills() -> None:
    sampler = Scripted(["a"], probabilities=[0.9, 0.1])
    answer = asyncio.run(sampler.probe(BARE, "ok?", [" yes", " no"]))
    assert tuple(answer) == (0.9, 0.1)
    assert answer.cost == Cost(prompt_tokens=7, new_tokens=1)
    assert sampler.probes == 1
    assert tuple(asyncio.run(Scripted(["a"]).probe(BARE, "", ["x", "y"]))) == (0.5, 0.5)
    with pytest.raises(SamplerError, match="2 probabilities for 1"):
        asyncio.run(sampler.probe(BARE, "", ["x"]))


def test_quote_is_the_most_a_completion_costs() -> None:
    for sampler in (Scripted(["four"]), ToyLanguage(TOY)):
        quote, (step,) = sampler.quote(BARE, 5), draw(sampler, until=Until(max_tokens=5))
        assert quote == Cost(prompt_tokens=4, new_tokens=5)
        assert step.cost.new_tokens <= quote.new_tokens


def test_split_gives_the_steps_that_stepping_would_have_given() -> None:
    sampler = Scripted(["a\n\nbb\n\nc"])
    (whole,) = draw(sampler)
    pieces = sampler.split(BARE, whole, STEPS)
    assert [(s.text, s.why) for s in pieces] == [("a\n\n", "stop"), ("bb\n\n", "stop"), ("c", "eos")]
    assert sum((s.cost for s in pieces), Cost()) == whole.cost
    assert sum((s.token_ids for s in pieces), ()) == whole.token_ids
    (cut,) = draw(sampler, until=Until(max_tokens=4))
    assert [s.why for s in sampler.split(BARE, cut, STEPS)] == ["stop", "length"]


def test_split_keeps_exact_logprobs() -> None:
    sampler = ToyLanguage(TOY)
    (whole,) = draw(sampler, seed=3)
    pieces = sampler.split(BARE, whole, Until(every=1))
    assert len(pieces) == len(whole.token_ids)
    assert sum((s.logprobs for s in pieces), ()) == whole.logprobs


def test_enumeration_is_complete_and_exact() -> None:
    found = ToyLanguage(TOY).enumerate()
    assert dict(found) == pytest.approx({"a": 0.35, "ab": 0.06, "abc": 0.09, "b": 0.2, "bc": 0.3})
    assert sum(p for _, p in found) == pytest.approx(1.0)


def test_endless_languages_are_enumerated_up_to_a_length() -> None:
    endless = ToyLanguage({"^": {"a": 1.0}, "a": {"a": 0.5, "$": 0.5}})
    assert endless.enumerate(longest=3) == [("aaa", 0.125), ("aa", 0.25), ("a", 0.5)]


def test_the_toy_language_speaks_with_its_probabilities() -> None:
    sampler, n = ToyLanguage(TOY), 20_000
    steps = draw(sampler, n=n, seed=5)
    counts = Counter(s.text for s in steps)
    exact = dict(sampler.enumerate())
    for text, p in exact.items():
        assert abs(counts[text] / n - p) < 4 * math.sqrt(p * (1 - p) / n)
    assert all(math.isclose(math.exp(sum(s.logprobs)), exact[s.text]) for s in steps[:100])


def test_the_toy_language_speaks_step_by_step_as_at_once() -> None:
    sampler = ToyLanguage(TOY)
    counts: Counter[str] = Counter()
    for seed in range(4000):
        trace = BARE
        while not trace.finished:
            trace = trace + draw(sampler, trace, until=Until(every=1), seed=seed)[0]
        counts[trace.text] += 1
    exact = dict(sampler.enumerate())
    chi2 = sum((counts[t] - 4000 * p) ** 2 / (4000 * p) for t, p in exact.items())
    assert chi2 < 18.5  # 99.9 % point of chi-square with 4 degrees of freedom


def test_the_toy_language_respects_the_end_of_a_step() -> None:
    sampler = ToyLanguage(TOY)
    for seed in range(20):
        (step,) = draw(sampler, until=Until(stop=("b",)), seed=seed)
        assert (step.why == "stop") == step.text.endswith("b")
        (short,) = draw(sampler, until=Until(max_tokens=1), seed=seed)
        assert (len(short.token_ids), short.why) == (1, "length")


def test_probing_the_toy_language_is_exact() -> None:
    sampler = ToyLanguage(TOY)
    answer = asyncio.run(sampler.probe(BARE + Step("a"), "", ["b", "$", "c"]))
    assert np.allclose(answer, [0.3, 0.7, 0.0])


@pytest.mark.parametrize(
    ("transitions", "says"),
    [
        ({}, "no row"),
        ({"^": {"a": 0.5}}, "no distribution"),
        ({"^": {"a": 1.5, "$": -0.5}}, "no distribution"),
        ({"^": {"a": 1.0}}, "has no row"),
        ({"^": {"ab": 1.0}}, "single characters"),
    ],
)
def test_wrong_languages_are_named(transitions: Any, says: Any) -> None:
    with pytest.raises(UserError, match=says):
        ToyLanguage(transitions)


def test_equal_prefixes_in_other_steps_draw_alike() -> None:
    sampler = ToyLanguage(TOY)
    joined, apart = BARE + Step("ab"), BARE + Step("a") + Step("b")
    assert draw(sampler, joined, seed=9) == [replace(s) for s in draw(sampler, apart, seed=9)]


@pytest.mark.parametrize(
    ("picking", "shares"),
    [
        (Picking(temperature=0.0), {"a": 1.0}),
        (Picking(temperature=0.5), {"a": 0.36 / 0.46, "b": 0.09 / 0.46, "c": 0.01 / 0.46}),
        (Picking(top_k=2), {"a": 2 / 3, "b": 1 / 3}),
        (Picking(top_p=0.65), {"a": 2 / 3, "b": 1 / 3}),
        (Picking(min_p=0.4), {"a": 2 / 3, "b": 1 / 3}),
        (Picking(), {"a": 0.6, "b": 0.3, "c": 0.1}),
    ],
)
def test_the_toy_language_picks_as_told(picking: Any, shares: Any) -> None:
    end = {"$": 1.0}
    toy = ToyLanguage({"^": {"c": 0.1, "b": 0.3, "a": 0.6}, "a": end, "b": end, "c": end})
    varied = toy.varied(picking)
    drawn = draw(varied, n=4000, seed=5)
    found = Counter(step.text for step in drawn)
    assert set(found) == set(shares)
    for text, share in shares.items():
        assert abs(found[text] / 4000 - share) <= 4 * math.sqrt(share * (1 - share) / 4000)
        (logprob,) = {step.logprobs[0] for step in drawn if step.text == text}
        assert logprob == pytest.approx(math.log({"a": 0.6, "b": 0.3, "c": 0.1}[text]))  # the language's own
    assert toy.new_tokens == varied.new_tokens == 8000


def test_the_likeliest_characters_are_told_where_asked_and_survive_splitting() -> None:
    toy = ToyLanguage(TOY).varied(Picking(top_logprobs=1))
    (whole,) = draw(toy, seed=3)
    assert whole.top_logprobs[0] == (math.log(0.5),)
    assert len(whole.top_logprobs) == len(whole.token_ids)
    pieces = toy.split(BARE, whole, Until(every=1))
    assert tuple(top for piece in pieces for top in piece.top_logprobs) == whole.top_logprobs
    assert draw(ToyLanguage(TOY), seed=3)[0].top_logprobs == ()


def test_reading_gives_the_language_s_probabilities() -> None:
    toy = ToyLanguage(TOY)
    prefix = BARE + Step("a", (97,))
    read = asyncio.run(toy.read(prefix, Step("b", (98, EOS), why="eos")))
    assert read.logprobs == pytest.approx((math.log(0.3), math.log(0.4)))
    assert (read.cost, toy.new_tokens, toy.prompt_tokens) == (Cost(prompt_tokens=7, new_tokens=1), 1, 7)
    with pytest.raises(SamplerError, match="never writes"):
        asyncio.run(toy.read(prefix, Step("a", (97,))))
