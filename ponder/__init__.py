"""ponder: inference-time scaling and reasoning search.

Example:
    from ponder import Problem, solve
"""

from ponder.errors import PonderError, UserError
from ponder.ledger import Budget, BudgetExhausted
from ponder.protocols import Until
from ponder.scripts.solve import Solution, solve, solve_async
from ponder.types import Cost, Population, Problem, Score, Step, Trace

__version__ = "0.1.0"
__all__ = [
    "Budget",
    "BudgetExhausted",
    "Cost",
    "PonderError",
    "Population",
    "Problem",
    "Score",
    "Solution",
    "Step",
    "Trace",
    "Until",
    "UserError",
    "solve",
    "solve_async",
]
