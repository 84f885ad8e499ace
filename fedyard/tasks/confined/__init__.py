"""What the hooks' process may reach, as far as the system can hold it to that."""

from __future__ import annotations

import msgspec


class Confinement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the site's own policy says that the hooks' process may reach. Nothing is confined yet."""
