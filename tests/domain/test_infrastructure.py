"""Fedota's coordinator and selectors: their environment, and its permission matrix, cell by cell, on the manifests."""

from __future__ import annotations

import uuid
from typing import Any

import kubernetes_validate
import msgspec
import pytest

from domain import values as v
from domain.infrastructure import PARTS, VOLUMES, PartName, shaped, spec_of_part
from domain.workloads import files_token_of, rounds_token_of, with_own_tokens
from fedyard.cluster import manifests, names
from fedyard.cluster.conventions import MODEL_VERSION
from fedyard.cluster.manifests import Rules
from fedyard.cluster.port import REPLICA, Spec

SAID = v.Infrastructure(coordinator_image="fl-coordinator:1", selector_image="fl-selector:1", selectors=3)
RULES = Rules(prepare_image="fedyard:1", outside="NodePort")
OWNER, PROJECT, OTHER = (str(uuid.UUID(int=number, version=4)) for number in (1, 2, 3))


def attempt(part: PartName, project: str = PROJECT) -> Spec:
    spec = spec_of_part(part, SAID, project, goal=4)
    id = str(uuid.uuid5(uuid.UUID(project), part))
    return shaped(
        Spec(
            owner=OWNER,
            place=project,
            id=id,
            attempt=1,
            kind=spec.kind,
            image=spec.image,
            environment=spec.environment,
            replicas=spec.replicas,
            port=spec.port,
        ),
        part,
    )


def pod_of(part: PartName) -> dict[str, Any]:
    return dict(manifests.workload(attempt(part), RULES)["spec"]["template"]["spec"])


def own(path: str, replica: str) -> str:
    return path.replace("$(HOSTNAME)", replica).replace(REPLICA, replica)


def access(part: PartName, replica: str, path: str) -> str:
    """What this replica may do with a path of the volume: by what is mounted, and by users and modes."""
    pod = pod_of(part)
    (container,) = pod["containers"]
    mounted = {
        own(one.get("subPathExpr") or one.get("subPath") or "", replica): one["readOnly"]
        for one in container["volumeMounts"]
        if one["name"] == "volume"
    }
    covering = [of for of in mounted if not of or path == of or path.startswith(f"{of}/")]
    if not covering:
        return "-"
    for maker in PARTS:  # who made a folder on the way may have shut it to all but himself
        for made in VOLUMES[maker].made:
            for number in range(3):
                folder = own(made.path, f"selector-{number}")
                inside = path.startswith(f"{folder}/")
                if inside and not made.mode & 0o050 and pod_of(maker)["securityContext"] != pod["securityContext"]:
                    return "-"
    return "R" if mounted[max(covering, key=len)] else "RW"


@pytest.mark.parametrize(
    ("part", "replica", "path", "may"),
    [
        ("coordinator", "coordinator-0", "initFiles/fl_checkpoint", "RW"),
        ("coordinator", "coordinator-0", "initFiles/model.h5", "R"),
        ("coordinator", "coordinator-0", "initFiles/more/vocabulary.txt", "R"),
        ("coordinator", "coordinator-0", "initFiles", "R"),
        ("coordinator", "coordinator-0", "selector-1.selector:50051/fl_agg_checkpoint", "R"),
        ("coordinator", "coordinator-0", "selector-1.selector:50051/fl_agg_checkpoint_weight", "R"),
        ("coordinator", "coordinator-0", "selector-1.selector:50051/roundFiles/checkpoint_1", "-"),
        ("selector", "selector-1", "initFiles/fl_checkpoint", "R"),
        ("selector", "selector-1", "initFiles/model.h5", "R"),
        ("selector", "selector-1", "selector-1.selector:50051/fl_agg_checkpoint", "RW"),
        ("selector", "selector-1", "selector-1.selector:50051/fl_agg_checkpoint_weight", "RW"),
        ("selector", "selector-1", "selector-1.selector:50051/roundFiles/checkpoint_1", "RW"),
        ("selector", "selector-1", "selector-0.selector:50051/fl_agg_checkpoint", "-"),
        ("selector", "selector-1", "selector-0.selector:50051/roundFiles/checkpoint_1", "-"),
        ("selector", "selector-1", "selector-10.selector:50051/fl_agg_checkpoint", "-"),
        ("selector", "selector-1", "", "-"),
    ],
)
def test_each_cell_of_fedotas_permission_matrix(part: PartName, replica: str, path: str, may: str) -> None:
    assert access(part, replica, path) == may


def test_they_are_other_users_of_one_group_and_neither_is_root() -> None:
    coordinator, selector = (pod_of(part)["securityContext"] for part in PARTS)
    assert coordinator["runAsUser"] != selector["runAsUser"]
    assert coordinator["runAsGroup"] == selector["runAsGroup"] == coordinator["fsGroup"]
    assert coordinator["runAsNonRoot"] is selector["runAsNonRoot"] is True


def test_who_makes_the_folders_is_the_operators_image_and_ends_before_they_start() -> None:
    for part in PARTS:
        whole = [
            one["image"]
            for one in pod_of(part)["initContainers"]
            if {"name": "volume", "mountPath": "/volume"} in one["volumeMounts"]
        ]
        assert whole == ["fedyard:1"]


def test_what_todays_images_find_in_their_environment() -> None:
    found = {}
    for part in PARTS:
        (container,) = pod_of(part)["containers"]
        found[part] = {one["name"]: one.get("value", one.get("valueFrom")) for one in container["env"]}
    assert found["coordinator"]["CHECKIN_LIMIT"] == "4"
    assert found["selector"]["SELECTOR_SERVICE"] == "selector"
    assert found["selector"]["COORDINATOR_ADDRESS"] == "coordinator:50050"
    for part, port in (("coordinator", "50050"), ("selector", "50051")):
        assert found[part]["PROBLEM_ID"] == PROJECT
        assert found[part]["FL_ROOT_PATH"] == "/volume"
        assert found[part]["PORT"] == port
        assert found[part]["HOSTNAME"]["fieldRef"]["fieldPath"] == "metadata.name"


