"""Asking a model about solutions: replies, probes, bills, quotes, and what is read from a reply."""

import asyncio
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tenacity import wait_none

from ponder.errors import UserError, VerifierError
from ponder.samplers.scripted import Scripted
from ponder.types import Cost, Probabilities, Problem, Score, Step, Trace
from ponder.verifiers.judging import (
    Judge,
    Judgement,
    after_thought,
    asked,
    before,
    bill,
    booked,
    each,
    listed,
    numbered_steps,
    share,
    spread,
    together,
)
from tests.verifiers.asking import ODD, Failing, Talker, solution


def asks(judge: Judge, *given: Any, **named: Any) -> list[Trace]:
    return asyncio.run(judge.ask(*given, **named))


def reply(*texts: str, why: Any = "eos") -> Trace:
    steps = [Step(text) for text in texts[:-1]]
    last = texts[-1]
    return Trace(asked("?"), (*steps, Step(last, (*map(ord, last), *([0] if why == "eos" else ())), why=why)))


def test_a_question_is_the_whole_message_and_has_so_many_replies() -> None:
    judge = Talker(lambda trace, seed: f"{seed % 10}{trace.problem.prompt[:1]}")
    replies = asks(Judge(judge, max_tokens=20), ODD, 3)
    assert [trace.problem for trace in replies] == [asked(ODD)] * 3
    assert replies[0].problem.verbatim
    assert replies[0].problem.prompt == ODD
    assert all(trace.finished for trace in replies)
    assert len({trace.text for trace in replies}) == 3
    assert judge.requests == 1


def test_equal_questions_get_equal_replies_whoever_asks_beside_them() -> None:
    def say(trace: Trace, seed: int) -> str:
        return str(seed)

    async def beside() -> list[list[Trace]]:
        judge = Judge(Talker(say))
        return await together(judge.ask(message, 2) for message in ("a", "b", "a", "c"))

    a, b, again, _ = asyncio.run(beside())
    assert a == again == asks(Judge(Talker(say)), "a", 2)
    assert a != b
    assert a[0].text != asks(Judge(Talker(say)), "a", opening="So: ")[0].steps[-1].text


def test_a_reply_goes_on_from_its_opening() -> None:
    judge = Talker(lambda trace, seed: "and so on")
    (trace,) = asks(Judge(judge), "Go!", opening="One ")
    assert trace.text == "One and so on"
    assert judge.asked[0].text == "One "
    assert asks(Judge(judge), "Go!")[0].text == "and so on"


def test_a_long_reply_is_cut() -> None:
    (trace,) = asks(Judge(Talker(lambda t, s: "x" * 50), max_tokens=7), "?")
    assert (trace.text, trace.finished) == ("x" * 7, False)


def test_what_fails_is_asked_again_and_then_named() -> None:
    assert asks(Judge(Failing(1)), "?")[0].text == "Fine."
    with (
        patch("ponder.verifiers.judging.wait_exponential", lambda **given: wait_none()),
        pytest.raises(VerifierError, match=r"the judge failed: RuntimeError: out of memory \(4 attempts\)"),
    ):
        asks(Judge(Failing(99)), "?")
    once = Failing(1)
    found = asyncio.run(Judge(once).probe(Trace(asked("?")), "", ("a", "b")))
    assert tuple(found) == (1.0, 1.0)
    assert once.probes == 1


def test_too_few_replies_are_asked_for_again() -> None:
    class Short(Scripted):
        left = 1

        async def sample(self, *given: Any, **named: Any) -> Any:
            steps = await super().sample(*given, **named)
            type(self).left -= 1
            return steps[:1] if self.left >= 0 else steps

    assert len(asks(Judge(Short(["a"])), "?", 2)) == 2


def test_a_users_mistake_is_not_repeated() -> None:
    class Refusing(Talker):
        calls = 0

        async def sample(self, *given: Any, **named: Any) -> Any:
            type(self).calls += 1
            raise UserError("no template", "set raw")

    with pytest.raises(UserError, match="no template"):
        asks(Judge(Refusing()), "?")
    assert Refusing.calls == 1


def test_who_cannot_judge_is_named() -> None:
    class Plain:
        async def sample(self, *given: Any, **named: Any) -> Any: ...

        async def probe(self, *given: Any) -> Any:
            return [0.5, 0.5]

    with pytest.raises(UserError, match="is no model"):
        Judge("gpt")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="max_tokens=0"):
        Judge(Talker(), max_tokens=0)
    with pytest.raises(UserError, match="Plain cannot vary"):
        Judge(Plain(), temperature=0.0)
    plain = Judge(Plain())  # what it does not say is counted all the same
    assert plain.model is None
    assert bill([asyncio.run(plain.probe(Trace(asked("?")), "", ("a", "b")))]) == Cost(new_tokens=1, verifier_tokens=1)
    assert plain.quote("?", 2) == booked(Cost(new_tokens=2 * (1024 + 1)))
    assert plain.quote_probe("?") == booked(Cost(new_tokens=1))


TEXTS = st.text(max_size=40)


