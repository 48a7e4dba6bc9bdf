"""DeepSeek-GRM: a model states principles, writes a critique, ends it with scores; k such vote (arXiv 2504.02495)."""

from __future__ import annotations

import asyncio
import inspect
import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Literal

from ponder.errors import UserError, VerifierError
from ponder.protocols import Sampler, Verifier
from ponder.types import Cost, Score, Trace
from ponder.verifiers.comparing import Decoding, Judges, candidates, dealt, longest, one_of, said, shuffled, silent
from ponder.verifiers.judging import Judge, after_thought, asked, bill, fraction, listed, together, whole

CRITERIA = """You score responses of an assistant to a user. Read the conversation, whose last turn is the user's, and \
{what}. Judge by these general criteria: does it do what was asked (this matters most), is it useful and right, is it \
as detailed as it should be, does it keep to the point? First say which further criteria matter for this query, and \
how much each weighs; then analyse step by step; only then score. Be as strict as you can. A response may be \
unfinished: then judge it as far as it goes. {scale}"""

TEN = "Each score is an integer from 1 to 10. 9-10: meets all criteria; 6-8: meets most, with small flaws; 3-5: meets \
some, with serious flaws; 1-2: meets none."
BINARY = "The score is 1 if the response is right and does what was asked, else 0."

PROMPT = """{criteria}

#### Conversation Context ####
{question}

#### Responses to be Scored ####
{responses}

#### Output Format ####
Three lines:
Specific Criteria: <the further criteria, each with its weight>
Analysis: <the criteria applied, step by step>
Scores: <{wanted}, in a box: \\boxed{{{example}}}>"""

Scale = Literal["0-1", "1-10"]

_SCALES = {"0-1": (0.0, 1.0), "1-10": (1.0, 10.0)}
_BOX = re.compile(r"\\boxed\{([^{}]*)\}")
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]*)?")


class PointwiseGRM:
    """DeepSeek-GRM (Liu et al. 2025, arXiv 2504.02495), one response at a time: the mean vote of k critiques.

    Equal texts are judged once. Critiques without a score are left out of the mean and counted in `Score.unread`; if
    none of the k has one, the score is 0.

    Args:
        judge: the model that writes the critiques.
        k: critiques of each trace (voting@k), from 1.
        temperature: of the critiques; None keeps the sampler's. The paper votes at 0.5, and takes 0 for k=1.
        max_tokens: the most tokens of a critique.
        scale: what a critique may say: "0-1", right or wrong, as the model card has it for a single response; or
            "1-10", clipped, as for several. The verifier's score is in [0, 1] either way.
        meta: a verifier that scores critiques, None for none. It gets traces whose problem is the judge's question, and
            whose step is the critique.
        keep: how many critiques vote, the best by `meta`; None is half of k (the paper's).
        instruction: what the judge is told first; None is ours. Models that were trained for this know their own.
        decoding: "free"; or "guided": critiques are held to the three lines that were asked for (sampler=vllm can).
        neutral: score of a trace that has yet to begin.

    Raises:
        UserError: an argument out of range, or a judge that cannot do what is asked.
    """

    range = (0.0, 1.0)

    def __init__(
        self,
        judge: Sampler,
        k: int = 8,
        temperature: float | None = 0.5,
        max_tokens: int = 1024,
        scale: Scale = "0-1",
        meta: Verifier | None = None,
        keep: int | None = None,
        instruction: str | None = None,
        decoding: Decoding = "free",
        neutral: float = 0.5,
    ) -> None:
        one_of("scale", scale, tuple(_SCALES))
        self.scale = scale
        ours = CRITERIA.format(what="one response", scale=TEN if scale == "1-10" else BINARY)
        self.instruction = ours if instruction is None else instruction
        whole("k", k)
        fraction("neutral", neutral)
        self.k, self.meta, self.keep, self.neutral = k, meta, _kept(k, meta, keep), neutral
        self.judge = Judges(judge, max_tokens, temperature, decoding, lambda _: _form(1, scale)).of(1)

    async def score(self, traces: Sequence[Trace]) -> list[Score]:
        """One score a trace, in [0, 1].

        Raises:
            VerifierError: the judge or the meta verifier failed.
        """
        messages = {trace: self._message(trace) for trace in traces if said(trace)}
        different = list(dict.fromkeys(messages.values()))
        judged = dict(zip(different, await together(map(self._vote, different)), strict=True))
        scores = []
        for trace in traces:
            if trace in messages:
                score = judged[messages[trace]]
                judged[messages[trace]] = Score(score, unread=score.unread)  # the first of equal texts pays
            else:
                score = Score(silent(trace, self.neutral))
            scores.append(score)
        return scores

    def quote(self, trace: Trace) -> Cost:
        """The most that scoring this trace can cost."""
        return _most(self.judge, [self._message(trace)] * self.k, self.meta) if said(trace) else Cost()

    async def _vote(self, message: str) -> Score:
        (low, high), scale = _SCALES[self.scale], self.scale
        replies = await _replies(self.judge, [message] * self.k)
        read = [(reply, found) for reply in replies if (found := boxed(after_thought(reply), 1, scale)) is not None]
        voting, spent = await _best(self.meta, self.keep, [reply for reply, _ in read])
        votes = [read[i][1][0] for i in voting]
        value = math.fsum((vote - low) / (high - low) for vote in votes) / len(votes) if votes else 0.0
        return Score(value, (), bill(replies) + spent, len(replies) - len(read))

    def _message(self, trace: Trace) -> str:
        return _question(self.instruction, [trace])


