"""What confined hooks reach, and what they do not: tried by a task that wants to, and by programs that it starts."""

from __future__ import annotations

import errno
import json
import os
import resource
import socket
import struct
from pathlib import Path

import msgspec
import pytest

from fedyard.agent.confining import confinement_of, why_unreachable
from fedyard.tasks.arrays import pack, unpack
from fedyard.tasks.child import Child, ChildDied
from fedyard.tasks.confined import Confine, Confinement, landlock, reach, seccomp, without_secrets
from fedyard.tasks.confined.entering import Held, held
from fedyard.tasks.jobs import Finished, Job, Packed
from fedyard.tasks.kept import copy_to_work, put_aside
from fedyard.tasks.sources import Source
from tests import hooks

PRYING = '''
import json, os, signal, socket, subprocess, sys, tempfile
from pathlib import Path

import numpy as np

from fedyard import Result, Task


class Prying(Task):
    """Tries each of its parameters, as (name, how, what), and says how that went."""

    def prepare(self, context):
        context.log(f"prepared {os.getpid()}")

    def train(self, context, model):
        said = {}
        for name, how, *what in context.parameters["tries"]:
            try:
                said[name] = getattr(self, how)(context, *what)
            except OSError as error:
                said[name] = f"refused {error.errno}"
        context.log(json.dumps(said))
        return Result({"w": np.zeros(2) if model is None else np.asarray(model["w"])})

    def read(self, context, path):
        return Path(path).read_bytes().decode()

    def write(self, context, path):
        Path(path).write_text("written")
        return "written"

    def listed(self, context, path):
        return sorted(os.listdir(path))

    def data(self, context, name):
        return context.data[name].read_text()

    def kept(self, context):
        for folder in (context.folder, context.keep, Path(tempfile.mkdtemp())):
            (folder / "file").write_text("kept")
            (folder / "file").rename(folder / "other")
            os.link(folder / "other", folder / "third")
        return (context.keep / "third").read_text()

    def kill(self, context, pid):
        os.kill(pid, 0)
        return "killed"

    def socket(self, context, family, kind):
        socket.socket(family, kind).close()
        return "made"

    def connect(self, context, port):
        socket.create_connection(("127.0.0.1", port), 1).close()
        return "connected"

    def local(self, context, path):
        with socket.socket(socket.AF_UNIX) as end:
            end.connect(path)
        return "connected"

    def pair(self, context):
        for end in socket.socketpair():
            end.close()
        return "made"

    def datagram(self, context, path):
        one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        with one, other:
            one.sendto(b"patients", path)
        return "sent"

    def changed(self, context, path):
        how = {}
        calls = {
            "mode": lambda: os.chmod(path, 0o777),
            "owner": lambda: os.chown(path, 1234, 1234),
            "times": lambda: os.utime(path, (1, 1)),
            "attribute": lambda: os.setxattr(path, "user.patients", b"104"),
        }
        for name, call in calls.items():
            try:
                call()
                how[name] = "answered"
            except OSError as error:
                how[name] = f"refused {error.errno}"
        return how

    def limited(self, context, pid):
        import resource

        resource.prlimit(pid, resource.RLIMIT_FSIZE, (1 << 30, resource.RLIM_INFINITY))
        return "limited"

    def started(self, context, *words):
        done = subprocess.run(words, capture_output=True, text=True)
        return done.stdout or "refused" if "denied" in done.stderr or "not permitted" in done.stderr else "did it"

    def call(self, context, number, *arguments):
        import ctypes

        libc = ctypes.CDLL(None, use_errno=True)
        answer = libc.syscall(number, *arguments)
        return f"refused {ctypes.get_errno()}" if answer < 0 else "done"

    def status(self, context, word):
        (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(word)]
        return line.split()[1]

    def variable(self, context, name):
        return os.environ.get(name)

    def memory(self, context, size):
        np.ones(size // 8)
        return "taken"

    def spin(self, context):
        while True:
            pass

    def estimated(self, context):
        from sklearn.linear_model import LogisticRegression

        found = LogisticRegression().fit(np.arange(20.0).reshape(10, 2), np.arange(10) % 2)
        return found.coef_.shape

    def counted(self, context):
        import dp_accounting

        return round(dp_accounting.get_epsilon_gaussian(1.0, 0.12693673750664394), 6)
'''
REFUSED = f"refused {errno.EACCES}"
FORBIDDEN = f"refused {errno.EPERM}"