@settings(max_examples=30, deadline=None)
@given(TEXTS, TEXTS, TEXTS, st.integers(1, 3), st.text(max_size=60))
def test_a_quote_is_never_passed(message: str, opening: str, suffix: str, n: int, said: str) -> None:
    sampler = Talker(lambda trace, seed: said)
    judge = Judge(sampler, max_tokens=30)

    async def work() -> tuple[list[Trace], list[Probabilities], Probabilities]:
        replies = await judge.ask(message, n, opening)
        probes = [await judge.probe(before(one, "so"), suffix, ("a", "b")) for one in replies]
        return replies, probes, await judge.probe(Trace(asked(message)), suffix, ("a", "b"))

    replies, probes, first = asyncio.run(work())
    for spent, most in (
        (bill([*replies, *probes]), judge.quote(message, n, opening, suffix)),
        (bill(replies), judge.quote(message, n, opening, suffix=None)),
        (bill([first]), judge.quote_probe(message, suffix)),
    ):
        assert all(count <= getattr(most, name) for name, count in spent.asdict().items())
    assert bill([*replies, *probes, first]).new_tokens == sampler.new_tokens


def test_what_is_computed_is_verifier_tokens_too() -> None:
    one = Trace(asked("?"), (Step("a", cost=Cost(prompt_tokens=10, cached_tokens=8, new_tokens=3, flops=5.0)),))
    probe = Probabilities([0.5], Cost(prompt_tokens=4, new_tokens=1))
    assert bill([one, probe]) == Cost(
        prompt_tokens=14, cached_tokens=8, new_tokens=4, verifier_tokens=10, verifier_cached_tokens=8, flops=5.0
    )
    assert bill([]) == Cost()


def test_a_probe_goes_on_before_the_mark_or_before_the_end() -> None:
    ended = before(reply("Right.", "It is."), "So:")
    assert (ended.text, ended.steps[-1].token_ids) == ("Right.It is.", tuple(map(ord, "It is.")))
    assert not ended.finished
    assert before(reply("It is.", why="length"), "So:").steps[-1].token_ids == tuple(map(ord, "It is."))
    marked = before(reply("Open: ", "No. So: no. Or?\n\nSo: yes"), "So:")
    assert marked.text == "Open: No. So: no. Or?"
    assert marked.steps[-1].token_ids == ()
    assert before(reply(""), "So:").text == ""


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ("plain", "plain"),
        ("<think>hm</think>so", "so"),
        ("hm</think>so", "so"),
        ("<think>a</think>b<think>c</think>d", "d"),
        ("<think>never closed", ""),
        ("<think>a</think>so<think>again", "so"),
        ("<think><think>a</think>b</think>c", "c"),
        ("", ""),
    ],
)
def test_thoughts_are_left_out(said: str, left: str) -> None:
    assert after_thought(reply(said)) == left
    assert after_thought(reply("<think>\n</think>", said)) == left


def test_shares_and_means() -> None:
    assert share([0.1, 0.3]) == pytest.approx(0.25)
    assert share([0.0, 0.0]) is None
    assert Judgement.mean([0.5, None, 1.0], Cost()) == Judgement(0.75, 1, Cost())
    assert Judgement.mean([None], Cost()).value is None
    lost = Judgement.mean([None, None], Cost(new_tokens=2)).score(lowest=-1.0)
    assert (lost, lost.unread, lost.cost.new_tokens) == (-1.0, 2, 2)


def test_scores_of_steps_with_text_are_spread_over_all() -> None:
    trace = Trace(Problem("p", "?"), tuple(map(Step, ("", " ", "a", "\n\n", "b", ""))))
    assert spread(trace, [0.1, 0.2], 0.5) == [0.5, 0.5, 0.1, 0.1, 0.2, 0.2]
    assert spread(Trace(Problem("p", "?")), [], 0.5) == []
    assert numbered_steps(trace) == "Step 1: a\n\nStep 2: b"


def test_equal_traces_are_judged_once_and_billed_once() -> None:
    judged: list[Trace] = []

    async def judge(trace: Trace) -> Score:
        judged.append(trace)
        return Score(0.5, (0.5,), Cost(new_tokens=3), unread=1)

    a, b = solution("a"), solution("b")
    scores = asyncio.run(each([a, b, a], judge))
    assert judged == [a, b]
    assert [score.cost.new_tokens for score in scores] == [3, 3, 0]
    assert [(score, score.steps, score.unread) for score in scores] == [(0.5, (0.5,), 1)] * 3
    assert asyncio.run(each([], judge)) == []


def test_an_error_waits_until_all_have_ended() -> None:
    ended = []

    async def work(fails: bool) -> None:
        if fails:
            raise VerifierError("no")
        await asyncio.sleep(0.01)
        ended.append(fails)

    with pytest.raises(VerifierError, match="no"):
        asyncio.run(together(work(fails) for fails in (True, False)))
    assert ended == [False]


def test_solutions_are_listed_as_reward_models_were_taught() -> None:
    assert listed([solution(" a\n"), solution("{b}")]) == (
        "[The Begin of Response 1]\na\n[The End of Response 1]\n\n"
        "[The Begin of Response 2]\n{b}\n[The End of Response 2]"
    )