class GroupwiseGRM:
    """DeepSeek-GRM (Liu et al. 2025, arXiv 2504.02495), several responses at once: the mean vote of k critiques.

    Each critique reads all solutions, in an order of its own, and gives each an integer from 1 to 10; what lies outside
    is clipped. A score is the mean over the critiques, moved from [1, 10] to [0, 1]: the paper's sum, divided by how
    many were summed. Critiques without as many scores as solutions are left out and counted in `Score.unread` of each
    solution; if no critique can be read, all score 0. Equal texts stand in a critique once. Orders depend on the texts.

    Args:
        judge: the model that writes the critiques.
        k: critiques (voting@k), from 1.
        temperature: of the critiques; None keeps the sampler's. The paper votes at 0.5, and takes 0 for k=1.
        max_tokens: the most tokens of a critique.
        meta: a verifier that scores critiques, None for none. It gets traces whose problem is the judge's question, and
            whose step is the critique.
        keep: how many critiques vote, the best by `meta`; None is half of k (the paper's).
        instruction: what the judge is told first; None is ours. Models that were trained for this know their own.
        decoding: "free"; or "guided": critiques are held to the three lines that were asked for (sampler=vllm can).
        neutral: score of a trace that has yet to begin.

    Raises:
        UserError: an argument out of range, or a judge that cannot do what is asked.
    """

    range = (0.0, 1.0)

    def __init__(
        self,
        judge: Sampler,
        k: int = 8,
        temperature: float | None = 0.5,
        max_tokens: int = 1024,
        meta: Verifier | None = None,
        keep: int | None = None,
        instruction: str | None = None,
        decoding: Decoding = "free",
        neutral: float = 0.5,
    ) -> None:
        ours = CRITERIA.format(what="all responses", scale=TEN)
        self.instruction = ours if instruction is None else instruction
        whole("k", k)
        fraction("neutral", neutral)
        self.k, self.meta, self.keep, self.neutral = k, meta, _kept(k, meta, keep), neutral
        self.judges = Judges(judge, max_tokens, temperature, decoding, lambda count: _form(count, "1-10"))
        self.judge = self.judges.of(1)

    async def compare(self, traces: Sequence[Trace]) -> list[Score]:
        """One score a trace, in [0, 1].

        Raises:
            VerifierError: the judge or the meta verifier failed.
        """
        group, orders, messages = self._questions(traces)
        replies = await _replies(self.judges.of(len(group)), messages)
        found = [boxed(after_thought(reply), len(group)) for reply in replies]
        read = [i for i, scores in enumerate(found) if scores is not None]
        voting, spent = await _best(self.meta, self.keep, [replies[i] for i in read])
        votes: dict[str, list[float]] = {said(trace): [] for trace in group}
        for i in (read[place] for place in voting):
            for trace, score in zip(orders[i], found[i] or (), strict=True):
                votes[said(trace)].append((score - 1) / 9)
        values = {text: math.fsum(given) / len(given) if given else 0.0 for text, given in votes.items()}
        unread = dict.fromkeys(values, len(replies) - len(read))
        return dealt(traces, values, self.neutral, bill(replies) + spent, unread)

    def quote(self, traces: Sequence[Trace]) -> Cost:
        """The most that comparing these traces can cost."""
        group, _, messages = self._questions(traces)
        return _most(self.judges.of(len(group)), messages, self.meta)

    def _questions(self, traces: Sequence[Trace]) -> tuple[list[Trace], list[list[Trace]], list[str]]:
        """The different solutions, their order in each of the k questions, and these."""
        group = candidates(traces)
        orders = [shuffled(group, turn) for turn in range(self.k)] if group else []
        return group, orders, [_question(self.instruction, order) for order in orders]