@pytest.fixture
def site(tmp_path) -> Path:
    """A site's folder, with its secrets and the data of two projects."""
    folder = tmp_path / "north"
    for path in (
        "keys/1.key",
        "models/run.npz",
        "kept/other/task/head",
        "runs/other/1/patients",
        "package/__init__.py",
    ):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text("secret")
    for name in ("site.toml", "token", "identity.key", "state.sqlite", "train.csv", "other.csv", "notes.txt"):
        (folder / name).write_text(f"{name}'s own")
    (folder / "prying.py").write_text(PRYING)
    return folder


def job_of(site: Path, tries: object = (), model: str = "", hook: str = "train", **confine: object) -> Job:
    own, keep = site / "runs" / "r" / "1", site / "kept" / "p" / "t"
    data = site / "train.csv"
    return Job(
        hook=hook,
        model_name="prying:Prying",
        allowed=["prying:Prying"],
        site_id="s",
        run_id="r",
        task="t",
        task_seq=1,
        round=1,
        rounds=1,
        parameters={"tries": tries},
        data={"train": str(data), "other": str(site / "other.csv")},
        folder=str(own),
        keep=str(keep),
        model=Packed(file=model) if model else None,
        confine=Confinement(site=str(site), read=[str(data)], write=[str(own), str(keep)], **confine),
    )


@pytest.fixture
def child(site):
    with hooks.prepared():
        made = Child(site, threads=1, stop_within_s=0.5)
        yield made
        made.end()


def said(child: Child, job: Job) -> dict[str, object]:
    lines: list[str] = []
    finished = child.call(job, lambda: False, lines.append)
    assert finished is not None
    assert finished.error == ""
    found: dict[str, object] = json.loads(lines[-1])
    return found


def test_a_confined_task_has_its_data_and_its_folders(site, child) -> None:
    tries = [("data", "data", "train"), ("kept", "kept"), ("numbers", "estimated"), ("epsilon", "counted")]
    tries += [("pair", "pair"), ("self", "status", "NoNewPrivs:"), ("program", "started", "true")]
    assert said(child, job_of(site, tries)) == {
        "data": "train.csv's own",
        "kept": "kept",
        "numbers": [1, 2],
        "epsilon": 1.0,
        "pair": "made",
        "self": "1",
        "program": "did it",
    }


def test_what_a_hook_has_kept_is_out_of_its_reach_and_it_works_in_a_new_copy(site, child) -> None:
    """As an agent has it: in the task's own folder, in one process from round to round."""
    own, kept = site / "runs" / "r" / "1", site / "kept" / "p" / "t" / "1"
    work = own / "keep"

    def tried(*tries: tuple[str, ...]) -> dict[str, object]:
        job = job_of(site, tries)
        assert job.confine is not None
        confine = msgspec.structs.replace(job.confine, write=[str(own)])
        return said(child, msgspec.structs.replace(job, keep=str(work), confine=confine))

    copy_to_work(None, work)
    assert tried(("first", "write", str(work / "heads"))) == {"first": "written"}
    put_aside(work, kept)
    copy_to_work(kept, work)
    assert tried(
        ("copy", "read", str(work / "heads")),
        ("again", "write", str(work / "heads")),
        ("more", "write", str(work / "more")),
        ("what counts", "read", str(kept / "heads")),
        ("over it", "write", str(kept / "heads")),
    ) == {
        "copy": "written",
        "again": "written",
        "more": "written",
        "what counts": "refused 13",
        "over it": "refused 13",
    }


def test_it_reads_nothing_else_of_the_site_the_agent_or_the_machine(site, child) -> None:
    names = (
        "token",
        "identity.key",
        "state.sqlite",
        "site.toml",
        "other.csv",
        "notes.txt",
        "keys/1.key",
        "models/run.npz",
    )
    files = [str(site / name) for name in (*names, "kept/other/task/head", "runs/other/1/patients")]
    agent = os.getpid()
    files += [f"/proc/{agent}/{name}" for name in ("environ", "cmdline", "maps", "mem", "status", "fd/0", "cwd/token")]
    files += ["/etc/shadow", "/proc/1/environ"]
    tries = [(file, "read", file) for file in files]
    tries += [
        ("program", "started", "cat", str(site / "token")),
        ("home", "listed", "/root"),
        ("tmp", "listed", str(site.parents[1])),
    ]
    tries += [("write", "write", str(site / "prying.py")), ("elsewhere", "write", str(site.parent / "was-here"))]
    found = said(child, job_of(site, tries))
    assert {name: how for name, how in found.items() if how not in (REFUSED, "refused")} == {}
    assert len(found) == len(tries)


