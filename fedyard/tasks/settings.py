"""What a site's people say of the tasks that run there: [tasks] in its site.toml."""

from __future__ import annotations

from typing import Annotated

import msgspec

_DOTTED = "^[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_]*$"


class Tasks(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """allow: models of the form package.module:Class that a project may run here, besides the built-in ones.

    threads: cores for numerical libraries. stop_within_s: how long a hook may take to notice that it is not wanted
    before its process is ended. at_once: task runs that compute at the same time, further ones wait.
    children: processes of task runs that live at the same time, idle ones among them; 0: twice `at_once`, 4 at least.
    min_count: the smallest count of people that a ready task may tell, whatever the task says.
    content_limit_bytes: what an update or a model may have, made here or received.
    """

    allow: list[Annotated[str, msgspec.Meta(pattern=_DOTTED)]] = []
    threads: Annotated[int, msgspec.Meta(ge=1, le=1024)] = 1
    stop_within_s: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 5.0
    at_once: Annotated[int, msgspec.Meta(ge=1, le=64)] = 2
    children: Annotated[int, msgspec.Meta(ge=0, le=1024)] = 0
    min_count: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 5
    content_limit_bytes: Annotated[int, msgspec.Meta(ge=1, le=2**40)] = 1_073_741_824

    @property
    def most_children(self) -> int:
        return self.children or max(4, 2 * self.at_once)
