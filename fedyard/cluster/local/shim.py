"""The first process of an attempt that runs as processes of this machine. It outlives who started it (spawner.py).

    hub or agent --- socket ---> spawner --- fork ---> shim --- fork, exec ---> the workload --- ...

The shim holds the lock on its attempt's folder as long as it lives, so that everybody can see whether it does without
knowing its number, which another process may have by now. It is its descendants' subreaper (prctl(2)): whoever loses
his parent becomes its child, also after setsid or a double fork; when the workload has ended, however that came, it
ends what is left. It pumps the log, watches deadline and memory, starts a service's replicas again, and writes what it
knows into the folder, the end durably. Who wants something of it writes that into the folder, and rings the bell.

What it cannot end: a process in another's service (a container's daemon, systemd, cron), one of another user, one that
hangs in the kernel (it tries on, and the attempt is not gone before). After a kill -9 of the shim its workload's first
processes go at once (PR_SET_PDEATHSIG); what they have started is found by `MARK` when the attempt is removed.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import resource
import select
import signal
import socket
import time
from contextlib import suppress
from typing import Any, NoReturn

from fedyard.cluster.conventions import INPUTS_FOLDER, OUTPUT_MISSING, OUTPUTS_FOLDER
from fedyard.cluster.local import proc
from fedyard.cluster.local.balancer import Balancer
from fedyard.cluster.local.companions import MAX_RESTART_S, READ_BYTES, RESTART_FIRST_S, RESTART_FORGET_S, Companions
from fedyard.cluster.local.folder import (
    BELL,
    LAUNCH,
    LOG,
    REPLICAS,
    RESERVE,
    STATE,
    STOP,
    TAIL,
    WORK,
    ring_changes,
)

MARK_OF_REPLICA = "FEDYARD_REPLICA"
"""In the environment of a service's processes: what a replica that has ended leaves behind is ended by it."""
FINAL = ("succeeded", "failed")
MAX_TAIL_BYTES = 262_144
"""Of a log that has become too long: so much of its end is kept."""
MAX_EVENTS = 50
MAX_SAID_BYTES = 1000
"""Of what a step of ours says."""
STEP_BYTES = 134_217_728
"""Of memory, for a step of ours, whatever the workload asks for."""
TAIL_EVERY_S = 1.0
DRAIN_READS = 64
PROBE_FIRST_S, MAX_PROBE_S, PROBE_READY_S, PROBE_WITHIN_S = 0.05, 1.0, 5.0, 0.2
WATCH_S, WATCH_CLOSE_S, WATCH_SHARE = 1.0, 0.1, 0.05
"""How often memory is looked at: seldom while less than half is used. Share: of a processor, by all shims."""
NICE, OOM_SCORE = 5, 500
"""Workloads give way to the hub: of processors, and when memory is short."""
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_PR_SET_NAME, NAME = 15, b"fedyard-shim"
"""As it is shown by ps(1) and top(1)."""
_LIBC = ctypes.CDLL(None)
_NEVER = float("inf")


