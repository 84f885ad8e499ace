"""What local processes promise beyond the port: nothing of a tree is left, whoever is killed, and nothing leaks."""

from __future__ import annotations

import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fedyard.cluster.local import proc
from fedyard.cluster.local.balancer import Balancer
from fedyard.cluster.local.clearing import open_up
from fedyard.cluster.local.launching import Image
from fedyard.cluster.local.spawner import Spawner
from fedyard.cluster.port import (
    REPLICA,
    Cluster,
    Made,
    Observed,
    Part,
    Phase,
    Reason,
    Refused,
    Resources,
    Spec,
    Unavailable,
    Volume,
)
from fedyard.cluster.processes import Processes
from tests.cluster.programs import DEAF, LIVES, python, sh
from tests.disk import small_disk

OWNER = str(uuid.uuid4())
IMAGES = {
    "test/any": Image(),
    "test/greeting": Image(prefix=["sh", "-c", 'echo "$GREETING, $1"', "sh"], environment={"GREETING": "good morning"}),
}
WITHIN_S = 15.0
LEAVES_CHILDREN = """
import os, sys, time
for far in (False, True):
    if os.fork() == 0:
        if far:
            os.setsid()
            os.fork() and os._exit(0)
        time.sleep(600)
        os._exit(0)
"""
"""Leaves two processes behind, one of them in another session and without its parent."""


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "cluster"
    with_all = Processes(tmp_path / "cluster", images={})
    for place in (tmp_path / "cluster" / "places").iterdir():
        for left in [path for path in place.iterdir() if path.name.startswith("strange")]:
            left.rmdir()
        until(with_all, lambda place=place: with_all.remove_place((place / "owner").read_text(), place.name))
    with_all.close()


@pytest.fixture
def cluster(root: Path) -> Iterator[Processes]:
    made = Processes(root, images=IMAGES)
    yield made
    made.close()


def until(cluster: Cluster, condition: Callable[[], Any], each_s: float = 1.0) -> Any:
    end = time.monotonic() + WITHIN_S
    while not (found := condition()):
        assert time.monotonic() < end, cluster.observe(OWNER)
        cluster.wait(each_s)
    return found


def job(script: str = LIVES, **fields: Any) -> Spec:
    new = {"owner": OWNER, "place": str(uuid.uuid4()), "id": str(uuid.uuid4()), "attempt": 1, "kind": "job"}
    small = Resources(memory_bytes=64 * 2**20)
    return Spec(**{**new, "image": "test/any", "command": sh(script), "resources": small, "grace_s": 0.5, **fields})


def seen(cluster: Cluster, spec: Spec) -> Observed:
    return next(one for one in cluster.observe(OWNER) if one.id == spec.id)


def ended(cluster: Cluster, spec: Spec) -> Observed:
    return until(cluster, lambda: (one := seen(cluster, spec)).phase in ("succeeded", "failed") and one)


def log(cluster: Cluster, spec: Spec) -> bytes:
    return cluster.log(spec.attempt_id, after=0, most=2**20)


def up(cluster: Cluster, spec: Spec) -> None:
    until(cluster, lambda: log(cluster, spec), each_s=0.02)


def gone(cluster: Cluster, spec: Spec) -> None:
    until(cluster, lambda: cluster.stop(spec.attempt_id, grace_s=0.5))


def processes_of(uid: str) -> list[int]:
    """All that an attempt has, wherever they are."""
    mark = f"FEDYARD_ATTEMPT_UID={uid}".encode()
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (path / "environ").read_bytes().split(b"\0"):
                found.append(int(path.name))
        except OSError:
            continue
    return found


def shim_of(root: Path, spec: Spec) -> int:
    """Its number, which is among what it says."""
    folder = root / "places" / spec.place / f"{spec.id}-{spec.attempt}"
    first = msgspec.json.decode((folder / "state.json").read_bytes())["events"][0]
    return int(first.rpartition(" ")[2])


