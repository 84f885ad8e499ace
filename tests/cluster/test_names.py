"""Names of what is made in a cluster: valid, the same each time, and never shared."""

from __future__ import annotations

import re
import uuid

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedyard.cluster import names
from fedyard.cluster.port import Resources, Spec

LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
ids = st.uuids().map(str)
attempts = st.integers(1, 2**31 - 1)
called = st.text(max_size=52) | st.sampled_from(["train", "x" * 52, "-", "9", "../../escape", "a--b", "Ünï"])
OF_A_REPLICA_SET = "-66b6c48dd5"


@st.composite
def specs(draw):
    return Spec(
        owner=draw(ids),
        place=draw(ids),
        id=draw(ids),
        attempt=draw(attempts),
        kind=draw(st.sampled_from(["job", "service"])),
        image="i",
        name=draw(called),
        peers=draw(st.booleans()),
    )


@given(specs())
def test_a_name_is_a_label_with_room_for_what_a_pod_appends(spec) -> None:
    name = names.workload_name(spec)
    assert LABEL.fullmatch(name)
    assert len(name) <= names.MAX_NAMED
    assert len(name + OF_A_REPLICA_SET) <= names.MAX_NAME
    place = names.place_name(spec.place)
    assert LABEL.fullmatch(place)
    assert len(place) <= names.MAX_NAME


@given(specs(), specs(), st.sampled_from(["id", "attempt", ""]))
def test_two_workloads_share_a_name_only_if_they_are_one(one, other, kept) -> None:
    other = msgspec.structs.replace(other, name=one.name, kind=one.kind)
    if kept:
        other = msgspec.structs.replace(other, **{kept: getattr(one, kept)})
    same = (one.id, one.attempt) == (other.id, other.attempt)
    assert (names.workload_name(one) == names.workload_name(other)) == same


@given(ids, ids)
def test_two_places_share_a_name_only_if_they_are_one(place, other) -> None:
    assert (names.place_name(place) == names.place_name(other)) == (place == other)


@given(st.uuids(), st.integers(0, 127))
def test_one_bit_of_an_id_makes_another_name(id, bit) -> None:
    assert names.short(str(id)) != names.short(str(uuid.UUID(int=id.int ^ (1 << bit))))


@given(specs())
def test_labels_are_what_a_server_takes_and_tell_attempts_apart(spec) -> None:
    value = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
    assert all(value.fullmatch(one) for one in names.labels(spec).values())
    found = dict(part.split("=") for part in names.selector(names.identity(spec)).split(","))
    assert (found[names.OWNER], found[names.PLACE], found[names.WORKLOAD], found[names.ATTEMPT]) == (
        spec.owner,
        spec.place,
        spec.id,
        str(spec.attempt),
    )


SPEC = Spec(
    owner="0" * 8 + "-0000-4000-8000-" + "0" * 12,
    place="1" * 8 + "-0000-4000-8000-" + "0" * 12,
    id="2" * 8 + "-0000-4000-8000-" + "0" * 12,
    attempt=1,
    kind="job",
    image="i",
    secrets={"TOKEN": "a"},
)


@pytest.mark.parametrize(
    "changed",
    [
        {"image": "j"},
        {"attempt": 2},
        {"resources": Resources(cpu_millis=1)},
        {"environment": {"A": "b"}},
        {"secrets": {"TOKEN": "a", "OTHER": "b"}},
        {"peers": True},
        {"labels": {"a": "b"}},
    ],
)
def test_another_content_has_another_hash(changed) -> None:
    assert names.spec_hash(msgspec.structs.replace(SPEC, **changed)) != names.spec_hash(SPEC)


def test_the_hash_tells_nothing_of_a_secret_and_ignores_what_is_scaled_and_in_which_order_things_came() -> None:
    same = msgspec.structs.replace(SPEC, secrets={"TOKEN": "another"}, replicas=7)
    assert names.spec_hash(same) == names.spec_hash(SPEC)
    one = msgspec.structs.replace(SPEC, environment={"A": "1", "B": "2"})
    assert names.spec_hash(msgspec.structs.replace(SPEC, environment={"B": "2", "A": "1"})) == names.spec_hash(one)


@pytest.mark.parametrize(
    ("name", "begins"),
    [
        ("Model training, in Oslo and Bergen", "model-training-in-oslo-"),
        ("train", "train-"),
        ("Train", "train-"),
        ("9a", "w9a-"),
        ("a_b", "a-b-"),
        ("ä", "w-"),
        ("", "job-"),
    ],
)
def test_what_a_caller_calls_it_comes_first_as_far_as_there_is_room(name, begins) -> None:
    assert names.workload_name(msgspec.structs.replace(SPEC, name=name)) == f"{begins}{names.short(SPEC.id)}-1"


@pytest.mark.parametrize("key", ["fedyard/owner", "fedyard/anything", "app.kubernetes.io/managed-by"])
def test_a_label_of_ours_cannot_be_set_from_outside(key) -> None:
    with pytest.raises(ValueError, match="the cluster's own"):
        names.labels(msgspec.structs.replace(SPEC, labels={key: "x"}))