class _Replica:
    """One process of the workload's own, and what has come of it. pid 0: it does not live."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.pid = 0
        self.port = 0
        self.pipe = -1
        self.line = bytearray()
        self.started = 0.0
        self.start_at = 0.0
        self.failures = 0
        self.probe_at = _NEVER
        self.probe_s = PROBE_FIRST_S
        self.ready = False
        self.unwanted = False
        self.killed_for = ""
        self.said: bytearray | None = None
        """What a step of ours has said last; None: it is the workload, whose words are the log."""


class Shim:
    """Of the attempt whose folder is the current one."""

    def __init__(self, alive: int) -> None:
        """alive: the descriptor that has the folder's lock."""
        self._alive = alive
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)
        _prctl(_PR_SET_NAME, ctypes.c_char_p(NAME))
        self._evicted = False
        self._files = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(
            resource.RLIMIT_NOFILE, (self._files[1], self._files[1])
        )  # a pipe for each replica, connections
        signal.signal(signal.SIGTERM, self._terminated)  # the machine, or the unit that it runs in, goes down
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        self._woken, wake = os.pipe()
        for one in (self._woken, wake):
            os.set_blocking(one, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        self._bell = os.open(BELL, os.O_RDWR | os.O_NONBLOCK)
        with open(LAUNCH, "rb") as file:
            self._launch: dict[str, Any] = json.load(file)
        self._service = self._launch["kind"] == "service"
        self._memory: int = self._launch["memory_bytes"]
        self._steps = _steps_of(self._launch)
        self._step = self._steps[0]
        self._log = os.open(LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        _reserve()
        self._log_left: int = self._launch["log_bytes"] - os.fstat(self._log).st_size
        self._tail = bytearray()
        self._tail_dirty = self._cut = False
        self._poll = select.poll()
        for one in (self._woken, self._bell):
            self._poll.register(one, select.POLLIN)
        has_address = self._service and self._launch["port"] is not None
        self._stable: dict[str, Any] | None = self._launch["stable"]
        self._balancer = self._address() if has_address else None
        self._replicas: list[_Replica] = []
        self._draining: list[_Replica] = []
        self._beside = Companions(self._launch["companion"], self._poll, self._fork, self._event)
        self._made = 0
        self._wanted: int = self._launch["replicas"] if self._service else 1
        self._kill_at = _NEVER
        self._deadline = _NEVER
        self._watch_at, self._scan_at = 0.0, 0.0
        self._oom_kills = proc.oom_kills()
        self._written: dict[str, Any] = {}
        self._write_at = _NEVER
        self._state: dict[str, Any] = {
            "phase": "starting",
            "reason": "",
            "detail": "",
            "exit_code": None,
            "ready": 0,
            "replicas": self._wanted,
            "address": self._balancer.address if self._balancer else "",
            "stopping": False,
            "started_s": None,
            "ended_s": None,
            "events": [],
        }

    def _address(self) -> Balancer:
        """Of its own choice, or the one by which others dial it."""
        if self._stable is None:
            return Balancer(self._poll)
        return Balancer(self._poll, self._stable["host"], self._launch["port"])

    def run(self) -> None:
        """Until the attempt has ended and nothing of it is left."""
        self._event(f"its shim has started, as process {os.getpid()}")
        while not self._write():  # before anything else starts, or another might start it again
            time.sleep(1.0)
        os.unlink(LAUNCH)
        self._hear_wishes()
        while not self._state["ended_s"]:
            now = time.monotonic()
            self._start_due(now)
            self._probe_due(now)
            self._watch(now)
            if now >= self._deadline:
                self._fail("deadline_passed", f"it ran longer than {self._launch['deadline_s']:g} seconds")
                self._terminate(self._launch["grace_s"])
            if self._is_over(now):
                self._end()
                break
            self._tell()
            self._sleep(now)

    def _is_over(self, now: float) -> bool:
        if now >= self._kill_at:
            return True
        if any(one.pid for one in self._replicas):
            return False
        if self._kill_at < _NEVER:
            return not self._beside.pids()
        return self._state["phase"] in FINAL

    def _sleep(self, now: float) -> None:
        """Until something happens, or has to be done."""
        next_ = min(self._kill_at, self._deadline, self._watch_at, self._write_at)
        if self._kill_at == _NEVER:
            for one in self._replicas:
                next_ = min(next_, one.probe_at if one.pid and not one.unwanted else one.start_at)
            next_ = min(next_, self._beside.next_at())
        ready = dict(self._poll.poll(max(0.0, next_ - now) * 1000 + 1 if next_ < _NEVER else None))
        if self._balancer:
            for descriptor, events in ready.items():
                self._balancer.handle(descriptor, events)
        for one in [*self._replicas, *self._draining]:
            if one.pipe in ready:
                self._pump(one)
        self._beside.pump(ready)
        if self._woken in ready:
            with suppress(BlockingIOError):
                os.read(self._woken, 4096)
            if self._evicted and self._kill_at == _NEVER:  # first, for its processes may have been told as well
                self._fail("evicted", "the machine, or the service that it runs under, went down")
                self._terminate(self._launch["grace_s"])
            self._reap()
        if self._bell in ready:
            self._hear_wishes()

    # ------------------------------------------------------------ what is wanted of it

    def _hear_wishes(self) -> None:
        """Those in the folder, and that for its end also from the bell: a full disk must not keep it from ending."""
        stop, replicas, said = _read_json(STOP), _read_json(REPLICAS), b""
        with suppress(BlockingIOError):
            said = os.read(self._bell, 65_536)
        graces = [float(stop["grace_s"])] if stop is not None else []
        for word in said.split():
            with suppress(ValueError):
                graces.append(float(word))
        if graces:
            if not self._state["stopping"]:
                self._event("its end was asked for")
            self._state["stopping"] = True
            self._terminate(min(graces))
        if replicas is not None and self._service and replicas != self._wanted:
            self._wanted = int(replicas)
            self._event(f"scaled to {self._wanted}")

    def _terminated(self, _number: int, _frame: object) -> None:
        self._evicted = True

    def _terminate(self, grace_s: float) -> None:
        """Tell every process of the workload's own, with its group; what is left when grace is over is killed."""
        first, self._deadline = self._kill_at == _NEVER, _NEVER
        self._kill_at = min(self._kill_at, time.monotonic() + grace_s)
        if first:
            for one in self._replicas:
                _kill_group(one.pid, signal.SIGTERM)
            self._beside.end()

    def _fail(self, reason: str, detail: str) -> None:
        """The first reason counts; a service that only was not ready has none yet."""
        if self._state["reason"] in ("", "not_ready"):
            self._state.update(reason=reason, detail=detail)
            self._event(detail)

    # ------------------------------------------------------------ its processes

    def _start_due(self, now: float) -> None:
        if self._kill_at < _NEVER:
            return
        self._replicas = [one for one in self._replicas if one.pid or not one.unwanted]
        wanted = [one for one in self._replicas if not one.unwanted]
        if self._stable is None:
            for _ in range(self._wanted - len(wanted)):
                self._made += 1
                self._replicas.append(_Replica(self._made))
        else:  # a name that is free again is taken again
            there = {one.index for one in self._replicas}
            self._replicas += [_Replica(index) for index in range(1, self._wanted + 1) if index not in there]
            wanted.sort(key=lambda one: one.index)
        for one in wanted[self._wanted :]:
            one.unwanted, one.ready = True, False
            one.start_at = now + self._launch["grace_s"]
            _kill_group(one.pid, signal.SIGTERM)
        for one in self._replicas:
            if now < one.start_at:
                continue
            if one.unwanted:
                one.start_at = _NEVER
                _kill_group(one.pid, signal.SIGKILL)
            elif not one.pid and self._state["phase"] not in FINAL:
                self._start(one, now)
        keep = {one.index for one in self._replicas if not one.unwanted}
        self._beside.start_due(now, keep, self._launch["grace_s"])

    def _start(self, one: _Replica, now: float) -> None:
        environment = dict(self._step["environment"])
        environment |= self._beside.told(one.index)
        if self._launch["port"] is not None:
            one.port = _free_port()
            environment["PORT"] = str(one.port)
        if self._service:
            environment[MARK_OF_REPLICA] = str(one.index)
        name = f"{self._stable['name']}-{one.index - 1}" if self._stable else ""
        if name:
            environment["HOSTNAME"] = name
        for path, mode, file in self._launch["made"]:
            with suppress(FileExistsError):
                _make(path.replace("{replica}", name), mode, file=file)
        one.pid, one.pipe, error = self._fork(self._step["argv"], environment, WORK)
        one.started = now
        one.said = bytearray() if self._step["name"] else None
        self._poll.register(one.pipe, select.POLLIN)
        if error:
            self._not_started(error)
            return
        one.probe_at, one.probe_s = (now + PROBE_FIRST_S if one.port else _NEVER), PROBE_FIRST_S
        if self._state["started_s"] is None:
            self._state["started_s"] = time.time()
            self._deadline = now + self._launch["deadline_s"] if self._launch["deadline_s"] else _NEVER
        if not self._service:
            self._state["phase"] = "running"
        elif not one.port:
            one.ready = True
        began = f"its {self._step['name']}: the step has started" if self._step["name"] else "it has started"
        self._event(f"replica {one.index} has started" if self._service else began)

    def _not_started(self, number: int) -> None:
        program, why = self._step["argv"][0], os.strerror(number)
        not_there = number in (errno.ENOENT, errno.EACCES, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG)
        reason = "command_not_found" if not_there else "config_invalid"
        self._fail(reason, f"the command {program!r:.200} cannot be run: {why}")
        self._state.update(phase="failed", exit_code=127 if not_there else 126)

    def _fork(self, argv: list[str], environment: dict[str, str], folder: str) -> tuple[int, int, int]:
        """Its number, the end of the pipe where what it says comes out, and why it could not be run, or 0."""
        read, write = os.pipe()
        failed, fail = os.pipe()
        shim = os.getpid()
        pid = os.fork()
        if not pid:
            self._become(shim, argv, environment, folder, write, fail)
        os.close(write)
        os.close(fail)
        with os.fdopen(failed, "rb") as file:
            error = file.read()
        os.set_blocking(read, False)
        return pid, read, int(error or 0)

    def _become(
        self, shim: int, argv: list[str], environment: dict[str, str], folder: str, write: int, fail: int
    ) -> NoReturn:
        """The workload. What goes wrong before it is one is told to the shim, as a number."""
        try:
            signal.set_wakeup_fd(-1)
            os.setsid()
            _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != shim:
                os._exit(0)
            for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
                signal.signal(number, signal.SIG_DFL)
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            nothing = os.open(os.devnull, os.O_RDONLY)
            for theirs, ours in ((nothing, 0), (write, 1), (write, 2)):
                os.dup2(theirs, ours)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            resource.setrlimit(resource.RLIMIT_NOFILE, self._files)
            with suppress(OSError):
                os.nice(NICE)
            with suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
                file.write(str(OOM_SCORE))
            os.chdir(folder)
            os.execvpe(argv[0], argv, environment)
        except OSError as error:
            os.write(fail, b"%d" % (error.errno or errno.EINVAL))
        except ValueError:
            os.write(fail, b"%d" % errno.EINVAL)
        finally:
            os._exit(127)

    def _reap(self) -> None:
        """Take leave of every child that has ended. Its group is killed before: as long as it is not taken leave of, no
        other has its number."""
        with suppress(ChildProcessError):
            while (ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is not None:
                mine = [one for one in self._replicas if one.pid == ended.si_pid]
                if mine or ended.si_pid in self._beside.pids():
                    _kill_group(ended.si_pid, signal.SIGKILL)
                code = os.waitstatus_to_exitcode(os.waitpid(ended.si_pid, 0)[1])
                for one in mine:
                    self._ended(one, code)
                shown = code if code >= 0 else 128 - code
                self._beside.ended(ended.si_pid, shown, self._why(shown)[1], time.monotonic())

    def _ended(self, one: _Replica, code: int) -> None:
        exit_code = code if code >= 0 else 128 - code
        lived = time.monotonic() - one.started
        one.pid, one.ready, one.probe_at = 0, False, _NEVER
        while one.said is not None and one.pipe >= 0 and self._pump(one):
            pass
        if one.pipe >= 0:
            self._draining.append(_moved_pipe(one))
        reason, detail = self._why(exit_code)
        if not self._service:
            if exit_code == 0 and not self._state["reason"] and self._kill_at == _NEVER and self._goes_on():
                if not self._step["name"]:
                    self._state["exit_code"] = 0
                self._step = self._steps[self._steps.index(self._step) + 1]
                return
            if one.said is not None:
                reason, detail = self._of_step(exit_code, one.said, reason, detail)
            elif self._state["exit_code"] is None:
                self._state["exit_code"] = exit_code
            if reason:
                self._fail(reason, detail)
            failed = bool(self._state["reason"]) or exit_code != 0
            self._state["phase"] = "failed" if failed else "succeeded"
            return
        if self._kill_at < _NEVER or self._state["phase"] == "failed":
            return  # all that is left ends at once
        mark = b"%s=%d" % (MARK_OF_REPLICA.encode(), one.index)
        _send({pid for pid in proc.descendants(os.getpid()) if mark in proc.environment(pid)}, signal.SIGKILL)
        if one.unwanted:
            return
        one.failures = 1 if lived > RESTART_FORGET_S else one.failures + 1
        pause_s = min(RESTART_FIRST_S * 2 ** min(one.failures - 1, 20), MAX_RESTART_S)
        one.start_at = time.monotonic() + pause_s
        sentence = one.killed_for or detail or "it ended by itself"
        one.killed_for = ""
        self._event(f"replica {one.index}: {sentence}; it starts again in {pause_s:g} s")
        self._state["detail"] = f"replica {one.index}: {sentence}"

    def _goes_on(self) -> bool:
        """True if another step follows; what the one before has left behind ends."""
        if self._step is self._steps[-1]:
            return False
        _send(proc.descendants(os.getpid()), signal.SIGKILL)
        return True

    def _of_step(self, exit_code: int, said: bytearray, reason: str, detail: str) -> tuple[str, str]:
        """Reason and sentence of one of our own steps that has failed."""
        if not exit_code or self._kill_at < _NEVER:
            return reason, detail
        sentence = said.decode(errors="replace").strip() or detail
        if self._step["name"] == INPUTS_FOLDER:
            return "inputs_unavailable", sentence
        return ("outputs_missing" if exit_code == OUTPUT_MISSING else "outputs_not_stored"), sentence

    def _why(self, exit_code: int) -> tuple[str, str]:
        """Reason and sentence of an exit code."""
        if not exit_code:
            return "", ""
        if exit_code == 128 + signal.SIGKILL and proc.oom_kills() > self._oom_kills:
            return "out_of_memory", "the system ended it, for memory was short"
        if 128 < exit_code <= 128 + signal.SIGRTMAX:
            with suppress(ValueError):
                return "signalled", f"it was ended by {signal.Signals(exit_code - 128).name}"
            return "signalled", f"it was ended by signal {exit_code - 128}"
        return "exit_code", f"it ended with exit code {exit_code}"

    # ------------------------------------------------------------ looking after them

    def _probe_due(self, now: float) -> None:
        for one in self._replicas:
            if one.pid and now >= one.probe_at:
                one.ready = _listens(one.port)
                if one.ready:
                    one.probe_s = PROBE_FIRST_S
                one.probe_at = now + (PROBE_READY_S if one.ready else one.probe_s)
                one.probe_s = min(one.probe_s * 1.5, MAX_PROBE_S)

    def _watch(self, now: float) -> None:
        """Memory of its own processes often, of all below them as often as that is cheap."""
        if now < self._watch_at:
            return
        if _folder_is_gone():  # with the hub's, by hand: nobody is left to say that it shall stop
            self._terminate(self._launch["grace_s"])
        used = [proc.resident(one.pid) for one in self._replicas if one.pid]
        most = max(used, default=0)
        if now >= self._scan_at:
            below = self._seen_below(now) - self._beside.pids()
            most = max(most, sum(proc.resident(pid) for pid in below) // max(1, len(used)))
        memory = max(self._memory, STEP_BYTES) if self._step["name"] else self._memory
        if most > memory and self._proportional() > memory * max(1, len(used)):
            self._take_too_much(now)
        self._watch_at = now + (WATCH_CLOSE_S if most > memory / 2 or now < self._young_until() else WATCH_S)

    def _seen_below(self, now: float) -> set[int]:
        """All below it. Where that takes a look at every process of the machine, the next one is the later the longer
        it took and the more shims there are."""
        if proc.CHILDREN:
            return proc.descendants(os.getpid())
        before = time.process_time()
        below, shims = proc.by_parents("/proc", os.getpid(), NAME)
        self._scan_at = now + (time.process_time() - before) * max(1, shims) / WATCH_SHARE
        return below

    def _take_too_much(self, now: float) -> None:
        """A job ends of it; a service's largest replica is ended, and starts again."""
        sentence = f"it took more than its {self._memory} bytes of memory"
        if self._service:
            largest = max(self._replicas, key=lambda one: proc.resident(one.pid) if one.pid else -1)
            largest.killed_for = sentence
            _kill_group(largest.pid, signal.SIGKILL)
            return
        self._fail("out_of_memory", sentence)
        self._state.update(phase="failed", exit_code=128 + signal.SIGKILL)
        self._kill_at = now

    def _young_until(self) -> float:
        """What has just started grows fastest."""
        return max((one.started + 3.0 for one in self._replicas if one.pid), default=0.0)

    def _proportional(self) -> int:
        """Memory of all below it, what is shared counted once: exact, and dear."""
        below = proc.descendants(os.getpid()) - self._beside.pids()
        return sum(proc.proportional(pid) for pid in below)

    # ------------------------------------------------------------ its log

    def _pump(self, one: _Replica) -> bool:
        """What came through the pipe, into the log: of several replicas by whole lines. False: there is nothing."""
        try:
            came = os.read(one.pipe, READ_BYTES)
        except BlockingIOError:
            return False
        if not came:
            self._hang_up(one)
            return False
        if one.said is not None:
            one.said += came
            del one.said[:-MAX_SAID_BYTES]
        elif self._service:
            one.line += came
            whole = len(one.line) if len(one.line) >= READ_BYTES else one.line.rfind(b"\n") + 1
            self._keep(bytes(one.line[:whole]))
            del one.line[:whole]
        else:
            self._keep(came)
        return True

    def _hang_up(self, one: _Replica) -> None:
        self._keep(bytes(one.line))
        one.line.clear()
        self._poll.unregister(one.pipe)
        os.close(one.pipe)
        one.pipe = -1
        if one in self._draining:
            self._draining.remove(one)

    def _keep(self, came: bytes) -> None:
        """In the log as far as it goes; beyond that the end alone."""
        while came and self._log_left > 0:
            try:
                written = os.write(self._log, came[: self._log_left])
            except OSError as error:
                self._event(f"its log cannot be written any more: {error.strerror}")
                self._log_left = 0
            else:
                self._log_left -= written
                came = came[written:]
        if not came:
            return
        if not self._cut:
            self._cut = True
            self._event("its log is as long as it may be: from here on its end alone is kept")
            with open(LOG, "rb") as file:
                file.seek(max(0, os.fstat(self._log).st_size - MAX_TAIL_BYTES))
                self._tail += file.read()
        self._tail += came
        del self._tail[:-MAX_TAIL_BYTES]
        self._tail_dirty = True
        self._write_at = min(self._write_at, time.monotonic() + TAIL_EVERY_S)

    def _drain(self) -> None:
        """What is still in the pipes; all that wrote to them is gone, but for what has sent its end elsewhere."""
        for one in [*self._replicas, *self._draining]:
            for _ in range(DRAIN_READS):
                if one.pipe < 0 or not self._pump(one):
                    break
            self._keep(bytes(one.line))

    # ------------------------------------------------------------ its end, and what it tells

    def _end(self) -> None:
        """Kill what is left, look until nothing is, and say how it ended, for good."""
        pause_s = 0.002
        while self._is_left():
            below = proc.descendants(os.getpid())
            _send(below, signal.SIGSTOP)  # so that nothing is born meanwhile
            _send(below | proc.descendants(os.getpid()), signal.SIGKILL)
            with suppress(BlockingIOError):
                os.read(self._woken, 4096)
            time.sleep(pause_s)
            pause_s = min(pause_s * 2, 5.0)
        self._drain()
        state = self._state
        if state["phase"] not in FINAL:
            state["phase"] = "failed"
        if state["stopping"] and state["reason"] in ("signalled", "exit_code"):
            state.update(reason="", detail="it was stopped")
        state.update(ended_s=time.time(), ready=0, address="")
        self._event("it has ended, and nothing of it is left")
        with suppress(OSError):
            os.fsync(self._log)
        while not self._write(durable=True):
            self._hear_wishes()
            if self._state["stopping"] or _folder_is_gone():  # nobody asks how it ended
                return
            time.sleep(1.0)

    def _is_left(self) -> bool:
        """Whether anything below it lives."""
        self._reap()
        with suppress(ChildProcessError):
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            return True
        return False

    def _event(self, sentence: str) -> None:
        when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self._state["events"] = [*self._state["events"], f"{when} {sentence}"][-MAX_EVENTS:]

    def _tell(self) -> None:
        """Write down what has changed."""
        if self._service and self._state["phase"] != "failed":
            ready = [one for one in self._replicas if one.ready]
            if self._balancer:
                self._balancer.targets = [one.port for one in ready]
            phase = "running" if ready or not self._wanted else "starting"
            self._state.update(ready=len(ready), replicas=self._wanted, phase=phase)
            if self._kill_at == _NEVER:
                waiting = any(one.failures and not one.ready for one in self._replicas)
                self._state["reason"] = "not_ready" if waiting else ""
                if not waiting:
                    self._state["detail"] = ""
        now = time.monotonic()
        if self._state != self._written or (self._tail_dirty and now >= self._write_at):
            self._write()

    def _write(self, *, durable: bool = False) -> bool:
        """The state, and a cut log's tail. A full disk is tried again later."""
        self._write_at = _NEVER
        try:
            _replace(STATE, json.dumps(self._state).encode(), durable=durable)
            if self._tail_dirty:
                _replace(TAIL, bytes(self._tail), durable=durable)
                self._tail_dirty = False
        except OSError:
            with suppress(OSError):
                os.unlink(RESERVE)
            self._write_at = time.monotonic() + TAIL_EVERY_S
            return False
        self._written = dict(self._state)
        if durable:  # before who waits is told, so that he finds it gone
            os.close(self._alive)
        ring_changes(self._launch["changes"])
        return True


def _folder_is_gone() -> bool:
    """Whether its own folder, which it stays in, was removed; one that was moved is there."""
    try:
        os.getcwd()
    except FileNotFoundError:
        return True
    return False


def _steps_of(launch: dict[str, Any]) -> list[dict[str, Any]]:
    """What runs one after the other, each once the one before has ended well; the workload's own has no name."""
    steps = launch.get("steps", {})
    program = {"name": "", "argv": launch["argv"], "environment": launch["environment"]}
    before = [{"name": INPUTS_FOLDER, **steps[INPUTS_FOLDER]}] if INPUTS_FOLDER in steps else []
    after = [{"name": OUTPUTS_FOLDER, **steps[OUTPUTS_FOLDER]}] if OUTPUTS_FOLDER in steps else []
    return [*before, program, *after]


def _moved_pipe(one: _Replica) -> _Replica:
    """The pipe of what has ended, which others may hold still; the replica gets a new one."""
    moved = _Replica(one.index)
    moved.pipe, moved.line, moved.said = one.pipe, one.line, one.said
    one.pipe, one.line = -1, bytearray()
    return moved


def _reserve() -> None:
    """Room for what it has to write when the disk is full."""
    with suppress(OSError):
        file = os.open(RESERVE, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            os.posix_fallocate(file, 0, MAX_TAIL_BYTES + 65_536)
        finally:
            os.close(file)


def _replace(name: str, content: bytes, *, durable: bool) -> None:
    temporary = f".{name}.new"
    file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(file, content)
        if durable:
            os.fsync(file)
    finally:
        os.close(file)
    os.rename(temporary, name)
    if durable:
        folder = os.open(".", os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _read_json(name: str) -> Any:
    with suppress(OSError, ValueError), open(name, "rb") as file:
        return json.load(file)
    return None


def _make(path: str, mode: int, *, file: bool) -> None:
    """In a volume. Raises `FileExistsError` where it is there."""
    os.makedirs(os.path.dirname(path), mode=0o750, exist_ok=True)
    if file:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode))
    else:
        os.mkdir(path, mode)


def _kill_group(pid: int, number: signal.Signals) -> None:
    if pid:
        with suppress(OSError):
            os.killpg(pid, number)


def _send(pids: set[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(OSError):
            os.kill(pid, number)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def _listens(port: int) -> bool:
    with socket.socket() as one:
        one.settimeout(PROBE_WITHIN_S)
        return one.connect_ex(("127.0.0.1", port)) == 0


def _prctl(option: int, value: Any) -> None:
    _LIBC.prctl(option, value, 0, 0, 0)