def boxed(reply: str, count: int, scale: Scale = "1-10") -> list[float] | None:
    r"""The scores in a critique's last \boxed{x, x}, or None if these are not `count` numbers.

    Args:
        reply: the critique.
        count: how many responses it scores.
        scale: "1-10": numbers outside are clipped. "0-1": with a number outside it is no reading.
    """
    low, high = _SCALES[scale]
    parts = [part.strip() for part in found[-1].split(",")] if (found := _BOX.findall(reply)) else []
    if len(parts) != count or not all(map(_NUMBER.fullmatch, parts)):
        return None
    scores = list(map(float, parts))
    clipped = [min(max(score, low), high) for score in scores]
    return None if scale == "0-1" and clipped != scores else clipped


def _question(instruction: str, order: Sequence[Trace]) -> str:
    count = len(order)
    wanted = "the score" if count == 1 else f"the scores of all {count} responses in their order"
    return PROMPT.format(
        criteria=instruction,
        question=order[0].problem.prompt,
        responses=listed(order),
        wanted=wanted,
        example=", ".join("x" * count),
    )


def _form(count: int, scale: Scale) -> str:
    """A critique as it was asked for, as a regular expression; so many words at most, so that it comes to its end.

    Words are counted, since engines take seconds to prepare a count of characters.
    """
    scores = ", ".join(["[01]" if scale == "0-1" else "(10|[1-9])"] * count)
    word = r"( [^ \n]+)"
    return rf"Specific Criteria:{word}{{1,60}}\nAnalysis:{word}{{1,160}}\nScores: \\boxed\{{{scores}\}}"


def _kept(k: int, meta: Verifier | None, keep: int | None) -> int:
    if keep is not None and (meta is None or not 1 <= keep <= k):
        raise UserError(f"verifier.keep={keep} is out of range", f"allowed: 1 to k={k}, with a verifier.meta; or null")
    return keep or (max(1, k // 2) if meta else k)


async def _replies(judge: Judge, messages: Sequence[str]) -> list[Trace]:
    """One reply a message, in order; equal messages get replies of one request, so that these differ."""
    counts = Counter(messages)
    drawn = await together(judge.ask(message, count) for message, count in counts.items())
    left = {message: iter(replies) for message, replies in zip(counts, drawn, strict=True)}
    return [next(left[message]) for message in messages]


async def _best(meta: Verifier | None, keep: int, replies: Sequence[Trace]) -> tuple[list[int], Cost]:
    """Which replies vote: the `keep` best by a meta verifier, of equal ones the earlier; and what it cost."""
    if meta is None or len(replies) <= keep:
        return list(range(len(replies))), Cost()
    call: Callable[[list[Trace]], Any] = meta.score
    waits = inspect.iscoroutinefunction(call)  # a plain one may take long: it must not hold up the engine
    scores = list(await (call([*replies]) if waits else asyncio.to_thread(call, [*replies])))
    if len(scores) != len(replies) or not all(map(math.isfinite, scores)):
        raise VerifierError(f"verifier.meta: {type(meta).__name__} gave {scores} for {len(replies)} critiques")
    spent = sum((score.cost for score in scores if isinstance(score, Score)), Cost(verifier_calls=len(replies)))
    ranked = sorted(range(len(replies)), key=lambda i: -scores[i])
    return sorted(ranked[:keep]), spent


def _most(judge: Judge, messages: Sequence[str], meta: Verifier | None) -> Cost:
    """The most that replies to some messages, and scoring them, can cost."""
    total = sum((judge.quote(message, count, suffix=None) for message, count in Counter(messages).items()), Cost())
    if meta is None:
        return total
    quote = getattr(meta, "quote", lambda _: Cost())
    critiques = (longest(asked(message), judge.until.max_tokens) for message in messages)
    return total + sum((quote(critique) + Cost(verifier_calls=1) for critique in critiques), Cost())