def test_it_opens_no_connection_and_signals_nobody(site, child, tmp_path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as local:
        local.bind("\0fedyard-abstract-" + tmp_path.name)
        local.listen()
        port = server.getsockname()[1]
        family, stream, datagram, raw = socket.AF_INET, socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW
        kinds = [(family, stream), (family, datagram), (family, raw), (socket.AF_INET6, stream)]
        kinds += [
            (socket.AF_UNIX, stream),
            (socket.AF_UNIX, datagram),
            (socket.AF_NETLINK, raw),
            (socket.AF_VSOCK, stream),
        ]
        tries = [(f"{one}", "socket", *one) for one in kinds] + [("connect", "connect", port)]
        tries += [
            ("program", "started", "python3", "-c", f"import socket; socket.create_connection(('127.0.0.1', {port}))")
        ]
        found = said(child, job_of(site, tries))
        assert set(found.values()) == {REFUSED, "refused"}
        assert said(child, job_of(site, [("kill", "kill", os.getpid()), ("reaper", "kill", child._process.pid)])) == {
            "kill": FORBIDDEN,
            "reaper": FORBIDDEN,
        }


@pytest.mark.parametrize("ways", [{"workers": True}, {"network": True}])
def test_what_is_allowed_is_allowed_and_nothing_more(site, child, tmp_path, ways) -> None:
    at = str(tmp_path / "socket")
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as local:
        local.bind(at)
        local.listen()
        tries = [("connect", "connect", server.getsockname()[1]), ("local", "local", at)]
        tries += [("token", "read", str(site / "token")), ("agent", "read", f"/proc/{os.getpid()}/environ")]
        tries += [("kill", "kill", os.getpid())]
        assert said(child, job_of(site, tries, **ways)) == {
            "connect": "connected" if "network" in ways else REFUSED,
            "local": "connected",
            "token": REFUSED,
            "agent": REFUSED,
            "kill": FORBIDDEN,
        }


def test_ways_around_are_refused(site, child) -> None:
    number = {name: numbers[0 if os.uname().machine == "x86_64" else 1] for name, numbers in seccomp._NUMBERS.items()}
    names = ("io_uring_setup", "keyctl", "add_key", "request_key", "open_by_handle_at", "shmget", "mq_open")
    tries: list[tuple[object, ...]] = [(name, "call", number[name], 0, 0, 0) for name in names]
    tries += [("x32", "call", 0x40000000 | number["socket"], 2, 1, 0)] if os.uname().machine == "x86_64" else []
    tries += [("mount", "started", "mount", "-t", "tmpfs", "none", "/mnt")]
    tries += [("capabilities", "status", "CapEff:"), ("bounding", "status", "CapBnd:")]
    found = said(child, job_of(site, tries))
    assert int(str(found.pop("capabilities")), 16) & ~0b11111 == 0
    assert int(str(found.pop("bounding")), 16) & ~0b11111 == 0 or os.geteuid()
    assert {str(how).split()[0] for how in found.values()} == {"refused"}


def test_a_pair_of_sockets_reaches_nobody_else(site, child, tmp_path) -> None:
    """One of datagrams may be told another address than its own pair's: the system's log listens at such a place."""
    at = str(tmp_path / "log")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(at)
        assert said(child, job_of(site, [("log", "datagram", at)])) == {"log": REFUSED}


def test_modes_owners_times_and_attributes_of_files_stay_as_they_are(site, child) -> None:
    """No right to write is asked for where these are changed by a file's name."""
    key = site / "identity.key"
    key.chmod(0o600)
    before = key.stat()
    found = said(child, job_of(site, [("key", "changed", str(key))]))["key"]
    after = key.stat()
    assert (after.st_mode, after.st_uid, after.st_mtime) == (before.st_mode, before.st_uid, before.st_mtime)
    assert os.listxattr(key) == []
    assert found["owner"] == found["attribute"] == FORBIDDEN


def test_limits_of_other_processes_stay_as_they_are(site, child) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    found = said(child, job_of(site, [("agent", "limited", os.getpid()), ("own", "limited", 0)]))
    assert (found, resource.getrlimit(resource.RLIMIT_FSIZE)) == ({"agent": FORBIDDEN, "own": "limited"}, before)


def test_secrets_of_the_agents_environment_stay_with_it() -> None:
    environment = {"PATH": "/bin", "SITE_ENROLMENT_TOKEN": "x", "FEDYARD_X": "x", "DB_PASSWORD": "x", "LANG": "C"}
    environment |= {"HTTPS_PROXY": "http://ada:pass@proxy:3128", "http_proxy": "http://proxy:3128", "MY_API_KEY": "x"}
    assert without_secrets(environment, []) == {"PATH": "/bin", "LANG": "C", "http_proxy": "http://proxy:3128"}
    assert without_secrets(environment, ["DB_PASSWORD"])["DB_PASSWORD"] == "x"


def test_limits_hold(site, child) -> None:
    lines: list[str] = []
    tries = [("memory", "memory", 1_500_000_000)]
    finished = child.call(job_of(site, tries, memory_bytes=1_000_000_000), lambda: False, lines.append)
    assert finished is not None
    assert "not enough memory" in finished.error
    with pytest.raises(ChildDied, match="more of the processor's time than its site allows"):
        child.call(job_of(site, [("spin", "spin")], cpu_s=1), lambda: False, lines.append)


def test_files_of_other_runs_are_brought_into_the_tasks_folder(site, child) -> None:
    elsewhere = site / "runs" / "other" / "1" / "in-model"
    elsewhere.write_bytes(pack({"w": [1.0, 2.0]}))
    finished = child.call(job_of(site, model=str(elsewhere)), lambda: False)
    assert isinstance(finished, Finished)
    assert finished.packed is not None
    assert unpack(finished.packed.where)["w"].tolist() == [1.0, 2.0]


def test_files_of_hooks_before_are_not_left_there(site, child) -> None:
    own = site / "runs" / "r" / "1"
    for number in (1, 2):
        model = site / "runs" / "other" / "1" / f"in-{number}"
        model.write_bytes(pack({"w": [1.0, 2.0]}))
        child.call(job_of(site, model=str(model)), lambda: False)
        assert [one.stat().st_nlink for one in own.glob("brought-*")] == [2]
        assert len(list(own.glob("brought-*"))) == 1


def test_data_that_were_put_in_the_place_of_others_are_read_by_a_new_process(site, child) -> None:
    lines: list[str] = []
    tries = [("data", "data", "train")]
    for _ in range(2):
        child.call(job_of(site, tries), lambda: False, lines.append)
    (site / "new.csv").write_text("of tonight")
    (site / "new.csv").rename(site / "train.csv")
    child.call(job_of(site, tries), lambda: False, lines.append)
    assert [line.split()[0] for line in lines] == ["prepared", '{"data":', '{"data":', "prepared", '{"data":']
    assert json.loads(lines[-1]) == {"data": "of tonight"}


def test_a_process_that_cannot_be_confined_does_not_go_on(site, child) -> None:
    """Here: since what it is told makes no sense to it."""
    broken = msgspec.structs.replace(job_of(site), confine=Broken(site="", read=[], write=[]))
    with pytest.raises(ChildDied, match="could not be confined"):
        child.call(broken, lambda: False)


class Broken(Confinement, frozen=True, forbid_unknown_fields=True):
    unheard_of: int = 1


# ---------------------------------------------------------------- what is made of a site's words


def test_this_system_confines() -> None:
    assert held().lacks == ""
    assert held().whole


def test_what_a_system_cannot_hold_is_said() -> None:
    assert "no Landlock" in Held(0, seccomp=True).lacks
    assert "connections" in Held(7, seccomp=False).lacks
    assert "signals" in Held(4, seccomp=True).lacks


def test_paths_of_a_projects_data_are_what_may_be_read(tmp_path) -> None:
    sources = {
        "file": Source("/data/train.csv"),
        "lite": Source("sqlite:////data/a.db?mode=ro"),
        "far": Source("postgresql://db.example/x"),
    }
    found = confinement_of(Confine(read=["extra", "/else"], write=["out"]), tmp_path, sources, None, ["/own"])
    assert found is not None
    assert {"/data/train.csv", "/data/a.db", "/data/a.db-wal", str(tmp_path / "extra"), "/else"} <= {*found.read}
    assert not [path for path in found.read if "db.example" in path]
    assert sorted(found.write) == sorted(["/own", str(tmp_path / "out")])
    assert confinement_of(Confine(on="never"), tmp_path, sources, None, []) is None
    told = {name: why_unreachable(Confine(), name, source) for name, source in sources.items()}
    assert [name for name, why in told.items() if why] == ["far"]
    assert why_unreachable(Confine(network=True), "far", sources["far"]) == ""


def test_data_around_the_sites_folder_are_read_without_it(site, child) -> None:
    (site.parent / "patients.csv").write_text("patients")
    job = job_of(site, [("data", "read", str(site.parent / "patients.csv")), ("token", "read", str(site / "token"))])
    confine = msgspec.structs.replace(job.confine, read=[str(site.parent)])
    assert said(child, msgspec.structs.replace(job, confine=confine)) == {"data": "patients", "token": REFUSED}


def test_a_site_in_a_folder_that_is_read_for_python_stays_shut(tmp_path) -> None:
    """A checkout, or a home with the environment and the sites beside each other."""
    for path in ("lib/module.py", "north/site.toml", "south/site.toml", "south/task.py", "data/patients.csv", "run.py"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).touch()
    (tmp_path / "link").symlink_to(tmp_path / "north")
    north = tmp_path / "north"
    trees = dict(reach._tree(tmp_path, north))
    modules = dict(reach._modules(tmp_path, north))
    assert trees == {
        str(tmp_path): landlock.LIST,
        **{str(tmp_path / name): landlock.READ for name in ("lib", "data", "run.py")},
    }
    assert modules == {
        str(tmp_path): landlock.LIST,
        **{str(tmp_path / name): landlock.READ for name in ("lib", "run.py")},
    }


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize(("network", "workers"), [(False, False), (False, True), (True, False), (True, True)])
def test_the_filter_says_what_it_should_of_each_call(machine, network, workers) -> None:
    column = ["x86_64", "aarch64"].index(machine)
    code = seccomp.program(machine, network=network, workers=workers)
    own = seccomp._ARCHITECTURES[machine]

    def of(name: str, argument: int = 0, second: int = 0, architecture: int = own) -> int:
        return ran(code, seccomp._NUMBERS[name][column], architecture, argument, second)

    allow = 0x7FFF0000
    assert of("socket", socket.AF_INET) == (allow if network else 0x50000 | errno.EACCES)
    assert of("socket", socket.AF_UNIX) == (allow if network or workers else 0x50000 | errno.EACCES)
    assert of("io_uring_setup") == 0x50000 | errno.ENOSYS
    assert of("keyctl") == of("open_by_handle_at") == 0x50000 | errno.EPERM
    dgram = (socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    for pair in (dgram, (socket.AF_UNIX, socket.SOCK_RAW), (30, socket.SOCK_STREAM)):
        assert of("socketpair", *pair) == (allow if network or workers else 0x50000 | errno.EACCES)
    for kind in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK):
        assert of("socketpair", socket.AF_UNIX, kind) == allow
    assert of("prlimit64", 0) == allow
    assert of("prlimit64", 4321) == of("fchown") == of("setxattr") == 0x50000 | errno.EPERM
    assert of("fchmod") == of("utimensat") == 0x50000
    assert of("shmget") == (allow if workers else 0x50000 | errno.EACCES)
    assert of("seccomp") == allow
    assert of("seccomp", architecture=0x40000003) == 0x50000 | errno.ENOSYS  # i386
    assert ran(code, 0, own) == allow  # read, or io_setup


def ran(code: bytes, number: int, architecture: int, argument: int = 0, second: int = 0) -> int:
    """What a filter answers: the five kinds of instructions that ours has, as linux/filter.h says."""
    held_ = struct.pack("=iIQ6Q", number, architecture, 0, argument, second, 0, 0, 0, 0)
    accumulator, at = 0, 0
    while True:
        kind, true, false, value = struct.unpack_from("=HBBI", code, at * 8)
        at += 1
        match kind:
            case 0x20:
                (accumulator,) = struct.unpack_from("=I", held_, value)
            case 0x15:
                at += true if accumulator == value else false
            case 0x35:
                at += true if accumulator >= value else false
            case 0x54:
                accumulator &= value
            case 0x06:
                return int(value)
            case _:
                raise AssertionError(kind)
