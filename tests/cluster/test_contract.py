"""What fedyard/cluster/port.py promises, sentence by sentence, on every world."""

from __future__ import annotations

import socket
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import msgspec
import pytest

from fedyard.cluster.port import AttemptId, Cluster, Evidence, Observed, Phase, Reason, Refused, Resources, Spec
from tests.cluster.programs import DEAF, HUNGRY, LIVES, SERVICE, python, sh
from tests.cluster.worlds import World, needs

ENDED = (Phase.SUCCEEDED, Phase.FAILED)
SMALL = Resources(cpu_millis=50, memory_bytes=96 * 2**20)


class Yard:
    """An owner with a place of his own, and what he makes there."""

    def __init__(self, world: World, cluster: Cluster) -> None:
        self.world = world
        self.cluster = cluster
        self.owner = str(uuid.uuid4())
        self.place = str(uuid.uuid4())
        self.places = [(self.owner, self.place)]

    def job(self, script: str = LIVES, **fields: Any) -> Spec:
        """An attempt at something new; not made yet."""
        return Spec(
            **{
                "owner": self.owner,
                "place": self.place,
                "id": str(uuid.uuid4()),
                "attempt": 1,
                "kind": "job",
                "image": self.world.image,
                "command": sh(script),
                "resources": SMALL,
                "grace_s": 1.0,
                **fields,
            }
        )

    def service(self, **fields: Any) -> Spec:
        return self.job(**{"kind": "service", "command": python(SERVICE), "port": 8080, **fields})

    def elsewhere(self, *, owner: str | None = None) -> tuple[str, str]:
        """Another place, of that owner or of this one."""
        self.places.append((owner or self.owner, str(uuid.uuid4())))
        return self.places[-1]

    def refused(self, spec: Spec) -> Reason | None:
        """Make it; why that was refused, if it was."""
        try:
            self.cluster.ensure(spec)
        except Refused as error:
            return error.reason
        return None

    def seen(self, spec: Spec) -> Observed | None:
        found = [o for o in self.cluster.observe(spec.owner) if (o.id, o.attempt) == (spec.id, spec.attempt)]
        assert len(found) <= 1
        assert all(one.place == spec.place for one in found)
        return found[0] if found else None

    def until(self, spec: Spec, condition: Callable[[Observed], bool]) -> Observed:
        """As it is seen once the condition holds."""
        return self.waited(lambda: (one := self.seen(spec)) is not None and condition(one) and one)

    def waited(self, condition: Callable[[], Any], each_s: float = 5.0) -> Any:
        """What the condition gives once that is something; meanwhile the cluster's own `wait`."""
        end = time.monotonic() + self.world.patience_s
        while not (found := condition()):
            assert time.monotonic() < end, [self.cluster.observe(owner) for owner, _ in self.places]
            self.cluster.wait(min(each_s, self.world.patience_s))
        return found

    def ended(self, spec: Spec) -> Observed:
        return self.until(spec, lambda one: one.phase in ENDED)

    def running(self, spec: Spec) -> Observed:
        return self.until(spec, lambda one: one.phase is Phase.RUNNING)

    def up(self, spec: Spec) -> Observed:
        """Running, and its program has come so far that it hears signals."""
        self.waited(lambda: self.log(spec), each_s=0.02)
        return self.running(spec)

    def replaced(self, spec: Spec, old_uid: str) -> Observed:
        """As often as it takes."""

        def made() -> Observed | None:
            one = self.cluster.ensure(spec)
            return one if one.uid != old_uid and not one.stopping else None

        return self.waited(made)

    def stopped(self, spec: Spec, *, grace_s: float) -> None:
        self.waited(lambda: self.cluster.stop(spec.attempt_id, grace_s=grace_s))

    def log(self, spec: Spec, *, after: int = 0, most: int = 2**20) -> bytes:
        return self.cluster.log(spec.attempt_id, after=after, most=most)