# ---------------------------------------------------------------- nothing is left


def test_what_a_job_leaves_behind_ends_with_it(cluster: Processes) -> None:
    spec = job(command=python(LEAVES_CHILDREN + "print('left')"))
    uid = cluster.ensure(spec).uid
    assert ended(cluster, spec).phase is Phase.SUCCEEDED
    assert processes_of(uid) == []
    assert log(cluster, spec) == b"left\n"


def test_stopping_ends_the_whole_tree(cluster: Processes) -> None:
    spec = job(command=python(LEAVES_CHILDREN + "print('up', flush=True); time.sleep(600)"))
    uid = cluster.ensure(spec).uid
    up(cluster, spec)
    until(cluster, lambda: len(processes_of(uid)) == 3, each_s=0.02)
    gone(cluster, spec)
    assert processes_of(uid) == []


def test_memory_of_children_counts(cluster: Processes) -> None:
    spec = job("python3 -c \"import time; eaten = bytearray(b'x' * 100_000_000); time.sleep(600)\"; exit 3")
    cluster.ensure(spec)
    done = ended(cluster, spec)
    assert (done.reason, done.exit_code) == (Reason.OUT_OF_MEMORY, 137)


@pytest.mark.parametrize("found", [proc.by_children, lambda folder, pid: proc.by_parents(folder, pid, b"")[0]])
def test_descendants_are_found_by_what_the_kernel_tells(tmp_path: Path, found: Callable[[str, int], set[int]]) -> None:
    """Four in two generations, one a child of a second thread; what has ended, and others, not among them."""
    parents = {10: 1, 11: 10, 12: 10, 13: 11, 14: 12, 15: 10, 16: 1, 17: 16}
    for pid, parent in parents.items():
        for thread in (pid, pid + 100):
            (tmp_path / f"{pid}" / "task" / f"{thread}").mkdir(parents=True)
            young = [one for one, of in parents.items() if of == pid and (one == 12) == (thread != pid)]
            (tmp_path / f"{pid}" / "task" / f"{thread}" / "children").write_text("".join(f"{one} " for one in young))
        state = "Z" if pid == 15 else "S"
        (tmp_path / f"{pid}" / "stat").write_text(f"{pid} (odd) name) {state} {parent} 1 1 0")
    assert found(str(tmp_path), 10) == {11, 12, 13, 14}
    assert found(str(tmp_path), 99) == set()


# ---------------------------------------------------------------- somebody is killed

