"""k8s/deploy: what the hub is on Kubernetes. Composed as kustomize does it, checked against Kubernetes' own schemas."""

from __future__ import annotations

import re
from collections import defaultdict
from functools import cache
from itertools import chain

import kubernetes_validate
import pytest

from config.processes import END_WITHIN_S
from config.settings import IN_FILES, Settings, options
from fedyard.cluster.kubernetes_cluster import PERMISSIONS, read_rules
from tests.deploy.checkout import (
    KUSTOMIZED,
    ROOT,
    USER,
    Object,
    containers,
    documents,
    kustomized,
    named,
    pod,
    processes,
)

OLDEST, NEWEST = "1.30", "1.37"
JOBS = ("migrate", "policies", "first-account")
EXAMPLE = KUSTOMIZED / "overlays" / "example"


@cache
def _example() -> tuple[Object, ...]:
    return tuple(chain.from_iterable(kustomized(EXAMPLE / each) for each in ("hub", *JOBS)))


@pytest.fixture
def example() -> list[Object]:
    """All that the example brings to a cluster."""
    return list(_example())


PODS = [pytest.param(one, id=f"{one['kind']}-{one['metadata']['name']}") for one in _example() if pod(one) is not None]


def test_every_object_is_what_the_oldest_supported_kubernetes_takes(example: list[Object]) -> None:
    for one in example:
        kubernetes_validate.validate(one, OLDEST, strict=True)


def test_a_kind_that_the_newest_has_no_more_is_not_used(example: list[Object]) -> None:
    for one in {one["kind"]: one for one in example}.values():
        kubernetes_validate.validate(one, NEWEST, strict=True)


def test_a_field_that_there_is_not_is_noticed(example: list[Object]) -> None:
    web = named(example, "Deployment")["web"]
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate({**web, "spec": {**web["spec"], "replica": 2}}, OLDEST, strict=True)


@pytest.mark.parametrize("folder", sorted(path.parent for path in KUSTOMIZED.rglob("kustomization.yaml")), ids=str)
def test_every_file_beside_a_kustomization_is_part_of_it(folder) -> None:
    said = documents(folder / "kustomization.yaml")[0]
    beside = {path.name for path in folder.iterdir() if path.is_file()} - {"kustomization.yaml"}
    named_there = [
        *said.get("resources", []),
        *(one for made in said.get("configMapGenerator", []) for one in made.get("files", [])),
    ]
    assert beside == {name for name in named_there if (folder / name).is_file()}


def test_every_process_is_a_deployment_that_runs_what_the_procfile_says(example: list[Object]) -> None:
    deployments = named(example, "Deployment")
    assert set(deployments) == set(processes())
    for name, process in processes().items():
        (container,) = containers([deployments[name]])
        assert container["args"] == process.arguments
        given = {one["name"]: one["value"] for one in container["env"]}
        assert process.environment.items() <= given.items()
        assert "command" not in container