@pytest.fixture
def yard(world: World, shared_cluster: Cluster) -> Iterator[Yard]:
    made = Yard(world, shared_cluster)
    yield made
    for owner, place in made.places:
        made.cluster.remove_place(owner, place)


# ---------------------------------------------------------------- making


def test_nothing_is_missing(yard: Yard) -> None:
    assert yard.cluster.missing() == []


def test_what_was_asked_for_is_there_and_has_its_ids(yard: Yard) -> None:
    spec = yard.job("exit 0")
    made = yard.cluster.ensure(spec)
    assert (made.id, made.attempt, made.place) == (spec.id, 1, spec.place)
    assert made.uid
    assert yard.ended(spec).uid == made.uid


def test_a_job_goes_through_its_phases_and_has_its_times(yard: Yard) -> None:
    before = time.time()
    spec = yard.job(f"sleep {yard.world.moment_s}")
    made = yard.cluster.ensure(spec)
    assert made.phase in (Phase.STARTING, Phase.RUNNING)
    assert made.ended_s is None
    yard.running(spec)
    done = yard.ended(spec)
    assert (done.phase, done.reason, done.exit_code, done.stopping) == (Phase.SUCCEEDED, Reason.NONE, 0, False)
    assert done.started_s is not None
    assert done.ended_s is not None
    a_second_off = 1.5  # a cluster's clock is its own, and may tell whole seconds only
    assert before - a_second_off <= done.created_s <= done.started_s + a_second_off
    assert done.started_s <= done.ended_s <= time.time() + a_second_off


def test_the_same_spec_again_changes_nothing(yard: Yard) -> None:
    spec = yard.job("echo ran")
    made = yard.cluster.ensure(spec)
    assert yard.cluster.ensure(spec).uid == made.uid
    yard.ended(spec)
    again = yard.cluster.ensure(spec)
    assert (again.uid, again.phase) == (made.uid, Phase.SUCCEEDED)
    assert yard.log(spec) == b"ran\n"


def test_many_callers_at_once_make_one(world: World, yard: Yard) -> None:
    spec = yard.job("echo ran")
    clients = [yard.cluster, world.client(), world.client()]
    with ThreadPoolExecutor(6) as pool:
        made = list(pool.map(lambda number: clients[number % 3].ensure(spec), range(6)))
    assert len({one.uid for one in made}) == 1
    yard.ended(spec)
    assert yard.log(spec) == b"ran\n"
    assert len(yard.cluster.observe(yard.owner)) == 1


def test_another_content_takes_the_place_of_the_first(yard: Yard) -> None:
    spec = yard.job()
    first = yard.cluster.ensure(spec)
    yard.up(spec)
    other = msgspec.structs.replace(spec, command=sh('echo "$WHICH"'), environment={"WHICH": "second"})
    second = yard.replaced(other, first.uid)
    assert second.uid != first.uid
    assert yard.ended(other).uid == second.uid
    assert yard.log(other) == b"second\n"


def test_what_has_ended_is_replaced_by_another_content_as_well(yard: Yard) -> None:
    spec = yard.job("exit 3")
    first = yard.cluster.ensure(spec)
    yard.ended(spec)
    other = msgspec.structs.replace(spec, command=sh("exit 0"))
    yard.replaced(other, first.uid)
    assert yard.ended(other).phase is Phase.SUCCEEDED


def test_attempts_stand_beside_each_other(yard: Yard) -> None:
    first = yard.job("echo first; exit 3", name="train")
    second = msgspec.structs.replace(first, attempt=2, command=sh("echo second"))
    made = [yard.cluster.ensure(one) for one in (first, second)]
    assert made[0].uid != made[1].uid
    assert [yard.ended(one).phase for one in (first, second)] == [Phase.FAILED, Phase.SUCCEEDED]
    assert [yard.log(one) for one in (first, second)] == [b"first\n", b"second\n"]
    yard.stopped(first, grace_s=0)
    assert [one.attempt for one in yard.cluster.observe(yard.owner)] == [2]


