"""Bagging of trees (Breiman 1996, Machine Learning 24): the sites' trees vote together."""

from __future__ import annotations

from collections.abc import Sequence

from fedyard.tasks import Context, Result, TaskError, Unusable, Update
from fedyard.tasks.forests import Forest, joined


class BaggedTrees:
    """One forest of the trees of all sites; each tree has one vote, so a site of more rows sends more trees.

    Updates are `Forest.of(estimator).arrays` (fedyard/tasks/forests.py), and one round is enough. They have as many
    nodes as they have, so the task says `alike = False`.
    """

    def aggregate(self, context: Context, updates: Sequence[Update]) -> Result:  # noqa: ARG002 - as all strategies
        """Raises `Unusable` for updates that are no forests, or of another kind or number of features than most."""
        if not updates:
            raise TaskError("nobody has submitted anything to aggregate")
        forests: dict[str, Forest] = {}
        odd: dict[str, str] = {}
        kinds: dict[tuple[str, int], list[str]] = {}
        for update in updates:
            try:
                forests[update.site_id] = forest = Forest(update.content)
            except TaskError as error:
                odd[update.site_id] = str(error)
                continue
            kinds.setdefault(_kind(forest), []).append(update.site_id)
        right = min(kinds, key=lambda kind: (-len(kinds[kind]), min(kinds[kind])), default=None)
        for kind, sites in kinds.items():
            if kind != right:
                odd |= dict.fromkeys(
                    sites, "its trees have other features, or another kind of classes, than most sites'"
                )
        if odd:
            raise Unusable(odd)
        forest = joined([forests[update.site_id] for update in updates])
        return Result(forest.arrays, {"sites": float(len(updates)), "trees": float(forest.trees)})


def _kind(forest: Forest) -> tuple[str, int]:
    """Text and numbers cannot be one list of classes; "" for a regression."""
    classes = forest.arrays.get("classes")
    kind = "" if classes is None else "text" if classes.dtype.kind in "US" else "numbers"
    return kind, int(forest.arrays["features"])
