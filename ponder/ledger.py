"""Cost, Budget, Ledger: the only place that counts, and the only place that says no."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, fields

from ponder.errors import PonderError, UserError
from ponder.types import Cost

Quote = Callable[[int], Cost]


class BudgetExhausted(PonderError):
    """A ceiling is reached; raised before anything is spent past it."""


@dataclass(frozen=True)
class Budget:
    """Ceilings on a Cost's counts, None for no ceiling; the sum over all model roles is held against each.

    Attributes:
        seconds: wall time; checked before each piece of work, which then ends by itself.

    Raises:
        UserError: a ceiling that is not a positive number.
    """

    samples: int | None = None
    new_tokens: int | None = None
    prompt_tokens: int | None = None
    verifier_tokens: int | None = None
    verifier_calls: int | None = None
    flops: float | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        for name, ceiling in self.ceilings.items():
            if isinstance(ceiling, bool) or not isinstance(ceiling, (int, float)) or not ceiling > 0:
                raise UserError(f"budget.{name}={ceiling} is no ceiling", "allowed: a number above 0, or null for none")

    @property
    def ceilings(self) -> dict[str, float]:
        """The ceilings that are set, by field name."""
        return {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) is not None}


@dataclass
class Grant:
    """What a reservation allows: `count` completions of at most `tokens` tokens each."""

    count: int
    tokens: int
    held: Cost
    spent: Cost = field(default=Cost())

    def charge(self, cost: Cost) -> None:
        """Books what was really used; the rest is refunded when the reservation ends."""
        self.spent += cost


class Ledger:
    """Books costs by model role and keeps the ceilings.

    Args:
        budget: the ceilings; none if omitted.
        parent: a wider ledger (the run's) that books and limits the same costs.
    """

    def __init__(self, budget: Budget | None = None, parent: Ledger | None = None) -> None:
        self.budget = budget or Budget()
        self.parent = parent
        self.spent: dict[str, Cost] = {}
        self._held = Cost()
        self._open = 0
        self._started = time.monotonic()
        self._refunded = asyncio.Event()

    @property
    def total(self) -> Cost:
        """The sum over all roles."""
        return sum(self.spent.values(), Cost())

    @property
    def seconds(self) -> float:
        """Wall time since this ledger began."""
        return time.monotonic() - self._started

    @asynccontextmanager
    async def reserve(self, role: str, quote: Quote, tokens: int, count: int) -> AsyncIterator[Grant]:
        """Reserves the most that some completions can cost, before they are made.

        As many of the `count` are granted as fit; at the very end of a budget a single one, with fewer tokens. While
        other work holds reservations, waits for their refunds.

        Args:
            role: whose account is charged.
            quote: the most that one completion of t tokens costs; does not fall with t.
            tokens: the most tokens wanted for one completion.
            count: how many completions are wanted.

        Raises:
            BudgetExhausted: not even one token fits, and nothing is left to be refunded.
        """
        while (grant := self._fit(quote, tokens, count)) is None:
            await self._chain[-1]._refunded.wait()
        for ledger in self._chain:
            ledger._held += grant.held
            ledger._open += 1
        try:
            yield grant
        finally:
            for ledger in self._chain:
                ledger._held += grant.held * -1
                ledger._open -= 1
                ledger.spent[role] = ledger.spent.get(role, Cost()) + grant.spent
            root = self._chain[-1]
            root._refunded.set()
            root._refunded = asyncio.Event()

    @property
    def _chain(self) -> list[Ledger]:
        return [self] if self.parent is None else [self, *self.parent._chain]

    def _fit(self, quote: Quote, tokens: int, count: int) -> Grant | None:
        """The largest grant that fits now; None if waiting may help."""
        whole = quote(tokens)
        fitting = min([count, *(ledger._times(whole) for ledger in self._chain)])
        if fitting > 0:
            return Grant(fitting, tokens, whole * fitting)
        # What an idle ledger lacks no refund will bring; a busy one's lack may be over soon.
        idle = [ledger for ledger in self._chain if not ledger._open]
        low, high = 0, tokens + 1
        while low < high - 1:
            middle = (low + high) // 2
            low, high = (middle, high) if all(k._times(quote(middle)) for k in idle) else (low, middle)
        if low == 0:
            raise BudgetExhausted("; ".join(filter(None, (ledger._why() for ledger in idle))))
        return Grant(1, low, quote(low)) if all(k._times(quote(low)) for k in self._chain) else None

    def _times(self, unit: Cost) -> int:
        """How often a cost fits into what is left."""
        fits = [10**9]
        spent = self.total
        for name, ceiling in self.budget.ceilings.items():
            if name == "seconds":
                fits.append(0 if self.seconds >= ceiling else 10**9)
            elif (needed := getattr(unit, name)) > 0:
                left = ceiling - getattr(spent, name) - getattr(self._held, name)
                fits.append(max(0, int(left // needed)))
        return min(fits)

    def _why(self) -> str:
        spent = {**self.total.asdict(), "seconds": self.seconds}
        return ", ".join(f"{name} {spent[name]:g} of {most:g} spent" for name, most in self.budget.ceilings.items())
