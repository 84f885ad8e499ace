"""A task whose updates and models are too large to travel inline: they go as artifacts, under fire."""

from __future__ import annotations

import random
from collections.abc import Sequence

from fedyard.tasks import Content, Context, Result, Task, TaskError, Update

BYTES = 5_000_000
"""More than one chunk of an artifact."""


def made_by(site_id: str, number: int) -> bytes:
    """What a site hands over in a round: the same however often it is asked."""
    return random.Random(f"{site_id} {number}").randbytes(BYTES)


class Ballast(Task):
    """Sends bytes that only their sender could have made; the coordinator looks at every one of them."""

    def train(self, context: Context, model: Content | None) -> Result:
        context.log(f"round {context.round}: {BYTES} bytes")
        if context.round > 1 and model != made_by("model", context.round - 1):
            raise TaskError("the model is not the one that was aggregated")
        return Result(made_by(context.site_id, context.round))

    def aggregate(self, context: Context, updates: Sequence[Update]) -> Result:
        for update in updates:
            if update.content != made_by(update.site_id, context.round):
                raise TaskError(f"the update of site {update.site_id} is not the one that it made")
        return Result(made_by("model", context.round))
