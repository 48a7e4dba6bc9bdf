r"""Calendar planning: a time at which all can meet, or that there is none (BA-Calendar of arXiv 2504.00294).

One row (level 1 of 5, seed 0, problem 0), shortened::

    prompt    Find a time for a meeting of 60 minutes that suits everybody, or say that there is none.
              Days: Monday. Meetings lie between 9:00 and 17:00.
              Ada is busy: Monday 9:00-10:30, Monday 13:00-14:00.
              ...
    answer    \boxed{Monday 11:00-12:00}, or \boxed{none}

Busy times and limits lie on half hours. From level 3 on some people have a rule: a day on which they do not meet, no
meeting before or after some time, or half an hour free around their own appointments. Any time that keeps all rules is
right, on half hours or not; a quarter of the puzzles has none. The generator is ours.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from functools import cached_property

from ponder.tasks.generated import Generated

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday")
PEOPLE = ("Ada", "Ben", "Chandra", "Dora", "Emil", "Fatima", "Goro", "Hana")
OPEN, CLOSE, HALF = 9 * 60, 17 * 60, 30
SIZES = {1: (2, 1, 0.0), 2: (3, 1, 0.0), 3: (4, 2, 0.5), 4: (5, 3, 0.7), 5: (7, 5, 0.9)}
"""By level: people, days, and how likely a person has a rule."""
IMPOSSIBLE = 0.25
"""Share of puzzles without any time."""
NONE = "none"
_TIME = re.compile(r"([a-z]+)\D{0,5}(\d{1,2}):(\d\d)\s*(?:-|\u2013|to)\s*(\d{1,2}):(\d\d)")

Busy = tuple[str, int, int]
"""A day, and minutes after midnight from and to."""


@dataclass(frozen=True)
class Person:
    """Somebody's calendar and rule.

    Attributes:
        name: who.
        busy: appointments.
        earliest: no meeting begins before.
        latest: no meeting ends after.
        off: a day without meetings, or none.
        buffer: minutes that stay free between a meeting and an appointment.
    """

    name: str
    busy: tuple[Busy, ...]
    earliest: int = OPEN
    latest: int = CLOSE
    off: str | None = None
    buffer: int = 0

    @property
    def line(self) -> str:
        """What the prompt says of them."""
        times = ", ".join(f"{day} {_clock(a)}-{_clock(b)}" for day, a, b in self.busy)
        said = f"{self.name} is busy: {times or 'never'}."
        said += f" {self.name} does not meet before {_clock(self.earliest)}." if self.earliest > OPEN else ""
        said += f" {self.name} does not meet after {_clock(self.latest)}." if self.latest < CLOSE else ""
        said += f" {self.name} does not meet on {self.off}." if self.off else ""
        between = f" {self.name} needs {self.buffer} minutes free before and after each of these appointments."
        return said + (between if self.buffer and self.busy else "")

    def can(self, day: str, start: int, end: int) -> bool:
        """Whether a meeting suits them."""
        if day == self.off or start < self.earliest or end > self.latest:
            return False
        return all(day != d or end + self.buffer <= a or b + self.buffer <= start for d, a, b in self.busy)


@dataclass(frozen=True)
class Calendar:
    """People, days, and how long they want to meet.

    Attributes:
        people: whom it must suit.
        days: the days that there are.
        minutes: how long.
    """

    people: tuple[Person, ...]
    days: tuple[str, ...]
    minutes: int

    @property
    def prompt(self) -> str:
        """All calendars, and the form of the answer."""
        lines = "\n".join(person.line for person in self.people)
        return (
            f"Find a time for a meeting of {self.minutes} minutes that suits everybody, or say that there is none.\n\n"
            f"Days: {', '.join(self.days)}. Meetings lie between {_clock(OPEN)} and {_clock(CLOSE)}.\n{lines}\n\n"
            "End with day, start and end, such as \\boxed{Monday 9:30-10:00} for a meeting of 30 minutes, "
            f"or with \\boxed{{{NONE}}}."
        )

    @cached_property
    def gold(self) -> str:
        """The first time on a half hour; if there is none on half hours, there is none at all."""
        for day in self.days:
            for start in range(OPEN, CLOSE - self.minutes + 1, HALF):
                if all(person.can(day, start, start + self.minutes) for person in self.people):
                    return _slot(day, start, start + self.minutes)
        return NONE

    def read(self, stated: str) -> str | None:
        """Day, start and end, written as in the prompt."""
        text = stated[:200].replace("\\text", "").strip(" {}$.").lower()
        if text == NONE:
            return NONE
        found = _TIME.fullmatch(text)
        if found is None or found[1].capitalize() not in DAYS:
            return None
        start, end = (60 * int(found[i]) + int(found[i + 1]) for i in (2, 4))
        return _slot(found[1].capitalize(), start, end)

    def right(self, answer: str) -> bool:
        """Whether the time suits all and has the length asked for; or, if there is none, whether the answer says so."""
        found = _TIME.fullmatch(answer.lower())
        if answer == NONE or found is None:
            return answer == NONE == self.gold
        day, (start, end) = found[1].capitalize(), (60 * int(found[i]) + int(found[i + 1]) for i in (2, 4))
        suits = all(person.can(day, start, end) for person in self.people)
        return suits and day in self.days and start >= OPEN and end <= CLOSE and end - start == self.minutes


def _clock(minutes: int) -> str:
    return f"{minutes // 60}:{minutes % 60:02d}"


def _slot(day: str, start: int, end: int) -> str:
    return f"{day} {_clock(start)}-{_clock(end)}"


def drawn(rng: random.Random, level: int) -> Calendar:
    """Calendars that leave a time, or none, as a coin with odds of 3 to 1 says."""
    people, days, rules = SIZES[level]
    possible = rng.random() >= IMPOSSIBLE
    while True:
        minutes, load = rng.choice((30, 60, 90)), rng.uniform(0.3, 0.8)
        found = tuple(_person(rng, name, DAYS[:days], load, rules) for name in PEOPLE[:people])
        calendar = Calendar(found, DAYS[:days], minutes)
        if (calendar.gold != NONE) == possible:
            return calendar


def _person(rng: random.Random, name: str, days: tuple[str, ...], load: float, rules: float) -> Person:
    busy: list[Busy] = []
    for day in days:
        time = OPEN
        while time < CLOSE:
            end = min(CLOSE, time + HALF * rng.randint(1, 4))
            if rng.random() < load / 2:
                busy.append((day, time, end))
            time = end + HALF * rng.randint(0, 1)
    rule = rng.choice(("earliest", "latest", "off", "buffer")) if rng.random() < rules else ""
    return Person(
        name,
        tuple(busy),
        earliest=OPEN + HALF * rng.randint(1, 4) if rule == "earliest" else OPEN,
        latest=CLOSE - HALF * rng.randint(1, 4) if rule == "latest" else CLOSE,
        off=rng.choice(days) if rule == "off" and len(days) > 1 else None,
        buffer=HALF if rule == "buffer" else 0,
    )


def calendar_planning(level: int = 3, limit: int = 100, seed: int = 0) -> Generated:
    """Times at which all can meet.

    Args:
        level: 1 to 5, for 2, 3, 4, 5 or 7 people on 1, 1, 2, 3 or 5 days, with rules from level 3 on.
        limit: how many.
        seed: which draw.

    Raises:
        UserError: a level that there is not, or a limit below 1.
    """
    return Generated("calendar-planning", drawn, range(1, 6), level, limit, seed)
