"""Minimum Bayes risk: the solution that agrees most with all others, and with evidence in another language (X-MBR)."""

from __future__ import annotations

import asyncio
import math
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from difflib import SequenceMatcher

from ponder.errors import UserError, VerifierError
from ponder.protocols import Sampler
from ponder.types import Cost, Problem, Score, Trace
from ponder.verifiers.comparing import candidates, dealt, longest, said
from ponder.verifiers.judging import Judge, after_thought, asked, bill, fraction, share, together

Utility = Callable[[str, str], float]
Pair = tuple[str, str]

PROMPT = """Below are a question and two responses to it, which may be written in different languages. Take the first \
one for right. How far does the second one hold up: does it come to the same result, for reasons that agree? Language, \
wording and length do not count.

Question:
{question}

[The Begin of Response 1]
{evidence}
[The End of Response 1]

[The Begin of Response 2]
{candidate}
[The End of Response 2]

Does the second response agree with the first? Answer Yes or No."""
SUFFIX = "Answer:"
CHOICES = (" Yes", " No")

EVIDENCE = "{question}\n\nGive your whole answer in this language: {language}."


class MBR:
    """Minimum Bayes risk: a solution's mean utility against all other solutions, in [0, 1].

    With `evidence` it is X-MBR (Khairi et al. 2025, arXiv 2506.20544): the judge answers the question that many times
    in another language, and these answers join the pool that solutions are measured against; they are never selected.

    score(y) = mean of u(y, e) over the pool, solutions and evidence, y itself left out. Other copies of y belong to the
    pool: equal texts have utility 1, unasked. The mean and the paper's sum have the same maximum.

    Args:
        judge: the model that tells utilities if `utility` is None, and writes the evidence; None if neither is wanted.
        utility: a function (solution, pool text) -> [0, 1], such as `exact`, `token_f1`, `sequence` of this file. None
            asks the judge whether the solution agrees: p(Yes) / (p(Yes) + p(No)). A reply with neither is unread.
        evidence: answers drawn in another language, from 0 (plain MBR).
        language: that language, by name.
        max_tokens: the most tokens of an answer in evidence; one that is cut is left out, and counts as unread.
        temperature: of the evidence; None keeps the sampler's.
        neutral: score of a trace that has yet to begin, or has nothing to be compared with.

    Raises:
        UserError: an argument out of range, or no judge where one is needed.
    """

    range = (0.0, 1.0)

    def __init__(
        self,
        judge: Sampler | None = None,
        utility: Utility | None = None,
        evidence: int = 0,
        language: str = "English",
        max_tokens: int = 1024,
        temperature: float | None = None,
        neutral: float = 0.5,
    ) -> None:
        if utility is not None and not callable(utility):
            raise UserError(f"verifier.utility={utility!r} is no function", "allowed: (text, text) -> [0, 1], or null")
        self.utility = utility
        if isinstance(evidence, bool) or not isinstance(evidence, int) or evidence < 0:
            raise UserError(f"verifier.evidence={evidence!r} is out of range", "allowed: a whole number from 0")
        if judge is None and (utility is None or evidence):
            raise UserError("verifier.judge=null: nobody tells utilities or writes evidence", "judge: ${sampler}")
        self.judge = None if judge is None else Judge(judge, max_tokens, temperature)
        fraction("neutral", neutral)
        self.evidence = evidence
        self.language = language
        self.neutral = neutral

    async def compare(self, traces: Sequence[Trace]) -> list[Score]:
        """One score a trace, in [0, 1].

        Raises:
            VerifierError: the judge failed, or the utility is not in [0, 1].
        """
        group = candidates(traces)
        if not group:
            return dealt(traces, {}, self.neutral)
        problem = group[0].problem
        texts = [said(trace) for trace in group]
        replies = await self._answers(problem)
        whole_ones = [text for reply in replies if reply.finished and (text := after_thought(reply).strip())]
        pool = Counter(said(trace) for trace in traces if said(trace)) + Counter(whole_ones)
        utilities, spent = await self._utilities(problem, _pairs(texts, pool))
        values, unread = {}, {}
        for text in texts:
            known = [(pool[other], u) for other in pool if (u := utilities.get((text, other))) is not None]
            weight = sum(count for count, _ in known) + pool[text] - 1
            total = math.fsum(count * u for count, u in known) + pool[text] - 1
            alone = sum(pool.values()) == 1
            values[text] = min(total / weight, 1.0) if weight else self.neutral if alone else 0.0
            unread[text] = len(pool) - 1 - len(known) + len(replies) - len(whole_ones)
        return dealt(traces, values, self.neutral, bill(replies) + spent, unread)

    def quote(self, traces: Sequence[Trace]) -> Cost:
        """The most that comparing these traces can cost."""
        group = candidates(traces)
        if not group or self.judge is None:
            return Cost()
        problem, texts = group[0].problem, [said(trace) for trace in group]
        most = self.judge.quote(self._request(problem), self.evidence, suffix=None) if self.evidence else Cost()
        if self.utility is not None:
            return most
        unknown = longest(problem, self.judge.until.max_tokens).text
        pairs = [*_pairs(texts, texts), *((text, unknown) for text in texts for _ in range(self.evidence))]
        return sum((self.judge.quote_probe(_message(problem, *pair), SUFFIX) for pair in pairs), most)

    async def _answers(self, problem: Problem) -> list[Trace]:
        """The evidence as it was written."""
        if self.judge is None or not self.evidence:
            return []
        return await self.judge.ask(self._request(problem), self.evidence)

    def _request(self, problem: Problem) -> str:
        return EVIDENCE.format(question=problem.prompt, language=self.language)

    async def _utilities(self, problem: Problem, pairs: Sequence[Pair]) -> tuple[dict[Pair, float], Cost]:
        """The utility of each pair, those left out that could not be read; and what asking cost."""
        if self.utility is not None:
            return await asyncio.to_thread(_measured, self.utility, pairs), Cost()
        assert self.judge is not None
        found = await together(
            self.judge.probe(Trace(asked(_message(problem, *pair))), SUFFIX, CHOICES) for pair in pairs
        )
        read = {pair: part for pair, probe in zip(pairs, found, strict=True) if (part := share(probe)) is not None}
        return read, bill(found)