def test_each_service_selects_the_pods_of_its_own_part_alone() -> None:
    services: dict[str, tuple[str, dict[str, Any]]] = {}
    for part in PARTS:
        for one in manifests.belongings(attempt(part), "uid", RULES):
            if one["kind"] == "Service":
                services[one["metadata"]["name"]] = (part, one["spec"])
    assert sorted(services) == ["coordinator", "selector", "selector-outside"]
    assert services["selector-outside"][1]["type"] == "NodePort"
    assert {services[name][1].get("clusterIP") for name in ("coordinator", "selector")} == {"None"}
    for part, spec in services.values():
        for other in PARTS:
            carried = manifests.workload(attempt(other), RULES)["spec"]["template"]["metadata"]["labels"]
            assert (spec["selector"].items() <= carried.items()) is (other == part)


def test_two_projects_have_the_same_names_in_namespaces_and_volumes_of_their_own() -> None:
    mine, theirs = attempt("selector"), attempt("selector", OTHER)
    for made in (manifests.workload, manifests.volume):
        one, other = made(mine, RULES)["metadata"], made(theirs, RULES)["metadata"]
        assert one["name"] == other["name"]
        assert one["namespace"] == names.place_name(PROJECT) != other["namespace"]


def test_the_initial_files_are_unpacked_by_the_operators_image_whose_token_nobody_else_gets() -> None:
    key = bytes(32)
    spec = with_own_tokens(attempt("coordinator"), key, "http://hub.example.org")
    rules = msgspec.structs.replace(RULES, unpack_image="fedyard:2")
    pod = manifests.workload(spec, rules)["spec"]["template"]["spec"]
    assert [one["name"] for one in pod["initContainers"]] == ["prepare", "unpack"]
    unpack = pod["initContainers"][1]
    assert (unpack["image"], unpack["args"]) == ("fedyard:2", ["/volume"])
    environment = {one["name"]: one.get("value") or one["valueFrom"]["secretKeyRef"] for one in unpack["env"]}
    assert environment["FEDYARD_HUB_URL"] == "http://hub.example.org"
    assert environment["FEDYARD_FILES_TOKEN"] == {
        "name": "coordinator",
        "key": "FEDYARD_FILES_TOKEN",
        "optional": False,
    }
    for container in pod["containers"]:
        assert "FEDYARD_FILES_TOKEN" not in {one["name"] for one in container["env"]}
    assert files_token_of(key, spec.id, 1) not in msgspec.json.encode(pod).decode()
    assert with_own_tokens(attempt("selector"), key, "http://hub") == attempt("selector"), "one unpacks"
    kubernetes_validate.validate(manifests.workload(spec, rules), "1.36", strict=True)


def test_where_nobody_unpacks_nothing_begins_with_an_older_model() -> None:
    spec = with_own_tokens(attempt("coordinator"), bytes(32), "http://hub")
    spec = msgspec.structs.replace(spec, environment=spec.environment | {MODEL_VERSION: "3"})
    with pytest.raises(ValueError, match="nobody would lay model version 3"):
        manifests.workload(spec, RULES)
    rules = msgspec.structs.replace(RULES, unpack_image="fedyard:2")
    unpack = manifests.workload(spec, rules)["spec"]["template"]["spec"]["initContainers"][1]
    assert {"name": "FEDYARD_MODEL_VERSION", "value": "3"} in unpack["env"]


def test_beside_the_coordinator_alone_runs_who_takes_its_round_status_with_a_token_of_its_own() -> None:
    key = bytes(32)
    spec = with_own_tokens(attempt("coordinator"), key, "http://hub.example.org")
    rules = msgspec.structs.replace(RULES, unpack_image="fedyard:2")
    pod = manifests.workload(spec, rules)["spec"]["template"]["spec"]
    coordinator, sidecar = (
        {each["name"]: each.get("value", each.get("valueFrom")) for each in one["env"]} for one in pod["containers"]
    )
    assert coordinator["WEBSERVER_ADDRESS"] == "localhost:50052"
    assert "FEDYARD_TOKEN" not in coordinator
    assert sidecar["FEDYARD_HUB_URL"] == "http://hub.example.org"
    assert sidecar["FEDYARD_TOKEN"]["secretKeyRef"]["key"] == "FEDYARD_TOKEN"
    assert sidecar["PORT"] == "50052"
    mounts = [one for one in pod["containers"][1]["volumeMounts"] if one["name"] == "volume"]
    assert [(one["mountPath"], one["readOnly"]) for one in mounts] == [("/volume/initFiles", True)]
    assert pod["containers"][1]["securityContext"]["runAsUser"] == 10004, "neither the coordinator nor a selector"
    tokens = [made(key, spec.id, 1) for made in (rounds_token_of, files_token_of)]
    tokens.append(rounds_token_of(key, spec.id, 2))
    assert len(set(tokens)) == 3
    assert not [token for token in tokens if token in msgspec.json.encode(pod).decode()]
    assert attempt("selector").companion is None


@pytest.mark.parametrize("version", ["1.28", "1.37"])
def test_the_manifests_are_valid(version: str) -> None:
    for part in PARTS:
        for one in (manifests.workload(attempt(part), RULES), manifests.volume(attempt(part), RULES)):
            kubernetes_validate.validate(one, version, strict=True)
