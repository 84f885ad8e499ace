"""What every command is, whatever wing of the domain it belongs to."""

from __future__ import annotations

import msgspec


class Command(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind"):
    """What somebody asks the hub to do."""
