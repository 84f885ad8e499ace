"""What noised updates cost together, counted by dp-accounting (Google's, the extra `privacy`).

Two sets of data are neighbours here if they are any two sets that one site may hold: all its rows may be others, or
there may be none. Both updates are clipped to norm C, so they differ by 2C at most, and noise of `noise * C` on each
number is a Gaussian mechanism with noise multiplier `noise / 2`. Several of these, each chosen after the others were
seen, are as one whose inverse square is the sum of theirs (Dong, Roth and Su, "Gaussian differential privacy", cor.
3.3; with sizes chosen on the way: Smith and Thakurta, "Fully adaptive composition for Gaussian differential privacy").
Of that one epsilon is exact (Balle and Wang, "Improving the Gaussian mechanism", theorem 8). No saving by sampling is
counted: the hub sees who takes part.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from fedyard.tasks import TaskError
from fedyard.tasks.privacy import Filter, Privacy, Released, Spent

SENSITIVITY = 2.0
"""How far two clipped updates lie apart at most, in units of the norm that they are clipped to."""
ROUNDING = 1e-9
"""Relative; epsilon is told too large by this rather than too small."""


class BudgetSpent(TaskError):
    """One more update would cost more than the site's people allow."""


def epsilon_of(released: Iterable[Released], delta: float) -> float:
    """The epsilon of all these together, at this delta. Raises `TaskError` without dp-accounting."""
    inverse = math.fsum(one.count * (SENSITIVITY / one.noise) ** 2 for one in released)
    if not inverse:
        return 0.0
    found: float = _accounting().get_epsilon_gaussian(1 / math.sqrt(inverse), delta)
    return found * (1 + ROUNDING) + ROUNDING


def spent_with(filter_: Filter) -> Spent:
    """What will be spent once one more update has left. Raises `BudgetSpent` if that is more than the budget."""
    privacy = filter_.privacy
    epsilon = epsilon_of([*filter_.released, Released(privacy.noise, 1)], privacy.delta)
    if epsilon > privacy.epsilon:
        raise BudgetSpent(
            f"this site's privacy budget for the project is spent: one more update would cost epsilon {epsilon:.4g} "
            f"in all, and its people allow {privacy.epsilon:.4g} (delta {privacy.delta:g})"
        )
    return Spent(epsilon, privacy.delta)


def is_spent(privacy: Privacy, released: Iterable[Released]) -> bool:
    """True if the budget allows no further update; said without dp-accounting, which takes its time to load.

    By the delta that Gaussian mechanisms have together at this epsilon (Balle and Wang 2018, theorem 8).
    """
    distance = math.sqrt(math.fsum(one.count * (SENSITIVITY / one.noise) ** 2 for one in [*released, _one(privacy)]))
    far = privacy.epsilon / distance
    delta = _tail(far - distance / 2) - math.exp(privacy.epsilon + _log_tail(far + distance / 2))
    return delta > privacy.delta


def _one(privacy: Privacy) -> Released:
    return Released(privacy.noise, 1)


def _tail(x: float) -> float:
    """The probability that a normal number is larger."""
    return math.erfc(x / math.sqrt(2)) / 2


def _log_tail(x: float) -> float:
    """Its logarithm, where it is too small for a number, too (x > 0)."""
    return math.log(_tail(x)) if x < 30 else -x * x / 2 - math.log(x * math.sqrt(2 * math.pi))


def updates_within(privacy: Privacy, released: Iterable[Released] = ()) -> int:
    """How many more updates the budget allows at the present noise."""
    most = 1 / float(_accounting().get_sigma_gaussian(privacy.epsilon, privacy.delta)) ** 2
    before = math.fsum(one.count * (SENSITIVITY / one.noise) ** 2 for one in released)
    each = (SENSITIVITY / privacy.noise) ** 2
    count = max(0, math.floor((most - before) / each))
    while count and epsilon_of([*released, Released(privacy.noise, count)], privacy.delta) > privacy.epsilon:
        count -= 1
    return count


def _accounting() -> Any:
    try:
        import dp_accounting  # noqa: PLC0415 - it is heavy, optional, and only the hooks' process of a filter needs it
    except ImportError:
        raise TaskError(
            "this site adds noise to updates of the project, and cannot count what they cost without dp-accounting: "
            'pip install "fedyard[privacy]"'
        ) from None
    return dp_accounting
