"""The version of what runs at a site and of the hub: here, and nowhere else."""

from __future__ import annotations

__version__ = "0.3.0"
