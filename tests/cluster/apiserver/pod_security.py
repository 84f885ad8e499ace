"""The Pod Security Standard `restricted` (with `baseline` in it): what violates it, in the server's words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Json = dict[str, Any]

_RESTRICTED_VOLUMES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
}
_CAPABILITIES = {
    "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP",
    "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
}  # fmt: skip


def _named(containers: list[Json]) -> str:
    shown = ", ".join(f'"{each["name"]}"' for each in containers)
    return f"container{'s' if len(containers) > 1 else ''} {shown}"


def _baseline(spec: Json, containers: list[Json]) -> Iterator[str]:
    hosts = [name for name in ("hostNetwork", "hostPID", "hostIPC") if spec.get(name)]
    if hosts:
        yield f"host namespaces ({', '.join(f'{name}=true' for name in hosts)})"
    paths = [volume["name"] for volume in spec.get("volumes") or [] if volume.get("hostPath") is not None]
    if paths:
        yield f'hostPath volumes (volume "{paths[0]}")'
    privileged = [each for each in containers if (each.get("securityContext") or {}).get("privileged")]
    if privileged:
        yield f"privileged ({_named(privileged)} must not set securityContext.privileged=true)"
    for each in containers:
        ports = [port for port in each.get("ports") or [] if port.get("hostPort")]
        if ports:
            yield f"hostPort ({_named([each])} uses hostPort {ports[0]['hostPort']})"
        added = (((each.get("securityContext") or {}).get("capabilities") or {}).get("add")) or []
        if set(added) - _CAPABILITIES:
            where = "in securityContext.capabilities.add"
            yield f"non-default capabilities ({_named([each])} must not include {sorted(added)} {where})"


def _restricted(spec: Json, containers: list[Json]) -> Iterator[str]:
    whole = spec.get("securityContext") or {}

    def own(container: Json) -> Json:
        return container.get("securityContext") or {}

    wrong = [each for each in containers if own(each).get("allowPrivilegeEscalation") is not False]
    if wrong:
        must = "must set securityContext.allowPrivilegeEscalation=false"
        yield f"allowPrivilegeEscalation != false ({_named(wrong)} {must})"
    wrong = [each for each in containers if "ALL" not in ((own(each).get("capabilities") or {}).get("drop") or [])]
    if wrong:
        yield f'unrestricted capabilities ({_named(wrong)} must set securityContext.capabilities.drop=["ALL"])'
    wrong = [
        each
        for each in containers
        if set((own(each).get("capabilities") or {}).get("add") or []) - {"NET_BIND_SERVICE"}
    ]
    if wrong:
        yield f"unrestricted capabilities ({_named(wrong)} must not include others in securityContext.capabilities.add)"
    for volume in spec.get("volumes") or []:
        kinds = set(volume) - {"name"}
        if kinds - _RESTRICTED_VOLUMES:
            uses = f'uses restricted volume type "{min(kinds)}"'
            yield f'restricted volume types (volume "{volume["name"]}" {uses})'
    wrong = [each for each in containers if own(each).get("runAsNonRoot", whole.get("runAsNonRoot")) is not True]
    if wrong:
        yield f"runAsNonRoot != true (pod or {_named(wrong)} must set securityContext.runAsNonRoot=true)"
    wrong = [each for each in containers if own(each).get("runAsUser", whole.get("runAsUser")) == 0]
    if wrong:
        yield f"runAsUser=0 (pod or {_named(wrong)} must not set runAsUser=0)"
    good = {"RuntimeDefault", "Localhost"}
    wrong = [
        each
        for each in containers
        if ((own(each).get("seccompProfile") or whole.get("seccompProfile") or {}).get("type")) not in good
    ]
    if wrong:
        yield (
            f"seccompProfile (pod or {_named(wrong)} must set securityContext.seccompProfile.type to "
            '"RuntimeDefault" or "Localhost")'
        )


def violations(level: str, spec: Json) -> list[str]:
    """level: `privileged`, `baseline` or `restricted`."""
    containers = (spec.get("initContainers") or []) + (spec.get("containers") or [])
    found: list[str] = []
    if level in {"baseline", "restricted"}:
        found += _baseline(spec, containers)
    if level == "restricted":
        found += _restricted(spec, containers)
    return found
