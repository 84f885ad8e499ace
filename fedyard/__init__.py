"""What runs at a site: the client, the agent, the tasks and the command line. Imports nothing of the hub.

What people import stands here, and is loaded when it is first asked for: the agent, the hub (which uses the room
`wire`) and each command load no more than they need.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fedyard.agent.seat import Seat, Work
    from fedyard.client.errors import Refused, Unavailable
    from fedyard.python.asking import NeedsFolder
    from fedyard.python.client import Client
    from fedyard.simulating.results import Simulated
    from fedyard.simulating.simulation import simulate
    from fedyard.tasks import Context, Result, Stopped, Task, TaskError, Unusable, Update
    from fedyard.wire.version import __version__

__all__ = [
    "Client",
    "Context",
    "NeedsFolder",
    "Refused",
    "Result",
    "Seat",
    "Simulated",
    "Stopped",
    "Task",
    "TaskError",
    "Unavailable",
    "Unusable",
    "Update",
    "Work",
    "__version__",
    "simulate",
]

_HOME = (
    {"Client": "fedyard.python.client", "NeedsFolder": "fedyard.python.asking", "__version__": "fedyard.wire.version"}
    | {"Simulated": "fedyard.simulating.results", "simulate": "fedyard.simulating.simulation"}
    | dict.fromkeys(("Refused", "Unavailable"), "fedyard.client.errors")
    | dict.fromkeys(("Seat", "Work"), "fedyard.agent.seat")
    | dict.fromkeys(("Context", "Result", "Stopped", "Task", "TaskError", "Unusable", "Update"), "fedyard.tasks")
)


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'fedyard' has no attribute {name!r}")
    found: object = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