def test_a_client_that_comes_later_sees_all_of_it(world: World, yard: Yard) -> None:
    done, live = yard.job("echo done"), yard.job()
    for one in (done, live):
        yard.cluster.ensure(one)
    yard.ended(done)
    was = yard.up(live)
    before = world.client()
    before.close()
    later = world.client()
    seen = {one.id: one for one in later.observe(yard.owner)}
    assert {id: one.phase for id, one in seen.items()} == {done.id: Phase.SUCCEEDED, live.id: Phase.RUNNING}
    assert later.ensure(live).uid == seen[live.id].uid == was.uid
    assert later.log(done.attempt_id, after=0, most=100) == b"done\n"
    yard.waited(lambda: later.stop(live.attempt_id, grace_s=5))
    assert [one.id for one in yard.cluster.observe(yard.owner)] == [done.id]


def test_what_is_called_exactly_so_is_one_at_a_time_and_comes_when_the_earlier_one_has_gone(yard: Yard) -> None:
    first = yard.job(name="model-training-7", exact=True, labels={"team": "oslo"})
    yard.cluster.ensure(first)
    yard.up(first)
    other = yard.job("exit 0", name="model-training-7", exact=True)
    again = msgspec.structs.replace(first, attempt=2)
    assert [yard.refused(one) for one in (other, again)] == [Reason.NOT_READY] * 2
    assert [one.id for one in yard.cluster.observe(yard.owner)] == [first.id]
    _, place = yard.elsewhere()
    elsewhere = yard.job("exit 0", name="model-training-7", exact=True, place=place)
    yard.cluster.ensure(elsewhere)
    yard.ended(elsewhere)
    yard.stopped(first, grace_s=5)
    yard.waited(lambda: yard.refused(other) is None)
    assert yard.ended(other).phase is Phase.SUCCEEDED


@pytest.mark.parametrize(
    "fields",
    [{"name": "No Label", "exact": True}, {"labels": {"fedyard/owner": "me"}}, {"labels": {"k8s.io/a": "b"}}],
)
def test_names_and_labels_that_cannot_be_are_refused(yard: Yard, fields: dict[str, Any]) -> None:
    spec = yard.job("exit 0", **fields)
    assert yard.refused(spec) is Reason.CONFIG_INVALID
    assert yard.seen(spec) is None


# ---------------------------------------------------------------- whose it is


def test_an_owner_sees_his_own_alone(yard: Yard) -> None:
    _, other_place = yard.elsewhere(owner=(other := str(uuid.uuid4())))
    mine, other_ones = yard.job("exit 0"), yard.job("exit 0", owner=other, place=other_place)
    for one in (mine, other_ones):
        yard.cluster.ensure(one)
    assert [one.id for one in yard.cluster.observe(yard.owner)] == [mine.id]
    assert [one.id for one in yard.cluster.observe(other)] == [other_ones.id]
    assert yard.cluster.observe(str(uuid.uuid4())) == []


def test_a_stranger_touches_nothing(yard: Yard) -> None:
    spec = yard.job()
    made = yard.cluster.ensure(spec)
    yard.up(spec)
    stranger = str(uuid.uuid4())
    theirs = AttemptId(stranger, spec.place, spec.id, spec.attempt)
    with pytest.raises(Refused):
        yard.cluster.ensure(msgspec.structs.replace(spec, owner=stranger, command=sh("exit 0")))
    assert yard.cluster.observe(stranger) == []
    assert yard.cluster.log(theirs, after=0, most=100) == b""
    assert yard.cluster.evidence(theirs, log_bytes=100) == Evidence()
    yard.cluster.scale(theirs, 0)
    assert yard.cluster.stop(theirs, grace_s=0)
    with suppress(Refused):
        yard.cluster.remove_place(stranger, spec.place)
    now = yard.seen(spec)
    assert now is not None
    assert (now.uid, now.phase, now.stopping) == (made.uid, Phase.RUNNING, False)


