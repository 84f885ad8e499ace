"""Which objects the server takes (422 otherwise). As far as manifests of workloads go."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Any

from tests.cluster.apiserver import names
from tests.cluster.apiserver import resources as r
from tests.cluster.apiserver.errors import Cause, bad_value, duplicate, forbidden_field, required, unsupported
from tests.cluster.apiserver.quantities import quantity
from tests.cluster.apiserver.resources import Resource
from tests.cluster.apiserver.selectors import matches_labels

Json = dict[str, Any]
Causes = list[Cause]

MAX_ANNOTATIONS = 256 * 1024
MAX_SECRET = 1024 * 1024
_NAME_RULES = {
    r.NAMESPACES: names.label_name_problem,
    r.SERVICES: names.service_name_problem,
    r.ROLES: names.path_segment_problem,
    r.BINDINGS: names.path_segment_problem,
    r.CLUSTER_ROLES: names.path_segment_problem,
    r.CLUSTER_BINDINGS: names.path_segment_problem,
}


def metadata(resource: Resource, obj: Json) -> Causes:
    meta = obj["metadata"]
    found: Causes = []
    name = meta.get("name", "")
    if problem := _NAME_RULES.get(resource, names.subdomain_problem)(name):
        found.append(bad_value("metadata.name", name, problem))
    found += labels("metadata.labels", meta.get("labels"))
    if resource is r.NAMESPACES:
        found += _pod_security_labels(meta.get("labels") or {})
    for key in meta.get("annotations") or {}:
        if problem := names.label_key_problem(key.lower()):
            found.append(bad_value("metadata.annotations", key, problem))
    if sum(len(k) + len(v or "") for k, v in (meta.get("annotations") or {}).items()) > MAX_ANNOTATIONS:
        found.append(Cause("FieldValueTooLong", "metadata.annotations", "Too long: may not be more than 262144 bytes"))
    for each in meta.get("finalizers") or []:
        if names.label_key_problem(each):
            found.append(bad_value("metadata.finalizers", each, "name part must be non-empty"))
        elif "/" not in each and each not in {"orphan", "foregroundDeletion", "kubernetes"}:
            why = "name is neither a standard finalizer name nor is it fully qualified"
            found.append(bad_value("metadata.finalizers[0]", each, why))
    return found + _owners(meta)


def _pod_security_labels(given: Json) -> Causes:
    levels = ("privileged", "baseline", "restricted")
    return [
        bad_value(f"metadata.labels[{key}]", value, f"must be one of {', '.join(levels)}")
        for key, value in given.items()
        if key in {f"pod-security.kubernetes.io/{mode}" for mode in ("enforce", "audit", "warn")}
        and value not in levels
    ]


def _owners(meta: Json) -> Causes:
    found: Causes = []
    for number, owner in enumerate(meta.get("ownerReferences") or []):
        at = f"metadata.ownerReferences[{number}]"
        found += [
            bad_value(f"{at}.{key}", owner.get(key, ""), "must not be empty")
            for key in ("apiVersion", "kind", "name", "uid")
            if not owner.get(key)
        ]
    if sum(1 for owner in meta.get("ownerReferences") or [] if owner.get("controller")) > 1:
        found.append(bad_value("metadata.ownerReferences", "", "Only one reference can have Controller set to true"))
    return found


def labels(path: str, given: Json | None) -> Causes:
    found: Causes = []
    for key, value in (given or {}).items():
        if problem := names.label_key_problem(key):
            found.append(bad_value(path, key, problem))
        if problem := names.label_value_problem(value or ""):
            found.append(bad_value(path, value, problem))
    return found


def selector(path: str, given: Json | None) -> Causes:
    found = labels(f"{path}.matchLabels", (given or {}).get("matchLabels"))
    for number, each in enumerate((given or {}).get("matchExpressions") or []):
        at = f"{path}.matchExpressions[{number}]"
        word, values = each.get("operator"), each.get("values") or []
        if problem := names.label_key_problem(each.get("key") or ""):
            found.append(bad_value(f"{at}.key", each.get("key") or "", problem))
        if word not in {"In", "NotIn", "Exists", "DoesNotExist"}:
            found.append(bad_value(f"{at}.operator", word, "not a valid selector operator"))
        elif word in {"In", "NotIn"} and not values:
            found.append(required(f"{at}.values", "must be specified when `operator` is 'In' or 'NotIn'"))
        elif word in {"Exists", "DoesNotExist"} and values:
            found.append(
                forbidden_field(f"{at}.values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'")
            )
    return found


def _amount(path: str, value: Any) -> Causes:
    try:
        amount = quantity(value)
    except ValueError as error:
        return [bad_value(path, value, str(error))]
    return [bad_value(path, str(value), "must be greater than or equal to 0")] if amount < 0 else []


_COMPUTE = ("cpu", "memory", "ephemeral-storage")


def container_resources(path: str, given: Json) -> Causes:
    found: Causes = []
    limits, requests = given.get("limits") or {}, given.get("requests") or {}
    for part, amounts in (("limits", limits), ("requests", requests)):
        for name, value in amounts.items():
            at = f"{path}.{part}[{name}]"
            found += _amount(at, value)
            if "/" not in name and name not in _COMPUTE and not name.startswith("hugepages-"):
                found.append(bad_value(f"{path}.{part}", name, "must be a standard resource for containers"))
            elif problem := names.label_key_problem(name):
                found.append(bad_value(f"{path}.{part}", name, problem))
    if found:
        return found
    for name, value in requests.items():
        extended = "/" in name
        if name in limits and quantity(value) > quantity(limits[name]):
            found.append(
                bad_value(
                    f"{path}.requests", str(value), f"must be less than or equal to {name} limit of {limits[name]}"
                )
            )
        elif extended and (name not in limits or quantity(limits[name]) != quantity(value)):
            found.append(bad_value(f"{path}.requests", str(value), f"must be equal to {name} limit"))
    return found


def _env(path: str, env: list[Json]) -> Causes:
    found: Causes = []
    for number, each in enumerate(env):
        at = f"{path}.env[{number}]"
        name = each.get("name") or ""
        if not name:
            found.append(required(f"{at}.name"))
        elif problem := names.env_name_problem(name):
            found.append(bad_value(f"{at}.name", name, problem))
        source = each.get("valueFrom")
        if source is None:
            continue
        if each.get("value"):
            found.append(bad_value(f"{at}.valueFrom", "", "may not be specified when `value` is not empty"))
        if len([kind for kind in source.values() if kind is not None]) != 1:
            found.append(bad_value(f"{at}.valueFrom", "", "may not have more than one field specified at a time"))
        if ref := source.get("fieldRef"):
            found += _field_ref(f"{at}.valueFrom.fieldRef", ref)
    return found


FIELDS = (
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
)


def _field_ref(path: str, ref: Json) -> Causes:
    field = ref.get("fieldPath") or ""
    if not field:
        return [required(f"{path}.fieldPath")]
    if field.startswith(("metadata.labels['", "metadata.annotations['")) or field in FIELDS:
        return []
    return [unsupported(f"{path}.fieldPath", field, FIELDS)]


def _mounts(path: str, mounts: list[Json], volumes: set[str]) -> Causes:
    found: Causes = []
    seen: set[str] = set()
    for number, mount in enumerate(mounts):
        at = f"{path}.volumeMounts[{number}]"
        name, where = mount.get("name") or "", mount.get("mountPath") or ""
        if not name:
            found.append(required(f"{at}.name"))
        elif name not in volumes:
            found.append(Cause("FieldValueNotFound", f"{at}.name", f'Not found: "{name}"'))
        if not where:
            found.append(required(f"{at}.mountPath"))
        elif where in seen:
            found.append(bad_value(f"{at}.mountPath", where, "must be unique"))
        elif ":" in where:
            found.append(bad_value(f"{at}.mountPath", where, "must not contain ':'"))
        seen.add(where)
        if mount.get("subPath") and mount.get("subPathExpr"):
            found.append(
                bad_value(f"{at}.subPathExpr", mount["subPathExpr"], "subPathExpr and subPath are mutually exclusive")
            )
        for field in ("subPath", "subPathExpr"):
            sub = mount.get(field) or ""
            if sub.startswith("/"):
                found.append(bad_value(f"{at}.{field}", sub, "must be a relative path"))
            if ".." in sub.split("/"):
                found.append(bad_value(f"{at}.{field}", sub, "must not contain '..'"))
    return found


def _probe(path: str, probe: Json) -> Causes:
    kinds = [kind for kind in ("exec", "httpGet", "tcpSocket", "grpc") if probe.get(kind) is not None]
    if not kinds:
        return [required(path, "must specify a handler type")]
    if len(kinds) > 1:
        return [forbidden_field(f"{path}.{kinds[1]}", "may not specify more than 1 handler type")]
    found: Causes = []
    for name in ("timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold", "initialDelaySeconds"):
        if probe.get(name, 0) < 0:
            found.append(bad_value(f"{path}.{name}", probe[name], "must be greater than or equal to 0"))
    if kinds == ["exec"] and not probe["exec"].get("command"):
        found.append(required(f"{path}.exec.command"))
    return found


def _container(path: str, container: Json, volumes: set[str]) -> Causes:
    found: Causes = []
    name, image = container.get("name") or "", container.get("image") or ""
    if not name:
        found.append(required(f"{path}.name"))
    elif problem := names.label_name_problem(name):
        found.append(bad_value(f"{path}.name", name, problem))
    if not image:
        found.append(required(f"{path}.image"))
    elif image.strip() != image:
        found.append(bad_value(f"{path}.image", image, "must not have leading or trailing whitespace"))
    policy = container.get("imagePullPolicy")
    if policy not in {"Always", "IfNotPresent", "Never"}:
        found.append(unsupported(f"{path}.imagePullPolicy", policy, ("Always", "IfNotPresent", "Never")))
    termination = container.get("terminationMessagePolicy")
    if termination not in {"File", "FallbackToLogsOnError"}:
        known = ("FallbackToLogsOnError", "File")
        found.append(unsupported(f"{path}.terminationMessagePolicy", termination, known))
    found += _env(path, container.get("env") or [])
    found += container_resources(f"{path}.resources", container.get("resources") or {})
    found += _mounts(path, container.get("volumeMounts") or [], volumes)
    found += _ports(path, container.get("ports") or [])
    for kind in ("readinessProbe", "livenessProbe", "startupProbe"):
        if container.get(kind):
            found += _probe(f"{path}.{kind}", container[kind])
    security = container.get("securityContext") or {}
    if security.get("allowPrivilegeEscalation") is False and security.get("privileged"):
        at = f"{path}.securityContext"
        found.append(bad_value(at, "", "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"))
    return found + _security(f"{path}.securityContext", security)


def _ports(path: str, ports: list[Json]) -> Causes:
    found: Causes = []
    for number, port in enumerate(ports):
        at = f"{path}.ports[{number}]"
        if not 0 < (port.get("containerPort") or 0) < 65536:
            found.append(
                bad_value(f"{at}.containerPort", port.get("containerPort"), "must be between 1 and 65535, inclusive")
            )
        name = port.get("name")
        if name and (len(name) > 15 or names.label_name_problem(name)):
            found.append(bad_value(f"{at}.name", name, "must be no more than 15 characters"))
        if port.get("protocol") not in {"TCP", "UDP", "SCTP"}:
            found.append(unsupported(f"{at}.protocol", port.get("protocol"), ("SCTP", "TCP", "UDP")))
    return found


def _security(path: str, context: Json) -> Causes:
    found: Causes = []
    for name in ("runAsUser", "runAsGroup", "fsGroup"):
        value = context.get(name)
        if value is not None and not 0 <= value <= 2147483647:
            found.append(bad_value(f"{path}.{name}", value, "must be between 0 and 2147483647, inclusive"))
    profile = (context.get("seccompProfile") or {}).get("type", "RuntimeDefault")
    if profile not in {"RuntimeDefault", "Localhost", "Unconfined"}:
        known = ("Localhost", "RuntimeDefault", "Unconfined")
        found.append(unsupported(f"{path}.seccompProfile.type", profile, known))
    return found


_VOLUME_KINDS = (
    "emptyDir", "secret", "configMap", "persistentVolumeClaim", "projected", "hostPath", "nfs", "downwardAPI",
    "ephemeral", "csi", "image", "iscsi", "fc", "cephfs", "gcePersistentDisk",
)  # fmt: skip


def _volumes(path: str, volumes: list[Json]) -> Causes:
    found: Causes = []
    seen: set[str] = set()
    for number, volume in enumerate(volumes):
        at = f"{path}[{number}]"
        name = volume.get("name") or ""
        if not name:
            found.append(required(f"{at}.name"))
        elif problem := names.label_name_problem(name):
            found.append(bad_value(f"{at}.name", name, problem))
        elif name in seen:
            found.append(duplicate(f"{at}.name", name))
        seen.add(name)
        kinds = [kind for kind in _VOLUME_KINDS if volume.get(kind) is not None]
        if not kinds:
            found.append(required(at, "must specify a volume type"))
        found += [forbidden_field(f"{at}.{kind}", "may not specify more than 1 volume type") for kind in kinds[1:]]
        if (volume.get("emptyDir") or {}).get("sizeLimit") is not None:
            found += _amount(f"{at}.emptyDir.sizeLimit", volume["emptyDir"]["sizeLimit"])
        if volume.get("persistentVolumeClaim") is not None and not volume["persistentVolumeClaim"].get("claimName"):
            found.append(required(f"{at}.persistentVolumeClaim.claimName"))
    return found


def pod_spec(path: str, spec: Json, *, restart: tuple[str, ...] = ("Always", "OnFailure", "Never")) -> Causes:
    found = _volumes(f"{path}.volumes", spec.get("volumes") or [])
    volumes = {volume.get("name", "") for volume in spec.get("volumes") or []}
    if not spec.get("containers"):
        found.append(required(f"{path}.containers"))
    seen: set[str] = set()
    for kind in ("initContainers", "containers"):
        for number, container in enumerate(spec.get(kind) or []):
            at = f"{path}.{kind}[{number}]"
            found += _container(at, container, volumes)
            if container.get("name") in seen:
                found.append(duplicate(f"{at}.name", container["name"]))
            seen.add(container.get("name", ""))
    if spec.get("restartPolicy") not in restart:
        found.append(unsupported(f"{path}.restartPolicy", spec.get("restartPolicy"), restart))
    if spec.get("dnsPolicy") not in {"ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"}:
        known = ("ClusterFirst", "ClusterFirstWithHostNet", "Default", "None")
        found.append(unsupported(f"{path}.dnsPolicy", spec.get("dnsPolicy"), known))
    if (spec.get("terminationGracePeriodSeconds") or 0) < 0:
        at = f"{path}.terminationGracePeriodSeconds"
        found.append(bad_value(at, spec["terminationGracePeriodSeconds"], "must be greater than or equal to 0"))
    deadline = spec.get("activeDeadlineSeconds")
    if deadline is not None and not 1 <= deadline <= 2147483647:
        found.append(
            bad_value(f"{path}.activeDeadlineSeconds", deadline, "must be between 1 and 2147483647, inclusive")
        )
    found += labels(f"{path}.nodeSelector", spec.get("nodeSelector"))
    found += _security(f"{path}.securityContext", spec.get("securityContext") or {})
    for field in ("hostname", "subdomain"):
        if spec.get(field) and (problem := names.label_name_problem(spec[field])):
            found.append(bad_value(f"{path}.{field}", spec[field], problem))
    if spec.get("serviceAccountName") and (problem := names.subdomain_problem(spec["serviceAccountName"])):
        found.append(bad_value(f"{path}.serviceAccountName", spec["serviceAccountName"], problem))
    return found + _tolerations(path, spec.get("tolerations") or []) + _spread(path, spec)


def _tolerations(path: str, tolerations: list[Json]) -> Causes:
    found: Causes = []
    for number, each in enumerate(tolerations):
        at = f"{path}.tolerations[{number}]"
        key, word = each.get("key") or "", each.get("operator") or "Equal"
        if key and (problem := names.label_key_problem(key)):
            found.append(bad_value(f"{at}.key", key, problem))
        if not key and word != "Exists":
            why = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
            found.append(bad_value(f"{at}.operator", word, why))
        if word == "Exists" and each.get("value"):
            found.append(bad_value(f"{at}.operator", word, "value must be empty when `operator` is 'Exists'"))
        if word not in {"Exists", "Equal"}:
            found.append(unsupported(f"{at}.operator", word, ("Equal", "Exists")))
        effects = ("NoSchedule", "PreferNoSchedule", "NoExecute")
        if each.get("effect") and each["effect"] not in effects:
            found.append(unsupported(f"{at}.effect", each["effect"], effects))
        if each.get("tolerationSeconds") is not None and each.get("effect") != "NoExecute":
            found.append(
                bad_value(
                    f"{at}.effect", each.get("effect", ""), "effect must be 'NoExecute' when `tolerationSeconds` is set"
                )
            )
    return found


def _spread(path: str, spec: Json) -> Causes:
    found: Causes = []
    for number, each in enumerate(spec.get("topologySpreadConstraints") or []):
        at = f"{path}.topologySpreadConstraints[{number}]"
        if (each.get("maxSkew") or 0) <= 0:
            found.append(bad_value(f"{at}.maxSkew", each.get("maxSkew", 0), "must be greater than zero"))
        if not each.get("topologyKey"):
            found.append(required(f"{at}.topologyKey", "can not be empty"))
        if each.get("whenUnsatisfiable") not in {"DoNotSchedule", "ScheduleAnyway"}:
            known = ("DoNotSchedule", "ScheduleAnyway")
            found.append(unsupported(f"{at}.whenUnsatisfiable", each.get("whenUnsatisfiable"), known))
        found += selector(f"{at}.labelSelector", each.get("labelSelector"))
    return found


def _template(path: str, template: Json, restart: tuple[str, ...]) -> Causes:
    meta = template.get("metadata") or {}
    found = labels(f"{path}.labels", meta.get("labels"))
    for key in meta.get("annotations") or {}:
        if problem := names.label_key_problem(key.lower()):
            found.append(bad_value(f"{path}.annotations", key, problem))
    return found + pod_spec(f"{path}.spec", template.get("spec") or {}, restart=restart)


def _pod(obj: Json) -> Causes:
    return pod_spec("spec", obj["spec"])


def _job(obj: Json) -> Causes:
    spec = obj["spec"]
    found: Causes = []
    for name in ("parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished"):
        if (spec.get(name) or 0) < 0:
            found.append(bad_value(f"spec.{name}", spec[name], "must be greater than or equal to 0"))
    if spec["completionMode"] not in {"NonIndexed", "Indexed"}:
        found.append(unsupported("spec.completionMode", spec["completionMode"], ("Indexed", "NonIndexed")))
    elif spec["completionMode"] == "Indexed" and spec.get("completions") is None:
        found.append(required("spec.completions", "when completion mode is Indexed"))
    if spec["podReplacementPolicy"] not in {"TerminatingOrFailed", "Failed"}:
        known = ("Failed", "TerminatingOrFailed")
        found.append(unsupported("spec.podReplacementPolicy", spec["podReplacementPolicy"], known))
    template = spec["template"]
    found += _template("spec.template", template, ("Always", "OnFailure", "Never"))
    policy = (template.get("spec") or {}).get("restartPolicy")
    if policy == "Always":  # the pods' own default, which a Job does not take
        found.append(
            Cause(
                "FieldValueRequired",
                "spec.template.spec.restartPolicy",
                'Required value: valid values: "OnFailure", "Never"',
            )
        )
    if spec.get("podFailurePolicy") and policy != "Never":
        found.append(
            bad_value(
                "spec.template.spec.restartPolicy",
                policy,
                'only "Never" is supported when podFailurePolicy is specified',
            )
        )
    return found


def _workload(obj: Json) -> Causes:
    spec = obj["spec"]
    found: Causes = []
    if (spec.get("replicas") or 0) < 0:
        found.append(bad_value("spec.replicas", spec["replicas"], "must be greater than or equal to 0"))
    chosen = spec.get("selector")
    if chosen is None:
        found.append(required("spec.selector"))
    elif not (chosen.get("matchLabels") or chosen.get("matchExpressions")):
        found.append(bad_value("spec.selector", "", "empty selector is invalid for deployment"))
    else:
        wrong = selector("spec.selector", chosen)
        found += wrong
        given = (spec["template"].get("metadata") or {}).get("labels")
        if not wrong and not matches_labels(chosen, given):
            found.append(
                bad_value("spec.template.metadata.labels", str(given), "`selector` does not match template `labels`")
            )
    template = spec["template"].get("spec") or {}
    if template.get("activeDeadlineSeconds") is not None:
        found.append(
            forbidden_field(
                "spec.template.spec.activeDeadlineSeconds", "activeDeadlineSeconds in ReplicaSet is not Supported"
            )
        )
    return found + _template("spec.template", spec["template"], ("Always",))


def _service(obj: Json) -> Causes:
    spec = obj["spec"]
    found: Causes = []
    kinds = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
    if spec["type"] not in kinds:
        found.append(unsupported("spec.type", spec["type"], kinds))
    ports = spec.get("ports") or []
    headless = spec.get("clusterIP") == "None"
    if not ports and not headless and spec["type"] != "ExternalName":
        found.append(required("spec.ports"))
    if headless and spec["type"] in {"NodePort", "LoadBalancer"}:
        found.append(bad_value("spec.clusterIPs[0]", "None", "may not be set to 'None' for LoadBalancer services"))
    for number, port in enumerate(ports):
        at = f"spec.ports[{number}]"
        if not 0 < (port.get("port") or 0) < 65536:
            found.append(bad_value(f"{at}.port", port.get("port", 0), "must be between 1 and 65535, inclusive"))
        if len(ports) > 1 and not port.get("name"):
            found.append(required(f"{at}.name"))
        if port.get("name") and (problem := names.label_name_problem(port["name"])):
            found.append(bad_value(f"{at}.name", port["name"], problem))
        node = port.get("nodePort") or 0
        if node and spec["type"] == "ClusterIP":
            found.append(forbidden_field(f"{at}.nodePort", "may not be used when `type` is 'ClusterIP'"))
        elif node and not 30000 <= node <= 32767:
            found.append(
                bad_value(
                    f"{at}.nodePort",
                    node,
                    "provided port is not in the valid range. The range of valid ports is 30000-32767",
                )
            )
    return found + labels("spec.selector", spec.get("selector"))


def _data(obj: Json) -> Causes:
    found: Causes = []
    size = 0
    for key, value in ((obj.get("data") or {}) | (obj.get("binaryData") or {})).items():
        if problem := names.key_problem(key):
            found.append(bad_value(f"data[{key}]", key, problem))
        size += len(value or "")
    if size > MAX_SECRET * 4 // 3:
        found.append(Cause("FieldValueTooLong", "data", f"Too long: may not be more than {MAX_SECRET} bytes"))
    return found


def _claim(obj: Json) -> Causes:
    spec = obj["spec"]
    found: Causes = []
    modes = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
    if not spec.get("accessModes"):
        found.append(required("spec.accessModes", "at least 1 access mode is required"))
    found += [
        unsupported("spec.accessModes", each, modes) for each in spec.get("accessModes") or [] if each not in modes
    ]
    size = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    return found + (
        _amount("spec.resources[storage]", size) if size is not None else [required("spec.resources[storage]")]
    )


def _quota(obj: Json) -> Causes:
    return [
        cause
        for name, value in (obj.get("spec", {}).get("hard") or {}).items()
        for cause in _amount(f"spec.hard[{name}]", value)
    ]


def _limit_range(obj: Json) -> Causes:
    found: Causes = []
    for number, item in enumerate(obj["spec"].get("limits") or []):
        at = f"spec.limits[{number}]"
        if item.get("type") not in {"Container", "Pod", "PersistentVolumeClaim"}:
            found.append(bad_value(f"{at}.type", item.get("type"), "must be a standard limit type or fully qualified"))
        for part in ("max", "min", "default", "defaultRequest"):
            if part.startswith("default") and item.get("type") == "Pod" and item.get(part):
                found.append(forbidden_field(f"{at}.{part}", "may not be specified when `type` is 'Pod'"))
            for name, value in (item.get(part) or {}).items():
                found += _amount(f"{at}.{part}[{name}]", value)
        top = item.get("max") or {}
        for name, value in (item.get("default") or {}).items():
            if not found and name in top and quantity(value) > quantity(top[name]):
                found.append(
                    bad_value(
                        f"{at}.default[{name}]", value, f"default value {value} is greater than max value {top[name]}"
                    )
                )
    return found


def _policy(obj: Json) -> Causes:
    spec = obj["spec"]
    found = selector("spec.podSelector", spec.get("podSelector") or {})
    for kind in spec.get("policyTypes") or []:
        if kind not in {"Ingress", "Egress"}:
            found.append(unsupported("spec.policyTypes[0]", kind, ("Egress", "Ingress")))
    for direction, peers in (("ingress", "from"), ("egress", "to")):
        for number, rule in enumerate(spec.get(direction) or []):
            for place, peer in enumerate(rule.get(peers) or []):
                at = f"spec.{direction}[{number}].{peers}[{place}]"
                if not any(peer.get(kind) is not None for kind in ("podSelector", "namespaceSelector", "ipBlock")):
                    found.append(required(at, "must specify a peer"))
                if peer.get("ipBlock") and (peer.get("podSelector") or peer.get("namespaceSelector")):
                    found.append(forbidden_field(at, "may not specify both ipBlock and another peer"))
    return found


def _role(obj: Json) -> Causes:
    found: Causes = []
    for number, rule in enumerate(obj.get("rules") or []):
        if not rule.get("verbs"):
            found.append(required(f"rules[{number}].verbs", "verbs must contain at least one value"))
        if not rule.get("nonResourceURLs"):
            if not rule.get("apiGroups"):
                found.append(
                    required(f"rules[{number}].apiGroups", "resource rules must supply at least one api group")
                )
            if not rule.get("resources"):
                found.append(required(f"rules[{number}].resources", "resource rules must supply at least one resource"))
    return found


def _binding(obj: Json) -> Causes:
    ref = obj.get("roleRef") or {}
    found = [] if ref.get("name") else [required("roleRef.name")]
    if ref.get("apiGroup", r.ROLES.group) != r.ROLES.group:
        found.append(unsupported("roleRef.apiGroup", ref.get("apiGroup"), (r.ROLES.group,)))
    for number, subject in enumerate(obj.get("subjects") or []):
        if subject.get("kind") == "ServiceAccount" and not subject.get("namespace"):
            found.append(required(f"subjects[{number}].namespace"))
    return found


def _event(obj: Json) -> Causes:
    about = obj.get("involvedObject") or {}
    if about.get("namespace", "") != obj["metadata"].get("namespace", "") and about.get("namespace"):
        return [bad_value("involvedObject.namespace", about.get("namespace"), "does not match event.namespace")]
    return []


def _lease(obj: Json) -> Causes:
    spec = obj.get("spec") or {}
    found: Causes = []
    for name in ("leaseDurationSeconds",):
        if spec.get(name) is not None and spec[name] <= 0:
            found.append(bad_value(f"spec.{name}", spec[name], "must be greater than 0"))
    if spec.get("leaseTransitions") is not None and spec["leaseTransitions"] < 0:
        found.append(bad_value("spec.leaseTransitions", spec["leaseTransitions"], "must be greater than or equal to 0"))
    return found


_RULES: dict[Resource, Callable[[Json], Causes]] = {
    r.PODS: _pod,
    r.JOBS: _job,
    r.DEPLOYMENTS: _workload,
    r.REPLICA_SETS: _workload,
    r.STATEFUL_SETS: _workload,
    r.SERVICES: _service,
    r.SECRETS: _data,
    r.CONFIG_MAPS: _data,
    r.CLAIMS: _claim,
    r.QUOTAS: _quota,
    r.LIMIT_RANGES: _limit_range,
    r.POLICIES: _policy,
    r.ROLES: _role,
    r.CLUSTER_ROLES: _role,
    r.BINDINGS: _binding,
    r.CLUSTER_BINDINGS: _binding,
    r.EVENTS: _event,
    r.LEASES: _lease,
}


def new_object(resource: Resource, obj: Json) -> Causes:
    return metadata(resource, obj) + (_RULES[resource](obj) if resource in _RULES else [])


def secret_bytes(obj: Json) -> str | None:
    """Why its data cannot be decoded (400 at the real one), or None."""
    for key, value in (obj.get("data") or {}).items():
        try:
            base64.b64decode(value or "", validate=True)
        except (binascii.Error, ValueError):
            why = f"illegal base64 data at input byte 0 (data.{key})"
            return f'Secret in version "v1" cannot be handled as a Secret: {why}'
    return None


def _same(path: str, new: Json, old: Json, *, but: tuple[str, ...] = ()) -> Causes:
    one, two = ({k: v for k, v in each.items() if k not in but} for each in (new, old))
    return [] if one == two else [bad_value(path, "", "field is immutable")]


def _job_change(new: Json, old: Json) -> Causes:
    now, was = new["spec"], old["spec"]
    found: Causes = []
    for name in ("completions", "selector", "completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy"):
        if now.get(name) != was.get(name):
            found.append(bad_value(f"spec.{name}", str(now.get(name)), "field is immutable"))
    if was.get("suspend") and not (old.get("status") or {}).get("startTime"):
        return found  # its scheduling may still be told
    return found + _same("spec.template", now["template"], was["template"])


_DEPLOYMENT_MUTABLE = (
    "replicas", "template", "strategy", "minReadySeconds", "revisionHistoryLimit", "paused", "progressDeadlineSeconds",
)  # fmt: skip
_STATEFUL_MUTABLE = (
    "replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy", "minReadySeconds",
)  # fmt: skip


def _deployment_change(new: Json, old: Json) -> Causes:
    return _same("spec.selector", new["spec"]["selector"], old["spec"]["selector"])


def _stateful_change(new: Json, old: Json) -> Causes:
    if _same("spec", new["spec"], old["spec"], but=_STATEFUL_MUTABLE):
        why = "updates to statefulset spec for fields other than " + ", ".join(f"'{n}'" for n in _STATEFUL_MUTABLE)
        return [forbidden_field("spec", f"{why} are forbidden")]
    return []


def _pod_change(new: Json, old: Json) -> Causes:
    now, was = new["spec"], old["spec"]
    strip = ("activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds")

    def bare(spec: Json) -> Json:
        kept = {key: value for key, value in spec.items() if key not in strip}
        for kind in ("containers", "initContainers"):
            if kept.get(kind):
                kept[kind] = [{k: v for k, v in each.items() if k != "image"} for each in kept[kind]]
        return kept

    if bare(now) != bare(was):
        why = (
            "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
            "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
            "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
        )
        return [forbidden_field("spec", why)]
    return []


def _service_change(new: Json, old: Json) -> Causes:
    now, was = new["spec"].get("clusterIP"), old["spec"].get("clusterIP")
    if now != was and new["spec"]["type"] != "ExternalName":
        return [bad_value("spec.clusterIPs[0]", str(now), "may not change once set")]
    return []


def _secret_change(new: Json, old: Json) -> Causes:
    found: Causes = []
    if new.get("type") != old.get("type"):
        found.append(bad_value("type", new.get("type"), "field is immutable"))
    return found + _frozen_data(new, old)


def _frozen_data(new: Json, old: Json) -> Causes:
    if not old.get("immutable"):
        return []
    if not new.get("immutable"):
        return [forbidden_field("immutable", "field is immutable when `immutable` is set")]
    if new.get("data") != old.get("data"):
        return [forbidden_field("data", "field is immutable when `immutable` is set")]
    return []


def _claim_change(new: Json, old: Json) -> Causes:
    if _same("spec", new["spec"], old["spec"], but=("resources", "volumeName", "volumeAttributesClassName")):
        why = (
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"
        )
        return [forbidden_field("spec", why)]
    return []


def _binding_change(new: Json, old: Json) -> Causes:
    return [] if new["roleRef"] == old["roleRef"] else [bad_value("roleRef", "", "cannot change roleRef")]


_CHANGE_RULES: dict[Resource, Callable[[Json, Json], Causes]] = {
    r.PODS: _pod_change,
    r.JOBS: _job_change,
    r.DEPLOYMENTS: _deployment_change,
    r.REPLICA_SETS: _deployment_change,
    r.STATEFUL_SETS: _stateful_change,
    r.SERVICES: _service_change,
    r.SECRETS: _secret_change,
    r.CONFIG_MAPS: _frozen_data,
    r.CLAIMS: _claim_change,
    r.BINDINGS: _binding_change,
    r.CLUSTER_BINDINGS: _binding_change,
}


def changed_object(resource: Resource, new: Json, old: Json) -> Causes:
    found = new_object(resource, new)
    if old["metadata"].get("deletionTimestamp"):
        added = set(new["metadata"].get("finalizers") or []) - set(old["metadata"].get("finalizers") or [])
        if added:
            why = f"no new finalizers can be added if the object is being deleted, found new finalizers {sorted(added)}"
            found.append(forbidden_field("metadata.finalizers", why))
    return found + (_CHANGE_RULES[resource](new, old) if resource in _CHANGE_RULES else [])
