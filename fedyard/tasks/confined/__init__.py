"""What the process of a task's hooks, and all that it starts, may reach, as far as the system can hold it to that.

A site's people say it for each project (`Confine`, in site.toml); the agent makes paths of it (`Confinement`); the
process is confined before it loads anything of the task (entering.py): files by Landlock (landlock.py), sockets by a
seccomp filter (seccomp.py), TCP by both. docs/privacy.md says what is held, and what is not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec

Place = Annotated[str, msgspec.Meta(min_length=1, max_length=4096)]
Variable = Annotated[str, msgspec.Meta(pattern="^[A-Za-z_][A-Za-z0-9_]*$")]


class Confine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A site's word on one project: [project.NAME.confine] in its site.toml.

    on: "always" runs no task where the system cannot hold it. network: sockets of all kinds. workers: what several
    processes need to work together: local sockets, /dev/shm and other memory that processes of one user share. read,
    write: further files and folders, relative to the site's folder. environment: variables that would be kept from
    the process, since they are called as secrets are. memory_bytes, cpu_s: of each process, over its whole life;
    0: no limit.
    """

    on: Literal["where_possible", "always", "never"] = "where_possible"
    network: bool = False
    workers: bool = False
    read: Annotated[list[Place], msgspec.Meta(max_length=100)] = []
    write: Annotated[list[Place], msgspec.Meta(max_length=100)] = []
    environment: Annotated[list[Variable], msgspec.Meta(max_length=100)] = []
    memory_bytes: Annotated[int, msgspec.Meta(ge=0, le=2**50)] = 0
    cpu_s: Annotated[int, msgspec.Meta(ge=0, le=10**8)] = 0


class Confinement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The same for one task run. read, write: whole paths. site: the site's folder; modules: those in it are read.

    required: better no process than one that is not held.
    """

    site: str
    read: list[str]
    write: list[str]
    modules: bool = True
    network: bool = False
    workers: bool = False
    environment: list[str] = []
    memory_bytes: int = 0
    cpu_s: int = 0
    required: bool = False


_SECRET_BEGINS = ("SITE_", "FEDYARD_", "SSH_", "DBUS_", "AWS_", "AZURE_", "GOOGLE_", "PG", "GIT_", "KUBE")
_SECRET_HAS = (
    "TOKEN",
    "SECRET",
    "PASSWORD",
    "PASSWD",
    "CREDENTIAL",
    "API_KEY",
    "ACCESS_KEY",
    "PRIVATE_KEY",
    "XAUTHORITY",
)


def without_secrets(environment: Mapping[str, str], keep: list[str]) -> dict[str, str]:
    """The variables of a confined process: none that is called as secrets are, or is an address with a login."""
    return {
        name: value
        for name, value in environment.items()
        if name in keep
        or not (
            name.upper().startswith(_SECRET_BEGINS)
            or any(word in name.upper() for word in _SECRET_HAS)
            or ("://" in value and "@" in value)
        )
    }
