"""Planted bugs: one line of production code taken away or made wrong, for the time of one simulation.

The simulation must notice every one of them, or it proves nothing. Where two defences overlap, each bug takes away one
with the other off already; what one of them alone would hold back is said in its sentence.
"""

from tests.simulation.bugs import (
    codes,
    commits,
    inboxes,
    payloads,
    runs,
    scores,
    sessions,
    shares,
    sight,
    streams,
    times,
    webhooks,
    workloads,
)
from tests.simulation.bugs.planting import BUGS, Bug, planted, replaced

__all__ = [
    "BUGS",
    "Bug",
    "codes",
    "commits",
    "inboxes",
    "payloads",
    "planted",
    "replaced",
    "runs",
    "scores",
    "sessions",
    "shares",
    "sight",
    "streams",
    "times",
    "webhooks",
    "workloads",
]