@pytest.mark.parametrize("one", PODS)
def test_a_pod_is_as_restricted_as_its_namespace_asks(one: Object) -> None:
    spec = pod(one)
    assert spec is not None
    of_pod = spec["securityContext"]
    assert (of_pod["runAsNonRoot"], of_pod["runAsUser"], of_pod["fsGroup"]) == (True, USER, USER)
    assert of_pod["seccompProfile"] == {"type": "RuntimeDefault"}
    (container,) = spec["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"cpu", "memory"} <= container["resources"]["requests"].keys() & container["resources"]["limits"].keys()
    assert all("hostPath" not in volume for volume in spec["volumes"])


@pytest.mark.parametrize("one", PODS)
def test_no_service_of_the_cluster_becomes_a_variable_that_the_settings_refuse(one: Object) -> None:
    spec = pod(one)
    assert spec is not None
    assert spec["enableServiceLinks"] is False


@pytest.mark.parametrize("one", PODS)
def test_what_is_mounted_is_there_and_what_is_there_is_mounted(one: Object) -> None:
    spec = pod(one)
    assert spec is not None
    (container,) = spec["containers"]
    mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    assert mounts.keys() == volumes.keys()
    for name, volume in volumes.items():
        if "secret" in volume:
            assert mounts[name]["readOnly"]
            assert volume["secret"]["defaultMode"] == 0o440
    for variable in container["env"]:
        if variable["value"].startswith("/run/fedyard/"):
            folder, _, file = variable["value"].rpartition("/")
            name = next(name for name, mount in mounts.items() if mount["mountPath"] == folder)
            items = volumes[name]["secret"].get("items")
            assert items is None or file in {item["path"] for item in items}


@pytest.mark.parametrize("one", PODS)
def test_every_variable_is_one_of_the_hubs_and_nothing_secret_is_one(one: Object) -> None:
    (container,) = containers([one])
    for variable in container["env"]:
        name, value = variable["name"], variable["value"]
        assert not name.startswith("FEDYARD_") or name in options() or name in IN_FILES
        assert not name.endswith("_URL")
        assert "//" not in value


def test_the_settings_are_settings(example: list[Object]) -> None:
    settings = Settings.read(named(example, "ConfigMap")["fedyard-settings"]["data"])
    assert settings.artifacts_url.startswith("s3://")
    assert settings.cluster_places() == {"hub": "in-cluster?rules=/etc/fedyard/rules/rules.toml"}
    assert str(settings.web_port) == "8080"


def test_workloads_are_told_where_the_hub_is_let_go_there_and_find_the_image_of_fedyards_steps(
    example: list[Object], tmp_path
) -> None:
    file = tmp_path / "rules.toml"
    file.write_text(named(example, "ConfigMap")["fedyard-rules"]["data"]["rules.toml"])
    rules = read_rules(file)
    assert [peer.port for peer in rules.hub] == [443]
    (image,) = {one["image"] for one in containers([named(example, "Deployment")["doer"]])}
    assert {rules.prepare_image, rules.unpack_image} == {image}, "the hub's own image has what Fedyard's steps need"
    assert named(example, "ConfigMap")["fedyard-settings"]["data"]["FEDYARD_WORKLOAD_HUB_URL"].startswith("https://")
    deployments = named(example, "Deployment")
    mounted = {
        name
        for name, one in deployments.items()
        if {"name": "rules", "mountPath": "/etc/fedyard/rules", "readOnly": True}
        in containers([one])[0]["volumeMounts"]
    }
    assert mounted == {"doer", "reconciler"}


def test_who_touches_clusters_has_a_token_and_nobody_else(example: list[Object]) -> None:
    accounts = named(example, "ServiceAccount")
    assert not any(one["automountServiceAccountToken"] for one in accounts.values())
    bound = {one["name"] for one in named(example, "ClusterRoleBinding")["fedyard-workloads"]["subjects"]}
    mounted = {
        one["metadata"]["name"] for one in example if (spec := pod(one)) and spec["automountServiceAccountToken"]
    }
    assert mounted == bound == {"doer", "reconciler"}
    for name, one in named(example, "Deployment").items():
        assert one["spec"]["template"]["spec"]["serviceAccountName"] == name
        assert name in accounts


def test_their_rights_are_those_that_the_code_asks_for_to_the_letter(example: list[Object]) -> None:
    granted = defaultdict(set)
    for rule in named(example, "ClusterRole")["fedyard-workloads"]["rules"]:
        assert set(rule) == {"apiGroups", "resources", "verbs"}
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                granted[f"{resource}.{group}" if group else resource] |= set(rule["verbs"])
    assert granted == {what: set(verbs) for what, verbs in PERMISSIONS.items()}


def test_the_web_is_asked_how_it_is_and_stays_while_nodes_are_drained(example: list[Object]) -> None:
    (container,) = containers([named(example, "Deployment")["web"]])
    probed = {name: container[name]["httpGet"]["path"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert probed == {"startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/readyz"}
    budget = named(example, "PodDisruptionBudget")["web"]["spec"]
    web = named(example, "Deployment")["web"]["spec"]
    assert budget["selector"] == web["selector"]
    assert web["replicas"] > budget["maxUnavailable"]
    service = named(example, "Service")["web"]["spec"]
    assert service["selector"] == web["template"]["metadata"]["labels"]


def test_a_process_may_end_by_itself_before_it_is_killed(example: list[Object]) -> None:
    for name, one in named(example, "Deployment").items():
        spec = one["spec"]["template"]["spec"]
        before = spec["containers"][0].get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        assert spec["terminationGracePeriodSeconds"] > before + END_WITHIN_S, name


def test_nothing_comes_in_or_goes_out_unless_a_policy_says_so(example: list[Object]) -> None:
    policies = named(example, "NetworkPolicy")
    assert policies["nothing"]["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    let_in = {name for name, one in policies.items() if one["spec"].get("ingress")}
    assert let_in == {"web"}
    known = {*processes(), *JOBS}
    for one in policies.values():
        selector = one["spec"]["podSelector"]
        chosen = {selector.get("matchLabels", {}).get("app.kubernetes.io/component")} - {None}
        for expression in selector.get("matchExpressions", []):
            chosen |= set(expression["values"])
        assert chosen <= known


def test_the_image_is_the_examples_everywhere(example: list[Object]) -> None:
    assert {one["image"] for one in containers(example)} == {"images.example.org/fedyard-hub:0.3.0"}
    assert {one["metadata"].get("namespace") for one in example if one["kind"] == "Job"} == {"fedyard"}


def test_the_docs_make_every_secret_that_is_mounted() -> None:
    lines = re.findall(
        r"create secret generic (\S+)((?: --from-file=\S+)+)", (ROOT / "docs" / "deploying.md").read_text()
    )
    made = {name: set(re.findall(r"=(?:[\w/.-]*/)?([\w.-]+)(?:=| |$)", files)) for name, files in lines}
    mounted: dict[str, set[str]] = defaultdict(set)
    for one in PODS:
        spec = pod(one.values[0])
        assert spec is not None
        (container,) = spec["containers"]
        paths = [variable["value"] for variable in container["env"]] + container["args"]
        for volume in spec["volumes"]:
            if "secret" in volume:
                at = next(mount["mountPath"] for mount in container["volumeMounts"] if mount["name"] == volume["name"])
                files = {path.rpartition("/")[2] for path in paths if path.startswith(f"{at}/")}
                assert files, f"{volume['name']} is mounted and read by nobody"
                mounted[volume["secret"]["secretName"]] |= files
    assert mounted == made


def test_artifacts_may_lie_on_a_volume_of_all_who_read_them(tmp_path) -> None:
    (tmp_path / "kustomization.yaml").write_text(
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n"
        f"resources: [{KUSTOMIZED / 'base'}]\ncomponents: [{KUSTOMIZED / 'components' / 'artifacts-on-a-volume'}]\n"
    )
    objects = kustomized(tmp_path)
    settings = named(objects, "ConfigMap")["fedyard-settings"]["data"]
    assert settings["FEDYARD_ARTIFACTS_URL"] == "file:////var/lib/fedyard/artifacts"
    with_it = {
        name
        for name, one in named(objects, "Deployment").items()
        if {"name": "artifacts", "mountPath": "/var/lib/fedyard/artifacts"} in containers([one])[0]["volumeMounts"]
    }
    assert with_it == {"web", "doer", "relay"}
    kubernetes_validate.validate(named(objects, "Deployment")["relay"], OLDEST, strict=True)
    kubernetes_validate.validate(named(objects, "PersistentVolumeClaim")["artifacts"], OLDEST, strict=True)