def test_a_stranger_makes_nothing_in_a_place_that_is_taken(yard: Yard) -> None:
    yard.cluster.ensure(yard.job("exit 0"))
    stranger = str(uuid.uuid4())
    with pytest.raises(Refused):
        yard.cluster.ensure(yard.job("exit 0", owner=stranger))
    assert yard.cluster.observe(stranger) == []


@needs("files")
def test_places_do_not_see_each_other(yard: Yard) -> None:
    _, place = yard.elsewhere()
    here = yard.job("echo mine > mark; test -e mark")
    there = yard.job("ls; test ! -e mark", place=place)
    yard.cluster.ensure(here)
    assert yard.ended(here).phase is Phase.SUCCEEDED
    yard.cluster.ensure(there)
    assert yard.ended(there).phase is Phase.SUCCEEDED
    assert yard.log(there) == b""


# ---------------------------------------------------------------- how it ends


@pytest.mark.parametrize(
    ("script", "code", "reason"),
    [
        ("exit 1", 1, Reason.EXIT_CODE),
        ("exit 77", 77, Reason.EXIT_CODE),
        ("exit 255", 255, Reason.EXIT_CODE),
        ("sh -c 'kill -KILL $$'; exit $?", 137, Reason.SIGNALLED),
        ("no-such-program", 127, Reason.EXIT_CODE),
    ],
)
def test_the_exit_code_is_told(yard: Yard, script: str, code: int, reason: Reason) -> None:
    spec = yard.job(script)
    yard.cluster.ensure(spec)
    done = yard.ended(spec)
    assert (done.phase, done.exit_code, done.reason) == (Phase.FAILED, code, reason)
    assert done.detail


def test_a_command_that_is_not_there(yard: Yard) -> None:
    spec = yard.job(command=["/no/such/program"])
    yard.cluster.ensure(spec)
    done = yard.ended(spec)
    assert (done.phase, done.reason) == (Phase.FAILED, Reason.COMMAND_NOT_FOUND)
    assert "/no/such/program" in done.detail


def test_an_image_that_is_none(yard: Yard) -> None:
    """It is refused at once, or seen to be unusable; other images are not disturbed."""
    spec = yard.job(image="Not An Image")
    refused = yard.refused(spec)
    if refused is None:
        yard.until(spec, lambda one: one.reason is Reason.IMAGE_UNUSABLE)
    else:
        assert refused is Reason.IMAGE_UNUSABLE
        assert yard.seen(spec) is None


def test_a_deadline_ends_it(yard: Yard) -> None:
    spec = yard.job(DEAF, deadline_s=1.0, grace_s=0.2)
    yard.cluster.ensure(spec)
    done = yard.ended(spec)
    assert (done.phase, done.reason) == (Phase.FAILED, Reason.DEADLINE_PASSED)
    assert done.started_s is not None
    assert done.ended_s is not None
    assert done.ended_s - done.started_s >= 0.5


@needs("memory")
def test_too_much_memory_ends_it(yard: Yard) -> None:
    spec = yard.job(command=python(HUNGRY.format(bytes=2 * SMALL.memory_bytes)))
    yard.cluster.ensure(spec)
    done = yard.ended(spec)
    assert (done.phase, done.reason, done.exit_code) == (Phase.FAILED, Reason.OUT_OF_MEMORY, 137)


@needs("memory")
def test_as_much_memory_as_was_asked_for_is_there(yard: Yard) -> None:
    spec = yard.job(command=python("eaten = bytearray(b'x' * 40_000_000); print(len(eaten))"))
    yard.cluster.ensure(spec)
    assert yard.ended(spec).phase is Phase.SUCCEEDED


# ---------------------------------------------------------------- what it said


def test_both_streams_are_its_log(yard: Yard) -> None:
    spec = yard.job("echo one; echo two >&2; printf three")
    yard.cluster.ensure(spec)
    yard.ended(spec)
    assert sorted(yard.log(spec).splitlines()) == [b"one", b"three", b"two"]


