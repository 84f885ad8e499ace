"""Differential privacy as the site's filter on updates, in the hooks' process, before anything is packed.

An update is clipped to an L2 norm, Gaussian noise is added, and what that costs is counted over everything that has
left for the project before (accounting.py). What is promised, and what is not, stands in docs/privacy.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import msgspec

HIDDEN = "it failed, and why is for this site's own people, since they add noise to what leaves"
"""In place of a sentence that may tell of data."""
MetricName = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


class Privacy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A site's word on one project: [project.NAME.privacy] in its site.toml.

    clip: the largest L2 norm of what an update differs from the global model. noise: the standard deviation of what is
    added to each number, in units of `clip`. epsilon, delta: the budget for all updates of the project together.
    from_model: clip what differs from the global model; false: clip the update itself, for tasks whose updates are sums
    or differences already. metrics: names of metrics that may leave as they are; no budget covers these.
    """

    clip: Annotated[float, msgspec.Meta(ge=1e-9, le=1e9)]
    noise: Annotated[float, msgspec.Meta(ge=0.01, le=1e6)]
    epsilon: Annotated[float, msgspec.Meta(gt=0, le=1000)]
    delta: Annotated[float, msgspec.Meta(ge=1e-15, le=0.01)] = 1e-6
    from_model: bool = True
    metrics: Annotated[list[MetricName], msgspec.Meta(max_length=64)] = []


class Released(msgspec.Struct, frozen=True):
    """So many updates that left, or may leave, with noise of this size (`Privacy.noise`)."""

    noise: float
    count: int


class Filter(msgspec.Struct, frozen=True):
    """What is done to one update. released: all others of the project, those that are being made now among them."""

    privacy: Privacy
    released: list[Released] = []


class Spent(msgspec.Struct, frozen=True):
    """What has been spent once this update is counted, all others of the project included."""

    epsilon: float
    delta: float


def may_leave(metrics: Mapping[str, float], privacy: Privacy | None) -> dict[str, float]:
    """The metrics that go along with an update or a score: all, or those that the site's word names."""
    return {name: value for name, value in metrics.items() if privacy is None or name in privacy.metrics}
