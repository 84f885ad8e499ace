"""A process of the hub as a program whose `main` can be forked: its module, as the Procfile names it, and its words."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping
from typing import IO

from actors import running
from demo.processes import end_with
from tests.prepared import ROLE, Running
from web.serving import wsgi


def start_role(command: str, environment: Mapping[str, str], output: IO[bytes]) -> Running:
    """What a line of the Procfile says. It ends with the process that has loaded it."""
    words = shlex.split(command)
    return ROLE.start(*words[words.index("-m") + 1 :], output=output, error=output, environment=environment)


def main() -> int:
    """In the fork."""
    end_with(os.getppid())
    os.setsid()
    _, module, *words = sys.argv
    if module == "web.serving.wsgi":
        return wsgi.main()
    assert module == "actors.running", module
    (name,) = words
    running.main(name, running.ROLES[name])
    return 0