def test_a_log_is_read_while_it_grows(yard: Yard) -> None:
    spec = yard.job("echo up; sleep 0.5; echo more; sleep 600")
    yard.cluster.ensure(spec)
    yard.waited(lambda: yard.log(spec) == b"up\n", each_s=0.02)
    assert yard.log(spec, after=3) == b""
    yard.waited(lambda: yard.log(spec, after=3) == b"more\n", each_s=0.02)
    assert yard.running(spec).phase is Phase.RUNNING


def test_a_long_log_is_read_in_pieces_and_its_tail_is_evidence(yard: Yard) -> None:
    lines = 20_000
    spec = yard.job(command=python(f"for n in range({lines}): print('line', n)"))
    yard.cluster.ensure(spec)
    yard.ended(spec)
    expected = b"".join(b"line %d\n" % n for n in range(lines))
    read = bytearray()
    while piece := yard.log(spec, after=len(read), most=100_000):
        assert len(piece) <= 100_000
        read += piece
    assert bytes(read) == expected
    assert yard.log(spec, after=7, most=6) == b"line 1"
    assert yard.log(spec, after=len(expected) + 1) == b""
    assert yard.cluster.evidence(spec.attempt_id, log_bytes=10_000).log == expected[-10_000:]


def test_what_the_cluster_said_is_evidence(yard: Yard) -> None:
    spec = yard.job("echo last words; exit 3")
    yard.cluster.ensure(spec)
    yard.ended(spec)
    evidence = yard.cluster.evidence(spec.attempt_id, log_bytes=1000)
    assert evidence.log == b"last words\n"
    assert evidence.events
    assert all(isinstance(one, str) and one for one in evidence.events)
    assert yard.cluster.evidence(spec.attempt_id, log_bytes=6).log == b"words\n"


def test_of_what_is_not_there_nothing_is_said(yard: Yard) -> None:
    spec = yard.job()
    assert yard.log(spec) == b""
    assert yard.cluster.evidence(spec.attempt_id, log_bytes=100) == Evidence()
    yard.cluster.scale(spec.attempt_id, 3)
    assert yard.cluster.stop(spec.attempt_id, grace_s=1)


# ---------------------------------------------------------------- how it is stopped


def test_what_listens_is_stopped_long_before_its_grace_is_over(yard: Yard) -> None:
    spec = yard.job()
    yard.cluster.ensure(spec)
    yard.up(spec)
    grace_s = 20 * yard.world.patience_s
    asked = time.monotonic()
    yard.stopped(spec, grace_s=grace_s)
    assert time.monotonic() - asked < grace_s
    assert yard.seen(spec) is None
    assert yard.log(spec) == b""
    assert yard.cluster.stop(spec.attempt_id, grace_s=grace_s)


def test_what_does_not_listen_is_killed_after_its_grace(yard: Yard) -> None:
    spec = yard.job(DEAF)
    yard.cluster.ensure(spec)
    yard.up(spec)
    asked = time.monotonic()
    assert not yard.cluster.stop(spec.attempt_id, grace_s=1)
    yard.until(spec, lambda one: one.stopping)
    yard.stopped(spec, grace_s=1)
    assert time.monotonic() - asked >= 0.9
    assert yard.seen(spec) is None


def test_what_is_being_stopped_is_not_made_anew_before_it_is_gone(yard: Yard) -> None:
    spec = yard.job(DEAF)
    first = yard.cluster.ensure(spec)
    yard.up(spec)
    yard.cluster.stop(spec.attempt_id, grace_s=1)
    shown = yard.cluster.ensure(spec)
    assert (shown.uid, shown.stopping) == (first.uid, True)
    yard.stopped(spec, grace_s=1)
    assert yard.replaced(spec, first.uid).uid != first.uid


def test_a_shorter_grace_holds(yard: Yard) -> None:
    spec = yard.job(DEAF)
    yard.cluster.ensure(spec)
    yard.up(spec)
    yard.cluster.stop(spec.attempt_id, grace_s=20 * yard.world.patience_s)
    yard.stopped(spec, grace_s=0)