USER = """
import os, signal, sys
from pathlib import Path
import msgspec
from fedyard.cluster import processes
from fedyard.cluster.local import proc
from fedyard.cluster.local.balancer import Balancer
from fedyard.cluster.local.spawner import Spawner
from fedyard.cluster.port import Spec
from fedyard.cluster.local.launching import Image
from fedyard.cluster.processes import Processes
cluster = Processes(Path(sys.argv[1]), images={"test/any": Image()})
cluster.ensure(msgspec.json.decode(sys.argv[2], type=Spec))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_user_that_is_killed_leaves_what_another_adopts(root: Path, cluster: Processes) -> None:
    spec = job("echo up; sleep 1; echo more; exit 3")
    user = subprocess.run([sys.executable, "-c", USER, str(root), msgspec.json.encode(spec)], check=False)
    assert user.returncode == -signal.SIGKILL
    up(cluster, spec)
    was = seen(cluster, spec)
    assert was.phase is Phase.RUNNING
    assert cluster.ensure(spec).uid == was.uid
    done = ended(cluster, spec)
    assert (done.uid, done.exit_code, log(cluster, spec)) == (was.uid, 3, b"up\nmore\n")


class Killed(BaseException):
    """In the place of a kill -9."""


class DiesBeforeTheStart(Processes):
    """A user that is gone when the folder is made, and the shim is not."""

    def _spawn(self, folder: Path, alive: int) -> None:
        os.close(alive)
        raise Killed


def test_what_was_never_started_is_started_once(root: Path, cluster: Processes) -> None:
    spec = job("echo ran")
    with pytest.raises(Killed):
        DiesBeforeTheStart(root, images=IMAGES).ensure(spec)
    assert seen(cluster, spec).reason is Reason.VANISHED
    cluster.ensure(spec)
    cluster.ensure(spec)
    assert ended(cluster, spec).phase is Phase.SUCCEEDED
    assert log(cluster, spec) == b"ran\n"


def test_what_was_never_started_can_be_removed(root: Path, cluster: Processes) -> None:
    spec = job("echo ran")
    with pytest.raises(Killed):
        DiesBeforeTheStart(root, images=IMAGES).ensure(spec)
    assert cluster.stop(spec.attempt_id, grace_s=1)
    assert cluster.observe(OWNER) == []


def test_a_killed_spawner_is_replaced(cluster: Processes) -> None:
    first, second = job(), job("echo ran")
    cluster.ensure(first)
    assert cluster._spawner is not None
    os.kill(cluster._spawner.pid, signal.SIGKILL)
    cluster.ensure(second)
    assert ended(cluster, second).phase is Phase.SUCCEEDED
    up(cluster, first)
    assert seen(cluster, first).phase is Phase.RUNNING


class NeverAnswers(Spawner):
    """It forks a shim, and is killed before it can say so."""

    def spawn(self, folder: Path, alive: int) -> bool:
        super().spawn(folder, alive)
        return False


def test_a_spawner_that_forked_and_did_not_say_so_starts_nothing_twice(cluster: Processes) -> None:
    cluster._spawner = NeverAnswers()
    spec = job("echo ran; " + LIVES)
    cluster.ensure(spec)
    assert cluster._spawner is None
    up(cluster, spec)
    assert log(cluster, spec).count(b"ran") == 1
    uid = seen(cluster, spec).uid
    until(cluster, lambda: [comm(pid) for pid in processes_of(uid)].count("sleep"), each_s=0.02)
    assert sorted(comm(pid) for pid in processes_of(uid)) == ["sh", "sleep"]


def comm(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


def test_a_killed_shim_is_seen_and_what_it_leaves_is_found(root: Path, cluster: Processes) -> None:
    spec = job(command=python(LEAVES_CHILDREN + "print('up', flush=True); time.sleep(600)"))
    uid = cluster.ensure(spec).uid
    up(cluster, spec)
    os.kill(shim_of(root, spec), signal.SIGKILL)
    done = until(cluster, lambda: (one := seen(cluster, spec)).phase is Phase.FAILED and one, each_s=0.02)
    assert done.reason is Reason.VANISHED
    assert done.uid == uid
    assert cluster.ensure(spec).reason is Reason.VANISHED, "it is not run again"
    evidence = cluster.evidence(spec.attempt_id, log_bytes=100)
    assert evidence.log == b"up\n"
    assert evidence.events[-1] == done.detail
    assert processes_of(uid) != []
    until(cluster, lambda: cluster.stop(spec.attempt_id, grace_s=0.5), each_s=0.02)
    assert processes_of(uid) == []
    assert cluster.observe(OWNER) == []


def test_a_machine_that_goes_down_is_no_fault_of_the_workload(root: Path, cluster: Processes) -> None:
    spec = job()
    cluster.ensure(spec)
    up(cluster, spec)
    os.kill(shim_of(root, spec), signal.SIGTERM)
    assert ended(cluster, spec).reason is Reason.EVICTED


def test_what_was_left_half_made_or_half_removed_is_swept(root: Path, cluster: Processes) -> None:
    for name in ("new", "gone"):
        (root / name / "left" / "work").mkdir(parents=True)
        (root / name / "left" / "work" / "file").write_text("left")
    Processes(root, images={}).close()
    assert [list((root / name).iterdir()) for name in ("new", "gone")] == [[], []]


# ---------------------------------------------------------------- logs


def test_what_runs_in_a_folder_that_was_removed_by_hand_ends(tmp_path: Path) -> None:
    """Nobody could stop it any more, nor ask how it ended."""
    cluster = Processes(tmp_path / "cluster", images=IMAGES)
    spec = job("echo $PPID $$; " + LIVES)
    cluster.ensure(spec)
    up(cluster, spec)
    both = log(cluster, spec).decode().split()[:2]
    cluster.close()
    shutil.rmtree(tmp_path / "cluster")
    end = time.monotonic() + WITHIN_S
    while any(Path("/proc", pid).exists() for pid in both):
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_log_has_an_end_and_its_tail_is_kept(root: Path) -> None:
    cluster = Processes(root, images=IMAGES, log_bytes=10_000)
    spec = job(command=python("for n in range(50_000): print('line', n)"))
    cluster.ensure(spec)
    assert ended(cluster, spec).phase is Phase.SUCCEEDED
    whole = b"".join(b"line %d\n" % n for n in range(50_000))
    assert log(cluster, spec) == whole[:10_000]
    evidence = cluster.evidence(spec.attempt_id, log_bytes=100_000)
    assert evidence.log == whole[-100_000:]
    assert any("as long as it may be" in event for event in evidence.events)
    cluster.close()


def test_replicas_do_not_tear_each_others_lines(cluster: Processes) -> None:
    text = "x" * 100
    lines = f"for n in range(200): print('{text}', flush=True)"
    many = f"import time\n{lines}\nprint('done', flush=True); time.sleep(600)"
    spec = job(kind="service", command=python(many), replicas=2)
    cluster.ensure(spec)
    until(cluster, lambda: log(cluster, spec).count(b"done\n") == 2, each_s=0.02)
    assert set(log(cluster, spec).splitlines()) == {text.encode(), b"done"}


def test_a_full_disk_keeps_nothing_from_ending(tmp_path: Path) -> None:
    with small_disk(tmp_path / "small") as disk:
        cluster = Processes(disk.place / "cluster", images=IMAGES)
        first = job("echo up; " + DEAF)
        done = job("echo up; trap 'echo end; exit 3' TERM; sleep 600 & wait")
        for one in (first, done):
            cluster.ensure(one)
            up(cluster, one)
        disk.fill(0)
        with pytest.raises(Unavailable):
            cluster.ensure(job("exit 0"))
        [child] = [pid for pid in processes_of(seen(cluster, done).uid) if comm(pid) == "sh"]
        os.kill(child, signal.SIGTERM)
        assert ended(cluster, done).exit_code == 3
        gone(cluster, first)
        gone(cluster, done)
        assert cluster.observe(OWNER) == []
        until(cluster, lambda: cluster.remove_place(OWNER, first.place) and cluster.remove_place(OWNER, done.place))
        cluster.close()


# ---------------------------------------------------------------- services


def test_a_replica_that_keeps_dying_is_started_ever_more_seldom(cluster: Processes) -> None:
    spec = job("echo again; exit 5", kind="service", port=80)
    cluster.ensure(spec)
    until(cluster, lambda: log(cluster, spec).count(b"again") == 3, each_s=0.05)
    now = seen(cluster, spec)
    assert (now.phase, now.reason, now.ready) == (Phase.STARTING, Reason.NOT_READY, 0)
    assert "exit code 5" in now.detail
    events = cluster.evidence(spec.attempt_id, log_bytes=0).events
    pauses = [event.rpartition(" starts again in ")[2] for event in events if "starts again" in event]
    assert pauses[:2] == ["0.1 s", "0.2 s"]


def test_what_a_replica_leaves_behind_ends_before_it_starts_again(cluster: Processes) -> None:
    leaves = LEAVES_CHILDREN + "print('left', flush=True)\nif os.fork(): os._exit(5)\nos.setsid(); time.sleep(600)"
    spec = job(kind="service", command=python(leaves))
    uid = cluster.ensure(spec).uid
    until(cluster, lambda: log(cluster, spec).count(b"left") == 3, each_s=0.02)
    until(cluster, lambda: seen(cluster, spec).reason is Reason.NOT_READY, each_s=0.02)
    until(cluster, lambda: len(processes_of(uid)) == 0, each_s=0.02)


class Odd(Processes):
    """It asks for what no shim can understand."""

    def _launch(self, *_: Any) -> dict[str, object]:
        return {"kind": "job"}


def test_a_shim_that_fails_says_why(root: Path) -> None:
    cluster = Odd(root, images=IMAGES)
    spec = job()
    cluster.ensure(spec)
    done = ended(cluster, spec)
    assert done.reason is Reason.VANISHED
    assert cluster.evidence(spec.attempt_id, log_bytes=10).events[-1] == "its shim has failed: KeyError: 'memory_bytes'"
    gone(cluster, spec)
    cluster.close()


def test_a_service_whose_command_is_not_there_has_failed(cluster: Processes) -> None:
    spec = job(kind="service", command=["/no/such/program"], port=80)
    cluster.ensure(spec)
    done = ended(cluster, spec)
    assert (done.reason, done.exit_code) == (Reason.COMMAND_NOT_FOUND, 127)


NAMED = """
import os, socket, threading
def serve(connection):
    with connection:
        came = bytearray()
        while piece := connection.recv(65536):
            came += piece
        connection.sendall(b"%d " % os.getpid() + came)
