"""What is made in Kubernetes: valid by the schemas of its versions, unprivileged, and nothing secret in the open."""

from __future__ import annotations

import base64

import kubernetes_validate
import msgspec
import pytest

from fedyard.cluster import manifests, names
from fedyard.cluster.manifests import Peer, Rules
from fedyard.cluster.port import (
    REPLICA,
    Companion,
    Files,
    InputFile,
    Made,
    Part,
    Placement,
    Resources,
    Spec,
    Toleration,
    Volume,
)

OWNER = "0c1b7f5e-0000-4000-8000-000000000001"
PLACE = "0c1b7f5e-0000-4000-8000-000000000002"
PLAIN = Spec(
    owner=OWNER,
    place=PLACE,
    id="0c1b7f5e-0000-4000-8000-000000000003",
    attempt=1,
    kind="job",
    image="a/b@sha256:" + "0" * 64,
)
JOB = msgspec.structs.replace(
    PLAIN,
    labels={"team": "oslo"},
    command=["sh", "-c"],
    arguments=["echo $(date) $HOME $$"],
    environment={"PLAIN": "x"},
    secrets={"TOKEN": "s3cret-of-the-test"},
    resources=Resources(cpu_millis=250, memory_bytes=2**26, disk_bytes=2**30, gpus={"nvidia.com/gpu": 2}),
    placement=Placement(
        node_selector={"disk": "ssd"},
        tolerations=[Toleration(key="gpu", operator="Exists", effect="NoSchedule")],
    ),
    deadline_s=59.5,
    grace_s=1.5,
)
FILED = msgspec.structs.replace(
    JOB,
    environment={"PLAIN": "x", "FEDYARD_HUB_URL": "http://hub"},
    secrets={"TOKEN": "s3cret-of-the-test", "FILES": "s3cret-of-the-test"},
    files=Files("FILES", {"model": InputFile("0" * 64, 5)}, {"update": True, "notes": False}),
)
SERVICE = msgspec.structs.replace(
    PLAIN,
    kind="service",
    port=8501,
    replicas=3,
    secrets={"TOKEN": "s3cret-of-the-test"},
    peers=True,
    placement=Placement(spread="kubernetes.io/hostname"),
)
STABLE = msgspec.structs.replace(
    SERVICE,
    name="selector",
    stable=True,
    dials={"COORDINATOR_ADDRESS": "coordinator:50050"},
    user=2,
    volume=Volume(
        variable="FL_ROOT_PATH",
        parts=[Part("shared"), Part(f"{REPLICA}.selector:8501", write=True)],
        made=[Made("shared/state", mode=0o640, file=True), Made(f"{REPLICA}.selector:8501")],
    ),
)
ACCOMPANIED = msgspec.structs.replace(
    STABLE,
    name="coordinator",
    environment={"FEDYARD_PROJECT_ID": PLACE, "PLAIN": "x"},
    secrets={"TOKEN": "s3cret-of-the-test", "FEDYARD_TOKEN": "s3cret-of-the-test"},
    companion=Companion(
        module="fedyard.sidecar",
        address="WEBSERVER_ADDRESS",
        port=50052,
        paths=["shared/state"],
        secrets=["FEDYARD_TOKEN", "FEDYARD_NOT_THERE"],
        parts=["shared"],
        user=3,
    ),
)
RULES = Rules(
    hub=[Peer(cidr="192.0.2.1/32", port=443)],
    dns=["169.254.20.10/32"],
    clients=["198.51.100.0/24"],
    outside="NodePort",
    image_pull_secret="registry",
    prepare_image="fedyard@sha256:" + "1" * 64,
    unpack_image="fedyard@sha256:" + "2" * 64,
    volume_class="shared",
)
UID = "11111111-1111-4111-8111-111111111111"
VERSIONS = [f"1.{minor}" for minor in range(28, 38)]


def everything():
    made = [*manifests.place(OWNER, PLACE, RULES)]
    for spec in (JOB, FILED, SERVICE, STABLE, ACCOMPANIED):
        made += [manifests.workload(spec, RULES), *manifests.belongings(spec, UID, RULES)]
    return [*made, manifests.volume(STABLE, RULES)]


def pods():
    return [one["spec"]["template"]["spec"] for one in everything() if "template" in one.get("spec", {})]


@pytest.mark.parametrize("version", [VERSIONS[0], VERSIONS[-1]])
def test_every_object_is_valid_by_the_oldest_and_the_newest_schema(version) -> None:
    for one in everything():
        kubernetes_validate.validate(one, version, strict=True)


