"""Problem -> prompt token ids, and emitted tokens -> text.

A prompt is rendered and tokenised once. What follows it is the trace's own token ids: text
that a model wrote is never tokenised again, so prefixes stay identical, token for token.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ponder.errors import UserError
from ponder.protocols import Until
from ponder.types import Problem, Step, Trace

_REMEMBERED = 4096  # prompts kept per sampler


@dataclass(frozen=True)
class ChatFormat:
    """How a problem becomes a prompt.

    Attributes:
        system: the system message; None leaves it to the model's chat template, and so does a verbatim problem.
        template: the user message, "{prompt}" standing for the problem's prompt. Other
            braces are left alone.
        prefill: opening of the assistant's turn, given by us rather than written by the model.
        raw: no chat template; the tokenizer's own special tokens (bos) are added.
        options: further variables of the chat template, such as `enable_thinking`.
    """

    system: str | None = None
    template: str = "{prompt}"
    prefill: str = ""
    raw: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if "{prompt}" not in self.template:
            raise UserError(
                f"sampler.template={self.template!r} has no {{prompt}}", "Put {prompt} where the question goes."
            )

    def user(self, problem: Problem) -> str:
        """The user message."""
        return problem.prompt if problem.verbatim else self.template.replace("{prompt}", problem.prompt)

    def ids(self, tokenizer: Any, problem: Problem) -> list[int]:
        """Token ids up to where the model starts writing.

        Args:
            tokenizer: a Hugging Face tokenizer.
            problem: the question.

        Raises:
            UserError: the tokenizer has no chat template, or its template rejects the messages.
        """
        opening = encode(tokenizer, self.prefill)
        system = None if problem.verbatim else self.system  # it says how to answer a task's questions
        if self.raw:
            text = f"{system}\n\n{self.user(problem)}" if system else self.user(problem)
            return [*tokenizer.encode(text), *opening]
        if not getattr(tokenizer, "chat_template", None):
            raise UserError(
                f"The tokenizer of {tokenizer.name_or_path!r} has no chat template",
                "Set sampler.raw=true to send the prompt as plain text.",
            )
        messages = [{"role": "system", "content": system}] if system is not None else []
        messages.append({"role": "user", "content": self.user(problem)})
        try:
            text = tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=True, **dict(self.options)
            )
        except Exception as error:  # templates raise whatever jinja raises
            raise UserError(
                f"The chat template of {tokenizer.name_or_path!r} failed: {error}",
                "Some templates accept no system message: set sampler.system=null.",
            ) from error
        return [*encode(tokenizer, text), *opening]


def settings(temperature: float, top_p: float, top_k: int, min_p: float) -> dict[str, Any]:
    """How a sampler picks next tokens, by name.

    Raises:
        UserError: a value is out of range.
    """
    if temperature < 0 or not 0 < top_p <= 1 or top_k < 0 or not 0 <= min_p <= 1:
        raise UserError(
            f"sampler: temperature={temperature}, top_p={top_p}, top_k={top_k}, min_p={min_p}",
            "temperature >= 0, 0 < top_p <= 1, top_k >= 0 and 0 <= min_p <= 1 are allowed.",
        )
    return {"temperature": temperature, "top_p": top_p, "top_k": top_k, "min_p": min_p}


class Prompts:
    """The prompt ids of problems, each rendered once.

    Args:
        tokenizer: a Hugging Face tokenizer.
        chat: how a problem becomes a prompt.
    """

    def __init__(self, tokenizer: Any, chat: ChatFormat) -> None:
        self.tokenizer = tokenizer
        self.chat = chat
        self._known: OrderedDict[tuple[str, bool], list[int]] = OrderedDict()

    def of(self, trace: Trace) -> list[int]:
        """Token ids of the prompt and of everything the trace has so far."""
        key = trace.problem.prompt, trace.problem.verbatim
        prompt = self._known.get(key)
        if prompt is None:
            prompt = self._known[key] = self.chat.ids(self.tokenizer, trace.problem)
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        written: list[int] = []
        for step in trace.steps:  # a step without ids came from elsewhere: its text is all there is
            written.extend(step.token_ids or encode(self.tokenizer, step.text))
        return prompt + written


def encode(tokenizer: Any, text: str) -> list[int]:
    """Token ids of a text in mid-sequence: nothing is added around it."""
    return list(tokenizer.encode(text, add_special_tokens=False)) if text else []


def decode(tokenizer: Any, ids: Sequence[int]) -> str:
    """Text of token ids, special tokens left out and spaces as they are."""
    return str(tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False))


def step_text(tokenizer: Any, trace: Trace, ids: Sequence[int], *, final: bool) -> str:
    """The text that new tokens add to a trace.

    All tokens of the solution are decoded together and the text before is cut off, since a
    token's text may depend on its neighbours (a leading space, a character of several bytes).

    Args:
        tokenizer: a Hugging Face tokenizer.
        trace: the trace before the tokens.
        ids: the new tokens.
        final: whether nothing can follow. Otherwise bytes of an unfinished character are
            held back; they come with the step that completes them.
    """
    before = trace.text
    whole = decode(tokenizer, (*trace.token_ids, *ids))
    if not final:
        whole = whole.rstrip("\ufffd")
    if whole.startswith(before):
        return whole[len(before) :]
    alone = decode(tokenizer, ids)
    return alone if final else alone.rstrip("\ufffd")


def first_tokens(tokenizer: Any, suffix: str, choices: Sequence[str]) -> tuple[list[int], list[int]]:
    """Ids of a probe's suffix, and the token with which each choice would go on.

    Args:
        tokenizer: a Hugging Face tokenizer.
        suffix: text between trace and choice.
        choices: the possible continuations.

    Raises:
        UserError: a choice is empty, or two begin with the same token.
    """
    ids = encode(tokenizer, suffix)
    firsts: list[int] = []
    for choice in choices:
        joined = encode(tokenizer, suffix + choice)
        fits = len(joined) > len(ids) and joined[: len(ids)] == ids
        alone = joined[len(ids) :] if fits else encode(tokenizer, choice)
        if not choice or not alone:
            raise UserError(f"A probe's choice {choice!r} is no token", "Give non-empty choices.")
        firsts.append(alone[0])
    if len(set(firsts)) != len(firsts):
        raise UserError(
            f"The choices {list(choices)} do not all begin with different tokens ({firsts})",
            "Pick choices that differ in their first token, or move their common part into the suffix.",
        )
    return ids, firsts


def split(tokenizer: Any, trace: Trace, step: Step, until: Until) -> list[Step]:
    """Cuts a whole solution into the steps that `until` would have made of it.

    A step ends with the token that completes a stop string, as in step-by-step generation.

    Args:
        tokenizer: a Hugging Face tokenizer.
        trace: the trace before the solution.
        step: the solution as one step.
        until: where a step ends.

    Returns:
        Steps with the same tokens in the same order; the first carries the cost, the last the
        reason for which the solution ended.
    """
    last_characters = {stop[-1] for stop in until.stop if stop}
    pieces: list[Step] = []
    begin = 0
    for end, token in enumerate(step.token_ids, start=1):
        ids = step.token_ids[begin:end]
        ended = len(ids) == until.every
        # Only a token that holds a stop's last character can complete it: few pieces are decoded.
        if not ended and last_characters & set(decode(tokenizer, [token])):
            ended = any(stop in decode(tokenizer, ids) for stop in until.stop)
        if not ended and end < len(step.token_ids):
            continue
        last = end == len(step.token_ids)
        text = step_text(tokenizer, trace, ids, final=last)
        why = step.why if last else "stop"
        top = step.top_logprobs[begin:end]
        pieces.append(Step(text, ids, step.logprobs[begin:end], why, top_logprobs=top))
        trace, begin = trace + pieces[-1], end
    return [replace(pieces[0], cost=step.cost), *pieces[1:]] if pieces else [step]
