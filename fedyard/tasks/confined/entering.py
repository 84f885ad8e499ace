"""Confining the calling process, once and for ever, before it loads anything of a task."""

from __future__ import annotations

import msgspec

from fedyard.tasks.confined import Confinement, landlock, seccomp, system
from fedyard.tasks.confined.reach import rules_of

GRACE_S = 2
"""Between the signal that says that the processor's time is over, and the one that nobody can ignore."""


class Held(msgspec.Struct, frozen=True):
    """What this system can hold a process to. landlock: version of its interface; 0: files are not held."""

    landlock: int
    seccomp: bool

    @property
    def whole(self) -> bool:
        """True where files and all of the network are held."""
        return self.landlock >= 1 and self.seccomp

    @property
    def lacks(self) -> str:
        """What is not held here, in a sentence; empty if all is."""
        if not system.LINUX:
            return "tasks can read whatever this user can, and open connections: only Linux can confine them"
        missing = []
        if not self.landlock:
            missing.append(
                "tasks can read whatever this user can: this kernel has no Landlock (5.13 or later, lsm=landlock)"
            )
        elif self.landlock < landlock.SCOPES_SINCE:
            missing.append("tasks can send signals to this user's other processes: that takes Linux 6.12 or later")
        if not self.seccomp:
            missing.append(f"tasks can open connections: there is no filter for {system.MACHINE}")
        return "; ".join(missing)


def held() -> Held:
    """What this system can do; nothing is changed."""
    return Held(landlock.version(), seccomp.possible())


def enter(confinement: Confinement) -> None:
    """Confine this process and all that it will start. Raises `OSError` if the system refuses, perhaps half way."""
    import resource  # noqa: PLC0415 - not on Windows, where a command line loads this file to say what is held

    _limit(resource.RLIMIT_DATA, confinement.memory_bytes)
    _limit(resource.RLIMIT_CPU, confinement.cpu_s, later=GRACE_S)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core holds data, and lies where cores do
    can = held()
    if system.LINUX:
        system.drop_capabilities()
    if can.landlock:
        landlock.restrict(rules_of(confinement), network=confinement.network, abi=can.landlock)
    if can.seccomp:
        seccomp.restrict(network=confinement.network, workers=confinement.workers)


def _limit(what: int, most: int, later: int = 0) -> None:
    """No more than `most`, if that is not 0; what is lower already stays. later: so much more ends it at once."""
    if not most:
        return
    import resource  # noqa: PLC0415 - as above

    _, hard = resource.getrlimit(what)
    soft, last = (most, most + later) if hard == resource.RLIM_INFINITY else (min(most, hard), min(most + later, hard))
    resource.setrlimit(what, (soft, last))
