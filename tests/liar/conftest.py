"""A real embedded hub for the agents that are lied to."""

from __future__ import annotations

from tests.fedyard.conftest import world

__all__ = ["world"]
