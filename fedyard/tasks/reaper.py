"""The first process of a task run: `python -m fedyard.tasks.reaper <pipe> <socket>`. It starts the hooks and ends them.

    agent --- pipe ---> reaper --- fork ---> hooks (hooks.py) ---> whatever the task starts
      \\______________ socket _________________/

It is a session of its own and its descendants' subreaper (Linux, prctl(2)): whoever loses his parent becomes its
child, also after setsid, a double fork, or the death of the hooks. So it finds every process that the task has left
behind, and ends them all when the hooks have ended, however that came, or when the agent is gone, also by a kill -9:
then the pipe is closed. Its own end tells the agent how the hooks ended, and is told by nobody else.

What it cannot end: a process in another's service (a container's daemon, systemd, cron), one of another user (sudo),
one that hangs in the kernel; and after a kill -9 of the reaper itself the hooks go at once, but not what left their
session. Where there is no /proc (not Linux) it ends the hooks' process group alone.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import socket
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
GRACE_S = 0.5
"""How long what the hooks left behind has after SIGTERM."""
END_WITHIN_S = 5.0
"""What is not gone by then hangs in the kernel, or is not ours to end."""
LOOK_EVERY_S = 0.01
NOT_CONFINED = 78
"""How the hooks' process ends where the system does not confine it as it should."""
VARIABLE = "FEDYARD_CONFINEMENT"
"""By which the first process of a task run is told how the hooks are confined; it does not reach them."""
_PROC = Path("/proc")
_LINUX = sys.platform == "linux"


def main(pipe: int, end: int) -> NoReturn:
    """Start the hooks and stay until they, or the agent, have ended; end as the hooks did."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    for asked in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):  # meant for the agent, which says when it is enough
        signal.signal(asked, lambda _number, _frame: None)
    woken, wake = os.pipe()
    for one in (woken, wake):
        os.set_blocking(one, False)
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    parent, hooks = os.getpid(), os.fork()
    if not hooks:
        signal.set_wakeup_fd(-1)
        for one in (woken, wake, pipe):
            os.close(one)
        _become_hooks(parent, end)
    os.close(end)
    status = _watch(hooks, pipe, woken)
    _end_as(_end_all(hooks, status))


def _become_hooks(parent: int, end: int) -> NoReturn:
    os.setpgid(0, 0)
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before
        os._exit(0)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    if told := os.environ.pop(VARIABLE, ""):
        _confine(told)
    from fedyard.tasks import hooks  # noqa: PLC0415 - numpy is heavy, and the reaper has no use for it

    hooks.serve_on(socket.socket(fileno=end))


def _confine(told: str) -> None:
    """Before anything of the task is loaded, and before there is a second thread."""
    import msgspec  # noqa: PLC0415 - the reaper has no use for it

    from fedyard.tasks.confined import Confinement  # noqa: PLC0415 - as above
    from fedyard.tasks.confined.entering import enter  # noqa: PLC0415 - as above

    try:
        enter(msgspec.json.decode(told, type=Confinement))
    except Exception:  # noqa: BLE001 - whatever it is: a process that is not held must not go on
        traceback.print_exc(file=sys.stderr)
        os._exit(NOT_CONFINED)


def _watch(hooks: int, pipe: int, woken: int) -> int | None:
    """How the hooks ended (as waitpid says it); None once the agent has let go of its end of the pipe."""
    poll = select.poll()
    poll.register(pipe, select.POLLIN)
    poll.register(woken, select.POLLIN)
    while True:
        ready = {descriptor for descriptor, _ in poll.poll()}
        if woken in ready:
            os.read(woken, 4096)
            status = _reaped(hooks)
            if status is not None:
                return status
        if pipe in ready:
            return None


def _reaped(hooks: int) -> int | None:
    """Take leave of every child that has ended; the status of the hooks if they are among them."""
    found = None
    with suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            if ended[0] == hooks:
                found = ended[1]
    return found


def _end_all(hooks: int, status: int | None) -> int:
    """End everything below, politely first; stopped before it is killed, so that nothing is born meanwhile.

    How the hooks ended: they do so by themselves when their connection is closed.
    """
    start = time.monotonic()
    asked = {hooks}
    while (left := _descendants(os.getpid(), hooks)) and (took := time.monotonic() - start) < END_WITHIN_S:
        if took < GRACE_S:
            _send(left - asked, signal.SIGTERM)
            asked |= left
        else:
            _send(left, signal.SIGSTOP)
            _send(left | _descendants(os.getpid(), hooks), signal.SIGKILL)
        time.sleep(LOOK_EVERY_S)
        status = _reaped(hooks) if status is None else status
    status = _reaped(hooks) if status is None else status
    while status is None and time.monotonic() - start < END_WITHIN_S:  # their first thread has ended, others not quite
        time.sleep(LOOK_EVERY_S)
        status = _reaped(hooks)
    return status or 0


def _descendants(above: int, hooks: int) -> set[int]:
    """Every living process below this one."""
    if not _LINUX:
        with suppress(OSError):
            os.killpg(hooks, 0)
            return {-hooks}
        return set()
    below: dict[int, list[int]] = {}
    for pid, parent, _ in _processes():
        below.setdefault(parent, []).append(pid)
    found: set[int] = set()
    waiting = [above]
    while waiting:
        young = below.get(waiting.pop(), ())
        found.update(young)
        waiting += young
    return found


def _processes() -> list[tuple[int, int, int]]:
    """Pid, parent and session of every process that has not ended."""
    found = []
    for path in _PROC.glob("[0-9]*/stat"):
        with suppress(OSError, ValueError):
            head, _, tail = path.read_bytes().rpartition(b")")
            state, parent, _group, session = tail.split()[:4]
            if state not in (b"Z", b"X"):
                found.append((int(head.split()[0]), int(parent), int(session)))
    return found


def end_session(session: int) -> None:
    """For the agent, should a reaper not end by itself: kill it and what is still in its session."""
    members = {pid for pid, _, of in _processes() if of == session} if _LINUX else set()
    _send({*members, session}, signal.SIGKILL)


def _send(pids: set[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(OSError):
            os.kill(pid, number)


def _end_as(status: int) -> NoReturn:
    """End as the hooks did, so that the agent sees how that was."""
    if os.WIFSIGNALED(status):
        import resource  # noqa: PLC0415 - not on Windows, where the agent imports this file for its constants

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        number = os.WTERMSIG(status)
        if number != signal.SIGKILL:
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os._exit(os.waitstatus_to_exitcode(status) & 0xFF)


def _prctl(option: int, value: int) -> None:
    if _LINUX:
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