@pytest.mark.parametrize("version", VERSIONS[1:-1])
def test_what_is_made_most_is_valid_by_every_schema_between(version) -> None:
    kubernetes_validate.validate(manifests.workload(JOB, RULES), version, strict=True)
    kubernetes_validate.validate(manifests.workload(SERVICE, RULES), version, strict=True)


def test_a_field_that_no_schema_knows_would_be_noticed() -> None:
    odd = manifests.workload(JOB, RULES)
    odd["spec"]["restartPolicie"] = "Never"
    with pytest.raises(kubernetes_validate.utils.ValidationError):
        kubernetes_validate.validate(odd, VERSIONS[-1], strict=True)


def test_all_of_it_is_found_by_its_labels_and_lives_in_its_place() -> None:
    namespace = names.place_name(PLACE)
    for one in everything():
        labels = one["metadata"]["labels"]
        assert {key: labels[key] for key in (names.MANAGED_BY, names.OWNER, names.PLACE)} == {
            names.MANAGED_BY: "fedyard",
            names.OWNER: OWNER,
            names.PLACE: PLACE,
        }
        assert one["kind"] == "Namespace" or one["metadata"]["namespace"] == namespace
        assert len(one["metadata"]["annotations"][names.SPEC_HASH]) == 64
        if template := one.get("spec", {}).get("template"):
            assert names.identity(JOB).items() <= template["metadata"]["labels"].items()


def test_no_pod_may_do_more_than_it_needs() -> None:
    for pod in pods():
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for one in (*pod["containers"], *pod.get("initContainers", [])):
            assert one["securityContext"].pop("runAsUser", 1) > 0
            assert one["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "privileged": False,
                "readOnlyRootFilesystem": True,
                "runAsNonRoot": True,
                "capabilities": {"drop": ["ALL"]},
            }
            resources = one["resources"]
            assert resources["requests"]["memory"] == resources["limits"]["memory"]
        containers = [*pod["containers"], *pod.get("initContainers", [])]
        mounted = {one["name"] for container in containers for one in container["volumeMounts"]}
        assert {one["name"] for one in pod["volumes"]} == mounted
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()


def test_a_secret_stands_in_the_secret_alone_which_goes_with_its_workload() -> None:
    hidden = ("s3cret-of-the-test", base64.b64encode(b"s3cret-of-the-test").decode())
    where = {one["kind"] for one in everything() if any(text in msgspec.json.encode(one).decode() for text in hidden)}
    assert where == {"Secret"}
    for one in everything():
        if one["kind"] == "Secret":
            (owner,) = one["metadata"]["ownerReferences"]
            assert (owner["uid"], owner["blockOwnerDeletion"]) == (UID, True)
            assert owner["name"] == one["metadata"]["name"]
            kinds = {"selector": "StatefulSet", "coordinator": "StatefulSet"}
            assert owner["kind"] == kinds.get(owner["name"], "Deployment" if "service" in owner["name"] else "Job")
            assert one["immutable"] is True


def test_a_job_is_run_once_and_its_pod_stays_past_its_deadline_for_its_log() -> None:
    job = manifests.workload(JOB, RULES)["spec"]
    pod = job["template"]["spec"]
    assert (job["backoffLimit"], pod["restartPolicy"], pod["terminationGracePeriodSeconds"]) == (0, "Never", 2)
    assert (job["ttlSecondsAfterFinished"], pod["activeDeadlineSeconds"]) == (86_400, 60)
    assert job["activeDeadlineSeconds"] > pod["activeDeadlineSeconds"] + pod["terminationGracePeriodSeconds"]
    assert "activeDeadlineSeconds" not in manifests.workload(PLAIN, RULES)["spec"]
    assert pod["containers"][0]["resources"]["limits"] == {
        "cpu": "250m",
        "memory": "67108864",
        "ephemeral-storage": "1073741824",
        "nvidia.com/gpu": "2",
    }


@pytest.mark.parametrize(
    ("text", "stored"),
    [("$HOME", "$HOME"), ("a $(date)", "a $$(date)"), ("$$", "$$$$"), ("$a $(b) $", "$$a $$(b) $$"), ("", "")],
)
def test_a_text_arrives_as_the_caller_wrote_it(text, stored) -> None:
    spec = msgspec.structs.replace(PLAIN, command=[text], arguments=[text], environment={"A": text})
    (container,) = manifests.workload(spec, RULES)["spec"]["template"]["spec"]["containers"]
    assert container["command"] == container["args"] == [stored]
    assert {"name": "A", "value": stored} in container["env"]
    assert expanded(stored) == text


