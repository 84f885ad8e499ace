"""What strategies are given: contexts with a model, and updates."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fedyard.tasks import Arrays, Content, Context, Update


def context(keep: Path = Path("nowhere"), round: int = 1, model: Content | None = None, run: str = "r", log=None):
    return Context(
        site_id="c",
        run_id=run,
        task="train",
        round=round,
        rounds=9,
        parameters={},
        data={},
        folder=keep,
        keep=keep,
        start=lambda: model,
        log=log or (lambda _text: None),
    )


def update(site: str, samples: float | None = 1, content: Content | None = None, /, **arrays: object) -> Update:
    made: Arrays = {name: np.asarray(array) for name, array in arrays.items()}
    return Update(site, made if content is None else content, {} if samples is None else {"samples": samples})
