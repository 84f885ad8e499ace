"""A task that puts the canary into everything that a site sends of itself: updates, models, logs, and an error."""

from __future__ import annotations

from collections.abc import Sequence

from fedyard.tasks import Content, Context, Result, Task, Update

CANARY = b"canary-of-patient-0f3a9c71e5"
LARGE_BYTES = 700_000
"""Too large to travel inline."""


def payload(size: int) -> bytes:
    """The canary again and again."""
    return (CANARY * (size // len(CANARY) + 1))[:size]


class Secret(Task):
    """Rounds: small updates first, then large ones. The parameter `fail` makes training raise."""

    def train(self, context: Context, model: Content | None) -> Result:
        context.log(f"training on {CANARY.decode()}")
        if context.parameters.get("fail"):
            raise ValueError(CANARY.decode())
        return Result(payload(1_000 if context.round == 1 else LARGE_BYTES), {"samples": 1.0})

    def aggregate(self, context: Context, updates: Sequence[Update]) -> Result:
        assert all(CANARY in bytes(update.content) for update in updates)  # type: ignore[arg-type]
        return Result(payload(2_000 if context.round == 1 else LARGE_BYTES), {})