def test_what_has_ended_is_removed(yard: Yard) -> None:
    spec = yard.job("exit 0")
    yard.cluster.ensure(spec)
    yard.ended(spec)
    yard.stopped(spec, grace_s=1)
    assert yard.cluster.observe(yard.owner) == []


def test_two_stop_it_at_once(world: World, yard: Yard) -> None:
    spec = yard.job()
    yard.cluster.ensure(spec)
    yard.up(spec)
    clients = [yard.cluster, world.client()]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: clients[n % 2].stop(spec.attempt_id, grace_s=5), range(4)))
    yard.stopped(spec, grace_s=5)
    assert clients[1].observe(yard.owner) == []


# ---------------------------------------------------------------- places


def test_a_place_is_removed_with_all_that_is_in_it_and_no_other(yard: Yard) -> None:
    _, place = yard.elsewhere()
    done, live, other = yard.job("exit 0"), yard.job(), yard.job(place=place)
    for one in (done, live, other):
        yard.cluster.ensure(one)
    yard.ended(done)
    yard.up(live)
    yard.waited(lambda: yard.cluster.remove_place(yard.owner, yard.place))
    assert [one.id for one in yard.cluster.observe(yard.owner)] == [other.id]
    assert yard.cluster.remove_place(yard.owner, yard.place)
    assert yard.running(other).stopping is False


def test_a_place_can_be_made_again(yard: Yard) -> None:
    first = yard.cluster.ensure(spec := yard.job("exit 0"))
    yard.waited(lambda: yard.cluster.remove_place(yard.owner, yard.place))
    assert yard.replaced(spec, first.uid).uid != first.uid
    assert yard.ended(spec).phase is Phase.SUCCEEDED


def test_a_place_that_never_was_is_gone(yard: Yard) -> None:
    assert yard.cluster.remove_place(yard.owner, str(uuid.uuid4()))


# ---------------------------------------------------------------- services


def said_at(address: str, what: bytes) -> bytes:
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(what)
        return connection.recv(100)


def test_a_service_becomes_ready_and_has_an_address(yard: Yard) -> None:
    spec = yard.service()
    made = yard.cluster.ensure(spec)
    assert made.replicas == 1
    up = yard.until(spec, lambda one: one.ready == 1)
    assert (up.phase, up.reason, up.ended_s) == (Phase.RUNNING, Reason.NONE, None)
    host, _, port = up.addresses["inside"].rpartition(":")
    assert host
    assert 1 <= int(port) <= 65535
    assert yard.log(spec) == b"listening\n"
    yard.stopped(spec, grace_s=0)
    assert yard.seen(spec) is None


@needs("connections")
def test_a_service_serves_and_one_that_dies_comes_again(yard: Yard) -> None:
    spec = yard.service()
    made = yard.cluster.ensure(spec)
    address = yard.until(spec, lambda one: one.ready == 1).addresses["inside"]
    assert said_at(address, b"this") == b"served this"
    assert said_at(address, b"die") == b""
    yard.waited(lambda: yard.log(spec).count(b"listening") == 2, each_s=0.05)
    again = yard.until(spec, lambda one: one.ready == 1)
    assert (again.uid, again.phase) == (made.uid, Phase.RUNNING)
    assert again.addresses["inside"] == address, "it is stable"
    assert said_at(address, b"that") == b"served that"


def test_a_service_that_is_not_ready_is_no_running_one(yard: Yard) -> None:
    spec = yard.service(command=sh(LIVES))
    yard.cluster.ensure(spec)
    yard.waited(lambda: yard.log(spec), each_s=0.02)
    seen = yard.seen(spec)
    assert seen is not None
    assert (seen.phase, seen.ready) == (Phase.STARTING, 0)


