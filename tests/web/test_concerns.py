"""What needs somebody, for who may see it; and one sentence made of it."""

from __future__ import annotations

from fedyard.wire.times import SECOND

NOW = 1_800_000_000 * SECOND