server = socket.create_server(("127.0.0.1", int(os.environ["PORT"])))
print("listening", flush=True)
while True:
    threading.Thread(target=serve, args=[server.accept()[0]]).start()
"""
"""Answers with its number and all that came, once the other side has sent its end."""


def answer(address: str, asked: bytes) -> tuple[int, bytes]:
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=WITHIN_S) as connection:
        sender = threading.Thread(target=lambda: (connection.sendall(asked), connection.shutdown(socket.SHUT_WR)))
        sender.start()
        came = b"".join(iter(lambda: connection.recv(65_536), b""))
        sender.join()
    who, _, said = came.partition(b" ")
    return int(who), said


def test_its_address_goes_to_each_replica_in_turn_and_stays_when_all_were_killed(cluster: Processes) -> None:
    spec = job(kind="service", command=python(NAMED), port=80, replicas=2)
    uid = cluster.ensure(spec).uid
    first = until(cluster, lambda: (one := seen(cluster, spec)).ready == 2 and one)
    address = first.addresses["inside"]
    replicas = set(processes_of(uid))
    assert {answer(address, b"this")[0] for _ in range(2)} == replicas
    for pid in replicas:
        os.kill(pid, signal.SIGKILL)
    until(cluster, lambda: log(cluster, spec).count(b"listening") == 4, each_s=0.02)
    until(cluster, lambda: (one := seen(cluster, spec)).ready == 2 and one.addresses == {"inside": address})
    assert {answer(address, b"this")[0] for _ in range(2)} == set(processes_of(uid)) != replicas


def test_what_is_large_and_slow_comes_through_whole_and_does_not_hold_up_others(cluster: Processes) -> None:
    spec = job(kind="service", command=python(NAMED), port=80, resources=Resources())
    cluster.ensure(spec)
    address = until(cluster, lambda: (one := seen(cluster, spec)).ready and one).addresses["inside"]
    host, _, port = address.rpartition(":")
    asked = bytes(range(256)) * 20_000
    with socket.create_connection((host, int(port))) as left, socket.create_connection((host, int(port))) as slow:
        left.close()  # without a word
        assert answer(address, asked)[1] == asked
        slow.sendall(b"begun")
    assert answer(address, b"")[1] == b""


def test_a_replica_that_cannot_be_reached_is_passed_over() -> None:
    """It has died, and nobody has noticed yet."""
    poll = select.poll()
    balancer = Balancer(poll)
    with socket.create_server(("127.0.0.1", 0)) as lives, socket.socket() as dead:
        dead.bind(("127.0.0.1", 0))
        balancer.targets = [dead.getsockname()[1], lives.getsockname()[1]]
        host, _, port = balancer.address.rpartition(":")
        for _ in range(2):
            with socket.create_connection((host, int(port))) as client:
                client.sendall(b"asked")
                lives.settimeout(0)
                taken = handled(poll, balancer, lives.accept)
                taken[0].settimeout(0)
                assert handled(poll, balancer, lambda taken=taken: taken[0].recv(9)) == b"asked"
                taken[0].close()
                client.settimeout(0)
                assert handled(poll, balancer, lambda client=client: client.recv(1)) == b""
        handled(poll, balancer, lambda: not balancer._sides or raise_again())
        balancer.targets = [dead.getsockname()[1]]
        with socket.create_connection((host, int(port))) as client:
            client.settimeout(0)
            assert handled(poll, balancer, lambda: client.recv(1)) == b""


def handled(poll: select.poll, balancer: Balancer, done: Callable[[], Any]) -> Any:
    """Let the balancer work until that is there."""
    end = time.monotonic() + WITHIN_S
    while True:
        with suppress(BlockingIOError):
            return done()
        assert time.monotonic() < end
        for descriptor, events in poll.poll(100):
            balancer.handle(descriptor, events)


def raise_again() -> None:
    raise BlockingIOError


def test_an_address_without_a_replica_ends_connections(cluster: Processes) -> None:
    spec = job(kind="service", command=python(NAMED), port=80, replicas=0)
    cluster.ensure(spec)
    address = until(cluster, lambda: seen(cluster, spec).addresses, each_s=0.02)["inside"]
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=WITHIN_S) as connection:
        assert connection.recv(1) == b""


# ---------------------------------------------------------------- what is kept from whom


def test_a_secret_lies_nowhere_when_it_has_been_handed_over(root: Path, cluster: Processes) -> None:
    secret = f"s3cr3t-{uuid.uuid4()}"
    spec = job(secrets={"TOKEN": secret}, command=sh('test -n "$TOKEN" && ' + LIVES))
    uid = cluster.ensure(spec).uid
    up(cluster, spec)
    files = [path for path in root.rglob("*") if path.is_file()]
    assert files
    assert [path for path in files if secret.encode() in path.read_bytes()] == []
    assert [path for path in root.rglob("*") if path.lstat().st_mode & 0o077] == []
    assert root.stat().st_mode & 0o077 == 0
    lines = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in processes_of(uid)]
    assert lines
    assert [line for line in lines if secret.encode() in line] == []


def test_the_environment_of_who_starts_it_stays_there(cluster: Processes) -> None:
    os.environ["FEDYARD_TEST_OF_LEAKS"] = "leaked"
    try:
        spec = job("env; ls /proc/self/fd | wc -l", environment={"MINE": "here"})
        cluster.ensure(spec)
        ended(cluster, spec)
    finally:
        del os.environ["FEDYARD_TEST_OF_LEAKS"]
    *lines, descriptors = log(cluster, spec).decode().splitlines()
    names = {line.partition("=")[0] for line in lines}
    assert names <= {"PATH", "LANG", "HOME", "TMPDIR", "MINE", "FEDYARD_ATTEMPT_UID", "PWD", "OLDPWD", "SHLVL", "_"}
    assert "MINE=here" in lines
    assert int(descriptors) <= 4, "the three, and that of ls"


def test_an_image_is_a_prefix_and_an_environment(cluster: Processes) -> None:
    spec = job(image="test/greeting", command=[], arguments=["Oslo"])
    other = job(image="test/greeting", command=["Bergen"], environment={"GREETING": "good night"})
    for one in (spec, other):
        cluster.ensure(one)
        ended(cluster, one)
    assert (log(cluster, spec), log(cluster, other)) == (b"good morning, Oslo\n", b"good night, Bergen\n")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"image": "test/unknown"}, Reason.IMAGE_UNUSABLE),
        ({"image": "test/any", "command": []}, Reason.CONFIG_INVALID),
        ({"place": "../../escape"}, Reason.CONFIG_INVALID),
        ({"id": "../escape"}, Reason.CONFIG_INVALID),
        ({"attempt": 0}, Reason.CONFIG_INVALID),
        ({"command": ["true", "nul\0"]}, Reason.CONFIG_INVALID),
        ({"environment": {"A=B": ""}}, Reason.CONFIG_INVALID),
        ({"environment": {"A\n": ""}}, Reason.CONFIG_INVALID),
        ({"secrets": {"A": "\ud800"}}, Reason.CONFIG_INVALID),
        ({"resources": Resources(gpus={"nvidia.com/gpu": 1})}, Reason.UNSCHEDULABLE),
        ({"resources": Resources(gpus={"cpu": 64})}, Reason.CONFIG_INVALID),
        ({"kind": "service", "port": 80, "stable": True, "name": "../../../x"}, Reason.CONFIG_INVALID),
        (
            {"volume": Volume("ROOT", parts=[Part()], made=[Made(f".{REPLICA}./.{REPLICA}./x", file=True)])},
            Reason.CONFIG_INVALID,
        ),
    ],
)
def test_what_cannot_run_here_is_refused_and_leaves_nothing(
    cluster: Processes, root: Path, fields: dict[str, Any], reason: Reason
) -> None:
    with pytest.raises(Refused) as refused:
        cluster.ensure(job(**fields))
    assert refused.value.reason is reason
    assert sorted(path.name for path in root.iterdir()) == ["changes", "gone", "lock", "new", "places", "volumes"]
    assert [path for name in ("gone", "new", "places", "volumes") for path in (root / name).iterdir()] == []


def test_a_folder_that_is_away_is_a_cluster_that_is_away(cluster: Processes, root: Path) -> None:
    """Its file system is not mounted: that is not that nothing runs, and not our bug."""
    spec = job()
    cluster.ensure(spec)
    up(cluster, spec)
    away = root.rename(root.with_name("away"))
    for call in (
        lambda: cluster.ensure(spec),
        lambda: cluster.observe(spec.owner),
        lambda: cluster.stop(spec.attempt_id, grace_s=0),
        lambda: cluster.remove_place(spec.owner, spec.place),
        lambda: cluster.wait(0.1),
    ):
        with pytest.raises(Unavailable, match=f"the folder {root} of workloads cannot be used: No such file"):
            call()
    assert cluster.missing() == [f"read and write in {root}"]
    away.rename(root)
    assert seen(cluster, spec).phase is Phase.RUNNING


def test_more_than_may_live_wait(root: Path) -> None:
    cluster = Processes(root, images=IMAGES, max_live=1)
    first, second = job(), job("exit 0")
    cluster.ensure(first)
    with pytest.raises(Unavailable) as unavailable:
        cluster.ensure(second)
    assert unavailable.value.after_s
    gone(cluster, first)
    cluster.ensure(second)
    assert ended(cluster, second).phase is Phase.SUCCEEDED
    cluster.close()


def test_folders_of_others_are_left_alone(root: Path, cluster: Processes) -> None:
    spec = job("exit 0")
    cluster.ensure(spec)
    ended(cluster, spec)
    place = root / "places" / spec.place
    other = job("exit 0", place=spec.place)
    strange = place / f"strange-{other.id}"
    strange.mkdir()
    theirs = place / f"{other.id}-1"
    theirs.mkdir()
    with pytest.raises(Refused):
        cluster.ensure(other)
    with pytest.raises(Refused, match="remove it"):
        cluster.remove_place(OWNER, spec.place)
    assert strange.is_dir()
    assert theirs.is_dir()
    theirs.rmdir()
    assert cluster.observe(OWNER) == [], "what was ours is gone"


def test_a_place_without_an_owner_is_not_ours(root: Path, cluster: Processes) -> None:
    spec = job("exit 0")
    place = root / "places" / spec.place
    place.mkdir()
    with pytest.raises(Refused):
        cluster.ensure(spec)
    assert cluster.remove_place(OWNER, spec.place)
    assert list(place.iterdir()) == []
    place.rmdir()


def test_what_a_workload_made_of_its_folder_is_removed_and_nothing_that_it_links_to(
    cluster: Processes, root: Path, tmp_path: Path
) -> None:
    """A link to a folder must neither be followed when it is removed, nor when the mode of folders is mended."""
    others = tmp_path / "others"
    (others / "below").mkdir(parents=True)
    for folder in (others, others / "below"):
        folder.chmod(0o751)
    (others / "file").write_text("theirs")
    spec = job('mkdir -p a/b && touch a/b/c && ln -s "$1" link && ln -s "$1" a/b/link && chmod 000 a/b a "$HOME"')
    spec = msgspec.structs.replace(spec, arguments=["sh", str(others)])
    cluster.ensure(spec)
    assert ended(cluster, spec).phase is Phase.SUCCEEDED
    gone(cluster, spec)
    assert list((root / "gone").iterdir()) == []
    assert (others / "file").read_text() == "theirs"
    assert [folder.stat().st_mode & 0o777 for folder in (others, others / "below")] == [0o751, 0o751]


@pytest.mark.parametrize("leads_somewhere", [False, True])
def test_folders_are_opened_up_and_links_are_not_followed(tmp_path: Path, leads_somewhere: bool) -> None:
    """What root could remove as it is, others have to open first: so it is done here whoever runs the tests."""
    others = tmp_path / "others"
    others.mkdir()
    others.chmod(0o751)
    folder = tmp_path / "folder"
    (folder / "a" / "b").mkdir(parents=True)
    for link in (folder / "link", folder / "a" / "link", folder / "a" / "b" / "link"):
        link.symlink_to(others if leads_somewhere else "nowhere")
    for closed in (folder / "a" / "b", folder / "a"):
        closed.chmod(0)
    open_up(folder)
    assert [(folder / name).stat().st_mode & 0o777 for name in ("a", "a/b")] == [0o700, 0o700]
    assert others.stat().st_mode & 0o777 == 0o751


def test_what_others_replaced_is_seen_though_its_file_has_the_same_number(root: Path, cluster: Processes) -> None:
    """File systems give numbers of files anew."""
    spec = job("exit 0")
    made = cluster.ensure(spec)
    ended(cluster, spec)
    file = root / "places" / spec.place / f"{spec.id}-{spec.attempt}" / "record.json"
    long_ago = time.time_ns() - 10 * 10**9
    os.utime(file, ns=(long_ago, long_ago))
    assert seen(cluster, spec).uid == made.uid
    number = file.stat().st_ino
    other = str(uuid.uuid4())
    file.write_bytes(file.read_bytes().replace(made.uid.encode(), other.encode()))
    assert file.stat().st_ino == number
    assert seen(cluster, spec).uid == other


def test_who_waits_hears_of_what_another_did(root: Path, cluster: Processes) -> None:
    spec = job("exit 0")
    cluster.ensure(spec)
    ended(cluster, spec)
    cluster.wait(0)
    other = Processes(root, images=IMAGES)
    assert other.stop(spec.attempt_id, grace_s=0)
    start = time.monotonic()
    cluster.wait(WITHIN_S)
    assert time.monotonic() - start < WITHIN_S / 2
    other.close()
