"""Errors: a user's mistake carries its remedy, a part's failure carries the part's name."""

from __future__ import annotations


class PonderError(Exception):
    """Root of every error that ponder raises on purpose."""


class UserError(PonderError):
    """A user's mistake: what is wrong, by key and value, and as hint what is allowed or what to do instead."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message


class SamplerError(PonderError):
    """A sampler failed, or answered with something that is no completion."""


class VerifierError(PonderError):
    """A verifier failed, or returned something that is no score."""


class StrategyError(PonderError):
    """A strategy failed on one question."""


class TaskError(PonderError):
    """A task failed to extract or grade an answer."""


def unwrapped(error: BaseException) -> BaseException:
    """The first error in a group, or the error itself."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
