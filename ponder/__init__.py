"""ponder: inference-time scaling and reasoning search. Start with `from ponder import solve`."""

from ponder.errors import PonderError as PonderError
from ponder.errors import UserError as UserError
from ponder.ledger import Budget as Budget
from ponder.ledger import BudgetExhausted as BudgetExhausted
from ponder.protocols import Until as Until
from ponder.scripts.solve import Solution as Solution
from ponder.scripts.solve import solve as solve
from ponder.scripts.solve import solve_async as solve_async
from ponder.types import Cost as Cost
from ponder.types import Population as Population
from ponder.types import Problem as Problem
from ponder.types import Score as Score
from ponder.types import Step as Step
from ponder.types import Trace as Trace

__version__ = "0.1.0"