def expanded(text):
    """As Kubernetes does it (k8s.io/kubernetes/third_party/forked/golang/expansion), without any variable."""
    out, at = "", 0
    while at < len(text):
        if text[at] == "$" and text[at + 1 : at + 2] == "$":
            out, at = out + "$", at + 2
        elif text[at] == "$" and text[at + 1 : at + 2] == "(" and ")" in text[at:]:
            raise AssertionError("a reference to a variable")
        else:
            out, at = out + text[at], at + 1
    return out


def test_a_service_has_an_address_probes_and_only_its_own_pods() -> None:
    deployment = manifests.workload(SERVICE, RULES)
    _secret, service, policy = manifests.belongings(SERVICE, UID, RULES)
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert all(
        container[probe]["tcpSocket"] == {"port": 8501} for probe in ("startupProbe", "readinessProbe", "livenessProbe")
    )
    assert service["spec"]["selector"] == names.identity(SERVICE) == deployment["spec"]["selector"]["matchLabels"]
    assert {"name": "PORT", "value": "8501"} in container["env"]
    assert (service["spec"]["type"], service["spec"]["ports"][0]["port"]) == ("NodePort", 8501)
    assert policy["spec"]["ingress"] == [
        {"from": [{"ipBlock": {"cidr": "198.51.100.0/24"}}], "ports": [{"port": 8501, "protocol": "TCP"}]}
    ]
    within = manifests.belongings(SERVICE, "u", Rules())
    assert (within[1]["spec"]["type"], within[2]["spec"]["ingress"][0]["from"]) == ("ClusterIP", [{"podSelector": {}}])


