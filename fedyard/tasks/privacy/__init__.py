"""What a site takes off what leaves it, in the hooks' process, before anything is packed."""

from __future__ import annotations

import msgspec


class Filter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the site's own policy says is done to an update before it is packed. Nothing yet."""


class Spent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a release has cost. epsilon, delta: of this release alone, as the accountant of the site counts it."""

    epsilon: float = 0.0
    delta: float = 0.0
