"""What becomes of the metrics that a hook hands over."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from fedyard.tasks import Metrics

MAX_METRICS = 64
MAX_METRIC_NAME = 64
METRICS_NAMED = 5
"""How many metrics that are left out the log names."""


def _nowhere(_text: str) -> None:
    """Log nothing."""


def finite(metrics: Metrics, log: Callable[[str], None] = _nowhere) -> dict[str, float]:
    """`metrics` as the hub takes them: at most 64 finite numbers with short names; `log` is told of what is not."""
    kept: dict[str, float] = {}
    odd = 0
    given: object = metrics
    if given is not None and not isinstance(given, Mapping):
        log(f"the metrics are left out: they are a {type(given).__name__}, not a dict of names and numbers")
    for name, value in metrics.items() if isinstance(metrics, Mapping) else ():
        number = _number(value)
        named = isinstance(name, str) and 1 <= len(name) <= MAX_METRIC_NAME and name.isprintable()
        if number is None or not named or len(kept) == MAX_METRICS:
            odd += 1
            shown = repr(name[:MAX_METRIC_NAME]) if isinstance(name, str) else f"of type {type(name).__name__}"
            if odd <= METRICS_NAMED:
                log(f"the metric {shown} is left out: {_why_not(number, named)}")
        else:
            kept[name] = number
    if odd > METRICS_NAMED:
        log(f"{odd - METRICS_NAMED} more metrics are left out")
    return kept


def _number(value: object) -> float | None:
    """A finite real number as a float, or None."""
    if isinstance(value, (complex, np.complexfloating, str, bytes)) or value is np.ma.masked:
        return None
    try:
        number = float(value)  # type: ignore[arg-type]
    except Exception:  # noqa: BLE001 - a task may put any object there
        return None
    return number if math.isfinite(number) else None


def _why_not(number: float | None, named: bool) -> str:
    if number is None:
        return "it is no finite number"
    return f"the hub takes {MAX_METRICS}" if named else f"a name has 1 to {MAX_METRIC_NAME} printable characters"