def test_a_place_lets_nothing_in_or_out_but_names_the_hub_and_those_who_ask() -> None:
    made = manifests.place(OWNER, PLACE, RULES)
    assert made[0]["kind"] == "Namespace"
    assert made[0]["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    policies = {one["metadata"]["name"]: one["spec"] for one in made if one["kind"] == "NetworkPolicy"}
    assert policies["nothing"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    assert policies["hub"]["egress"] == [
        {"to": [{"ipBlock": {"cidr": "192.0.2.1/32"}}], "ports": [{"port": 443, "protocol": "TCP"}]}
    ]
    assert policies["peers"]["podSelector"] == {"matchLabels": {names.PEERS: "yes"}}
    alone = {
        one["metadata"]["name"] for one in manifests.place(OWNER, PLACE, Rules()) if one["kind"] == "NetworkPolicy"
    }
    assert alone == {"nothing", "names", "peers"}
    labels = manifests.workload(SERVICE, RULES)["spec"]["template"]["metadata"]["labels"]
    assert labels[names.PEERS] == "yes"
    assert names.PEERS not in manifests.workload(JOB, RULES)["spec"]["template"]["metadata"]["labels"]


def test_what_has_no_addresses_outside_may_have_none_and_a_quota_of_nothing_is_none() -> None:
    def quotas(rules):
        return [one["spec"]["hard"] for one in manifests.place(OWNER, PLACE, rules) if one["kind"] == "ResourceQuota"]

    assert quotas(Rules(quota={})) == [{"services.loadbalancers": "0", "services.nodeports": "0"}]
    assert quotas(Rules(quota={}, outside="NodePort")) == []


def test_the_same_spec_makes_the_same_bytes() -> None:
    again = msgspec.json.decode(msgspec.json.encode(JOB), type=Spec)
    assert msgspec.json.encode(manifests.workload(JOB, RULES)) == msgspec.json.encode(manifests.workload(again, RULES))
    turned = msgspec.structs.replace(JOB, environment={"B": "2", "A": "1"})
    other = msgspec.structs.replace(JOB, environment={"A": "1", "B": "2"})
    assert msgspec.json.encode(manifests.workload(turned, RULES)) == msgspec.json.encode(
        manifests.workload(other, RULES)
    )


def test_what_is_both_environment_and_secret_is_refused() -> None:
    spec = msgspec.structs.replace(PLAIN, environment={"A": "1"}, secrets={"A": "2"})
    with pytest.raises(ValueError, match="A is both"):
        manifests.workload(spec, RULES)


def test_replicas_with_names_of_their_own_stand_behind_a_headless_service() -> None:
    replicas = manifests.workload(STABLE, RULES)
    made = {(one["kind"], one["metadata"]["name"]): one for one in manifests.belongings(STABLE, UID, RULES)}
    service, outside = made["Service", "selector"], made["Service", "selector-outside"]
    assert (service["spec"]["clusterIP"], service["spec"]["publishNotReadyAddresses"]) == ("None", True)
    assert (replicas["kind"], replicas["metadata"]["name"], replicas["spec"]["serviceName"]) == (
        "StatefulSet",
        "selector",
        "selector",
    )
    assert replicas["spec"]["replicas"] == 3
    assert outside["spec"]["type"] == "NodePort"
    for one in (service, outside):
        assert one["spec"]["selector"] == names.identity(STABLE), "its own pods, and no others"
    inside = msgspec.structs.replace(STABLE, outside=False)
    left = [one for one in manifests.belongings(inside, UID, RULES) if one["kind"] == "Service"]
    assert [one["metadata"]["name"] for one in left] == ["selector"]
    (policy,) = [one for one in manifests.belongings(inside, UID, RULES) if one["kind"] == "NetworkPolicy"]
    assert policy["spec"]["ingress"][0]["from"] == [{"podSelector": {}}]


def test_a_workload_sees_the_parts_of_the_volume_that_it_names() -> None:
    pod = manifests.workload(STABLE, RULES)["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    mounts = {one["mountPath"]: one for one in container["volumeMounts"] if one["name"] not in ("tmp", "work")}
    assert mounts == {
        "/volume": {"name": "view", "mountPath": "/volume", "readOnly": True},
        "/volume/shared": {"name": "volume", "mountPath": "/volume/shared", "subPath": "shared", "readOnly": True},
        "/fedyard-parts/1": {
            "name": "volume",
            "mountPath": "/fedyard-parts/1",
            "subPathExpr": "$(HOSTNAME).selector:8501",
            "readOnly": False,
        },
    }
    prepare, view = pod["initContainers"]
    words = "file 640 /volume/shared/state folder 750 /volume/$(HOSTNAME).selector:8501"
    assert prepare["args"] == words.split()
    assert view["args"] == ["link", "/fedyard-parts/1", "/volume/$(HOSTNAME).selector:8501"]
    assert {one["image"] for one in (prepare, view)} == {RULES.prepare_image}, "the operator's, not the workload's"
    environment = {one["name"]: one.get("value") for one in container["env"]}
    assert environment["FL_ROOT_PATH"] == "/volume"
    assert environment["COORDINATOR_ADDRESS"] == "coordinator:50050"
    assert container["env"][0]["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.name", "before what is made of it"
    security = pod["securityContext"]
    assert (security["runAsUser"], security["runAsGroup"], security["fsGroup"]) == (10003, 10001, 10001)


def test_a_companion_is_the_operators_image_with_secrets_of_its_own_and_files_to_read() -> None:
    pod = manifests.workload(ACCOMPANIED, RULES)["spec"]["template"]["spec"]
    workload, companion = pod["containers"]
    assert (workload["name"], companion["name"]) == ("workload", "companion")
    assert (companion["image"], companion["command"]) == (RULES.unpack_image, ["python3", "-m", "fedyard.sidecar"])
    assert companion["args"] == ["/volume/shared/state"]
    found = [{one["name"]: one.get("value") or one["valueFrom"] for one in each["env"]} for each in pod["containers"]]
    assert found[0]["WEBSERVER_ADDRESS"] == "localhost:50052"
    assert found[0]["TOKEN"]["secretKeyRef"]["key"] == "TOKEN"
    assert "FEDYARD_TOKEN" not in found[0], "it is the companion's alone"
    assert found[1] == {
        "FEDYARD_PROJECT_ID": PLACE,
        "HOME": "/fedyard",
        "FEDYARD_TOKEN": {"secretKeyRef": {"name": "coordinator", "key": "FEDYARD_TOKEN", "optional": False}},
        "PORT": "50052",
        "TMPDIR": "/fedyard",
    }
    assert companion["volumeMounts"] == [
        {"name": "companion", "mountPath": "/fedyard"},
        {"name": "volume", "mountPath": "/volume/shared", "subPath": "shared", "readOnly": True},
    ]
    users = (pod["securityContext"]["runAsUser"], companion["securityContext"]["runAsUser"])
    assert users == (10003, 10004), "another user of the same group"


def test_where_no_image_has_fedyard_there_is_no_companion_and_nobody_is_told_of_one() -> None:
    without = msgspec.structs.replace(RULES, unpack_image="")
    pod = manifests.workload(ACCOMPANIED, without)["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert not {"WEBSERVER_ADDRESS", "FEDYARD_TOKEN"} & {one["name"] for one in container["env"]}
    assert "companion" not in {one["name"] for one in pod["volumes"]}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"kind": "job", "stable": False, "volume": None, "name": ""}, "only a service has a companion"),
        ({"port": 50052}, "own port"),
        ({"volume": None}, "no volume"),
    ],
)
def test_what_can_have_no_companion_is_refused(fields, said) -> None:
    with pytest.raises(ValueError, match=said):
        manifests.workload(msgspec.structs.replace(ACCOMPANIED, **fields), RULES)


@pytest.mark.parametrize("path", [f"{REPLICA}/a", "selector-0.selector:50051"])
def test_a_companion_sees_nothing_that_is_one_replicas(path) -> None:
    companion = msgspec.structs.replace(ACCOMPANIED.companion, parts=[path])
    with pytest.raises(ValueError, match="one replica's"):
        manifests.workload(msgspec.structs.replace(ACCOMPANIED, companion=companion), RULES)


@pytest.mark.parametrize(
    "fields",
    [
        {"module": "os"},
        {"module": "fedyard.cli.main"},
        {"paths": ["/etc/passwd"]},
        {"paths": ["../a"]},
        {"arguments": []},
    ],
)
def test_a_companion_does_nothing_but_what_it_is_for(fields) -> None:
    """A cluster runs it as itself, whoever asks for it."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"module": "fedyard.sidecar", "address": "A", "port": 1, **fields}, Companion)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"kind": "job", "name": "a"}, "only a service"),
        ({"port": None}, "only a service"),
        ({"name": "a.b"}, "no DNS label"),
        ({"stable": False}, "names of their own"),
    ],
)
def test_what_cannot_be_stable_is_refused(fields, said) -> None:
    with pytest.raises(ValueError, match=said):
        manifests.workload(msgspec.structs.replace(STABLE, **fields), RULES)


def test_without_an_image_that_prepares_them_there_are_no_volumes() -> None:
    with pytest.raises(ValueError, match="prepare_image"):
        manifests.workload(STABLE, Rules())


@pytest.mark.parametrize("path", ["/a", "../a", "a/../b", "a/", "..", "a\n", "a b", "$(X)"])
def test_a_path_stays_in_the_volume(path) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"path": path}, Part)


def test_a_job_with_outputs_is_an_init_container_after_which_they_are_stored() -> None:
    pod = manifests.workload(FILED, RULES)["spec"]["template"]["spec"]
    assert [one["name"] for one in pod["initContainers"]] == ["inputs", "workload"]
    (store,) = pod["containers"]
    fetch, program = pod["initContainers"]
    assert (fetch["args"], store["args"]) == (
        ["fetch", "/fedyard/inputs", "model", "5", "0" * 64],
        ["store", "/fedyard/outputs", "notes", "optional", "update", "required"],
    )
    assert {fetch["image"], store["image"]} == {RULES.unpack_image}
    assert program["image"] == FILED.image
    folders = {one["mountPath"]: one["readOnly"] for one in program["volumeMounts"] if "puts" in one["name"]}
    assert folders == {"/fedyard/inputs": True, "/fedyard/outputs": False}
    assert {one["name"] for one in fetch["volumeMounts"]} == {"inputs"}
    assert [(one["name"], one["readOnly"]) for one in store["volumeMounts"]] == [("outputs", True)]
    own = {one["name"] for one in program["env"]}
    assert own >= {"PLAIN", "TOKEN", "FEDYARD_INPUTS", "FEDYARD_OUTPUTS"}
    assert "FILES" not in own
    for helper in (fetch, store):
        assert {one["name"] for one in helper["env"]} == {"FEDYARD_HUB_URL", "FILES"}


def test_inputs_alone_leave_the_program_in_its_place_and_no_files_leave_all_as_it_is() -> None:
    some = msgspec.structs.replace(FILED, files=Files("FILES", {"model": InputFile("0" * 64, 5)}))
    pod = manifests.workload(some, RULES)["spec"]["template"]["spec"]
    assert ([one["name"] for one in pod["initContainers"]], pod["containers"][0]["name"]) == (["inputs"], "workload")
    none = msgspec.structs.replace(FILED, files=Files("FILES"))
    assert "initContainers" not in manifests.workload(none, RULES)["spec"]["template"]["spec"]


def test_without_an_image_that_has_fedyard_there_are_no_files() -> None:
    with pytest.raises(ValueError, match="unpack_image"):
        manifests.workload(FILED, msgspec.structs.replace(RULES, unpack_image=""))
