"""Prompts and step texts, with a byte-level tokenizer."""

from __future__ import annotations

from typing import Any

import pytest

from ponder.errors import UserError
from ponder.samplers.chat import ChatFormat, Prompts, decode, encode, first_tokens, step_text
from ponder.types import Problem, Step, Trace
from tests.tiny_models import tokenizer

pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(scope="module")
def tok() -> Any:
    return tokenizer()


def test_a_prompt_is_the_rendered_template(tok: Any) -> None:
    chat = ChatFormat(system="Be brief.", template="Q: {prompt} in \\boxed{}", prefill="Well")
    text = tok.decode(chat.ids(tok, Problem("1", "{1+1}?")))
    assert text == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nQ: {1+1}? in \\boxed{}<|im_end|>\n"
        "<|im_start|>assistant\nWell"
    )


def test_a_verbatim_question_has_neither_template_nor_system_message(tok: Any) -> None:
    """They say how to answer the task's questions; a judge is asked another."""
    asked = Problem("1", "Which is better?", verbatim=True)
    for chat in (ChatFormat(system="Box it.", template="Q: {prompt}"), ChatFormat(system="Box it.", raw=True)):
        assert chat.ids(tok, asked) == ChatFormat(raw=chat.raw).ids(tok, asked)
        assert "Box it." in tok.decode(chat.ids(tok, Problem("1", "Which is better?")))


def test_raw_is_the_text_alone(tok: Any) -> None:
    assert tok.decode(ChatFormat(raw=True).ids(tok, Problem("1", "1+1="))) == "1+1="


def test_a_continuation_is_the_traces_own_tokens(tok: Any) -> None:
    prompts = Prompts(tok, ChatFormat())
    bare = prompts.of(Trace(Problem("1", "x")))
    odd = tuple(tok.convert_tokens_to_ids(["=", "5"]))  # as text, "=5" is one token
    assert encode(tok, "=5") != list(odd)
    assert prompts.of(Trace(Problem("1", "x")) + Step("=5", odd)) == [*bare, *odd]


def test_characters_of_several_bytes_come_with_the_step_that_completes_them(tok: Any) -> None:
    ids = encode(tok, "né €5")
    trace = Trace(Problem("1", "x"))
    for token in ids:
        trace += Step(step_text(tok, trace, [token], final=False), (token,))
    assert trace.text == "né €5"
    assert decode(tok, ids) == "né €5"
    assert [step.text for step in trace.steps][:3] == ["n", "", "é"]


def test_the_end_token_has_no_text(tok: Any) -> None:
    trace = Trace(Problem("1", "x"))
    assert step_text(tok, trace, [*encode(tok, "a"), tok.eos_token_id], final=True) == "a"


def test_choices_are_read_in_their_place(tok: Any) -> None:
    assert first_tokens(tok, " is", ["Y", "N"]) == (
        encode(tok, " is"),
        [encode(tok, "Y")[0], encode(tok, "N")[0]],
    )
    with pytest.raises(UserError, match="different tokens"):
        first_tokens(tok, "", ["Yes", "Yet"])
    with pytest.raises(UserError, match="no token"):
        first_tokens(tok, "", ["", "a"])


def test_mistakes_carry_a_remedy(tok: Any) -> None:
    with pytest.raises(UserError, match="no \\{prompt\\}"):
        ChatFormat(template="prompt")
    bare = tokenizer()
    bare.chat_template = None
    with pytest.raises(UserError, match=r"sampler\.raw=true"):
        ChatFormat().ids(bare, Problem("1", "x"))
