"""Pairwise knock-out: solutions meet two by two, a judge tells the better one, and the better one goes on."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from ponder.protocols import Sampler
from ponder.types import Cost, Score, Trace
from ponder.verifiers.comparing import candidates, dealt, said, shuffled
from ponder.verifiers.judging import Judge, asked, bill, fraction, share, together

PROMPT = """Below are a question and two responses to it. Which of them is better: more correct in what it concludes, \
and in how it gets there? A response may be unfinished: then judge it as far as it goes. Neither its place nor its \
length counts.

Question:
{question}

[The Begin of Response A]
{first}
[The End of Response A]

[The Begin of Response B]
{second}
[The End of Response B]

Name the better response with one letter, A or B."""
SUFFIX = "Better response:"
CHOICES = (" A", " B")


class Knockout:
    """A knock-out tournament of pairs; a solution scores the part of the rounds that it survived.

    The bracket is drawn by the solutions' texts. N solutions take N - 1 comparisons in ceil(log2 N) rounds; if N is no
    power of two, some go through the first round unasked. In each comparison the judge is probed twice, once in each
    order, so that a liking for a place cancels out: who is preferred by the mean of p(A) / (p(A) + p(B)) wins. A probe
    that gives neither letter any probability is unread, and left out; a tie, and a pair without a readable probe, goes
    to the one that stands earlier in the bracket. The winner scores 1, as does a single solution.

    Args:
        judge: the model that is asked.
        neutral: score of a trace that has yet to begin.

    Raises:
        UserError: an argument out of range, or no judge.
    """

    range = (0.0, 1.0)

    def __init__(self, judge: Sampler, neutral: float = 0.5) -> None:
        self.judge = Judge(judge, max_tokens=1)
        fraction("neutral", neutral)
        self.neutral = neutral

    async def compare(self, traces: Sequence[Trace]) -> list[Score]:
        """One score a trace, in [0, 1]: rounds survived over rounds.

        Raises:
            VerifierError: the judge failed.
        """
        playing = shuffled(candidates(traces))
        rounds = (len(playing) - 1).bit_length()
        survived = Counter(said(trace) for trace in playing) if rounds == 0 else Counter[str]()
        cost, unread = Cost(), Counter[str]()
        while len(playing) > 1:
            byes = 2 ** (len(playing) - 1).bit_length() - len(playing)  # 0 after the first round
            pairs = list(zip(playing[byes::2], playing[byes + 1 :: 2], strict=True))
            duels = await together(self._duel(first, second) for first, second in pairs)
            playing = playing[:byes]
            for pair, (share_of_first, spent, missed) in zip(pairs, duels, strict=True):
                cost += spent
                unread.update({said(trace): missed for trace in pair})
                tie = share_of_first is None or math.isclose(share_of_first, 0.5, abs_tol=1e-9)
                playing.append(pair[0] if tie or (share_of_first or 0) > 0.5 else pair[1])
            survived.update(said(trace) for trace in playing)
        values = {said(trace): survived[said(trace)] / max(rounds, 1) for trace in candidates(traces)}
        return dealt(traces, values, self.neutral, cost, unread)

    def quote(self, traces: Sequence[Trace]) -> Cost:
        """The most that comparing these traces can cost: as if the longest met itself each time."""
        group = candidates(traces)
        if len(group) < 2:
            return Cost()
        mirrored = [self.judge.quote_probe(_message(trace, trace), SUFFIX) for trace in group]
        most = Cost(*(max(counts) for counts in zip(*(one.asdict().values() for one in mirrored), strict=True)))
        return most * (2 * (len(group) - 1))

    async def _duel(self, first: Trace, second: Trace) -> tuple[float | None, Cost, int]:
        """How far the first is preferred, in [0, 1], or None; what asking cost; how many probes were unread."""
        messages = [_message(first, second), _message(second, first)]
        found = await together(self.judge.probe(Trace(asked(message)), SUFFIX, CHOICES) for message in messages)
        as_a, of_other = (share(probe) for probe in found)
        read = [part for part in (as_a, None if of_other is None else 1 - of_other) if part is not None]
        return math.fsum(read) / len(read) if read else None, bill(found), len(found) - len(read)


def _message(first: Trace, second: Trace) -> str:
    return PROMPT.format(question=first.problem.prompt, first=said(first), second=said(second))