def exact(text: str, other: str) -> float:
    """1 if two texts are the same but for case, white space and the form of their characters, else 0."""
    return float(_words(text) == _words(other))


def token_f1(text: str, other: str) -> float:
    """How many words two texts share, in [0, 1]: the harmonic mean of precision and recall, as SQuAD has it."""
    words, others = Counter(_words(text)), Counter(_words(other))
    both = words.total() + others.total()
    return 2.0 * (words & others).total() / both if both else 1.0


def sequence(text: str, other: str) -> float:
    """How many words two texts share in the same order, in [0, 1]; slow for long texts.

    The mean over both directions of difflib's ratio, which alone depends on which text stands first.
    """
    words, others = _words(text), _words(other)
    ratios = [SequenceMatcher(None, a, b, autojunk=False).ratio() for a, b in ((words, others), (others, words))]
    return sum(ratios) / 2


def _words(text: str) -> list[str]:
    return unicodedata.normalize("NFKC", text).casefold().split()


def _pairs(texts: Iterable[str], pool: Iterable[str]) -> list[Pair]:
    """Each text with each other one; what a judge reads first varies last, so that its prefix cache serves."""
    texts = list(texts)
    return [(text, other) for other in pool for text in texts if text != other]


def _measured(utility: Utility, pairs: Sequence[Pair]) -> dict[Pair, float]:
    found = {pair: utility(*pair) for pair in pairs}
    for value in found.values():
        if not (isinstance(value, int | float) and 0 <= value <= 1):
            raise VerifierError(f"verifier.utility returned {value!r}, allowed are numbers in [0, 1]")
    return found


def _message(problem: Problem, candidate: str, evidence: str) -> str:
    return PROMPT.format(question=problem.prompt, evidence=evidence, candidate=candidate)