def test_a_service_is_scaled_up_and_down(yard: Yard) -> None:
    spec = yard.service()
    made = yard.cluster.ensure(spec)
    yard.cluster.scale(spec.attempt_id, 2)
    two = yard.until(spec, lambda one: one.ready == 2)
    assert (two.uid, two.replicas) == (made.uid, 2)
    assert yard.cluster.ensure(spec).replicas == 2, "how many there are is no content"
    yard.cluster.scale(spec.attempt_id, 0)
    none = yard.until(spec, lambda one: one.ready == 0)
    assert (none.uid, none.replicas) == (made.uid, 0)
    yard.cluster.scale(spec.attempt_id, 1)
    yard.until(spec, lambda one: one.ready == 1)


@needs("connections")
def test_a_service_serves_while_one_of_its_replicas_does(yard: Yard) -> None:
    spec = yard.service(replicas=2)
    yard.cluster.ensure(spec)
    address = yard.until(spec, lambda one: one.ready == 2).addresses["inside"]
    assert said_at(address, b"die") == b""
    assert yard.waited(lambda: _answer(address), each_s=0.05) == b"served this"


def _answer(address: str) -> bytes:
    with suppress(OSError):
        return said_at(address, b"this")
    return b""


# ---------------------------------------------------------------- waiting


def test_waiting_ends_in_time_and_when_something_has_changed(yard: Yard) -> None:
    start = time.monotonic()
    yard.cluster.wait(0)
    assert time.monotonic() - start < 1
    spec = yard.job("sleep 0.3")
    yard.cluster.ensure(spec)
    yard.waited(lambda: (one := yard.seen(spec)) and one.phase in ENDED, each_s=600)


# ---------------------------------------------------------------- hostile values

ODD = "two\nlines\ttab 'quotes\" ünï©ødé \U0001f682 $(PORT) $HOME `id` %s \\n ${X} $$(X) -- \x7f "


def test_arguments_and_environment_arrive_as_they_are(yard: Yard) -> None:
    spec = yard.job(
        command=sh('printf "%s|" "$ODD" "$EMPTY" "$@"'),
        arguments=["sh", ODD, "", "-n", "*"],
        environment={"ODD": ODD, "EMPTY": ""},
    )
    yard.cluster.ensure(spec)
    assert yard.ended(spec).phase is Phase.SUCCEEDED
    assert yard.log(spec).decode() == f"{ODD}||{ODD}||-n|*|"


def test_a_secret_reaches_the_program_and_nobody_else(yard: Yard) -> None:
    secret = f"s3cr3t-{uuid.uuid4()}\n\u00fc$(X)"
    spec = yard.job(
        f'test "$(printf %s "$TOKEN" | wc -c)" = {len(secret.encode())} || exit 9; exec /no/such/program',
        secrets={"TOKEN": secret},
    )
    made = yard.cluster.ensure(spec)
    done = yard.ended(spec)
    evidence = yard.cluster.evidence(spec.attempt_id, log_bytes=10_000)
    assert done.exit_code in (126, 127)
    assert secret[:20] not in repr((made, done, evidence))


def test_another_secret_is_another_content(yard: Yard) -> None:
    spec = yard.job('printf %s "$TOKEN"', secrets={"TOKEN": "first"})
    first = yard.cluster.ensure(spec)
    yard.ended(spec)
    other = msgspec.structs.replace(spec, secrets={"TOKEN": "second"})
    yard.replaced(other, first.uid)
    yard.ended(other)
    assert yard.log(other) == b"second"


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "../../../escape"},
        {"name": "Ünïcode\nname"},
        {"name": "x" * 52},
        {"name": "-"},
        {"labels": {"../key": "../value", "ü": "two\nlines"}},
        {"labels": {"app.kubernetes.io/name": "x" * 500}},
        {"labels": {"a" * 300: ""}},
    ],
)
def test_odd_names_and_labels_are_taken_or_refused_and_break_nothing(yard: Yard, fields: dict[str, Any]) -> None:
    spec = yard.job("exit 0", **fields)
    refused = yard.refused(spec)
    if refused is None:
        assert yard.ended(spec).phase is Phase.SUCCEEDED
        yard.stopped(spec, grace_s=0)
    else:
        assert refused is Reason.CONFIG_INVALID
    assert yard.seen(spec) is None
