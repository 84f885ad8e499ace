"""What the checkout says of the hub's processes, and of how it is deployed."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ops.supervisor import read_procfile

ROOT = Path(__file__).resolve().parents[2]
KUSTOMIZED = ROOT / "k8s" / "deploy"
UNITS = ROOT / "ops" / "systemd"
USER = 10001
"""As whom the image's processes run."""

Object = dict[str, Any]


@dataclass(frozen=True)
class Process:
    """A line of the Procfile: what Python is told, and the environment in front of it."""

    arguments: list[str]
    environment: dict[str, str]


def processes() -> dict[str, Process]:
    """By name."""
    found = {}
    for name, command in read_procfile(ROOT / "Procfile").items():
        words = shlex.split(command)
        at = words.index(".venv/bin/python")
        said = dict(word.split("=", 1) for word in words[1:at])
        found[name] = Process(words[at + 1 :], said)
    return found


def documents(path: Path) -> list[Object]:
    return [one for one in yaml.safe_load_all(path.read_text()) if one is not None]


def kustomized(folder: Path) -> list[Object]:
    """The objects of a folder: as much of kustomize as ours need. What is not known here is refused."""
    return _kustomized(folder, [])


def _kustomized(folder: Path, objects: list[Object]) -> list[Object]:
    said = documents(folder / "kustomization.yaml")[0]
    assert said.pop("apiVersion").startswith("kustomize.config.k8s.io/")
    component = said.pop("kind") == "Component"
    found = objects if component else []
    for resource in said.pop("resources", []):
        at = (folder / resource).resolve()
        found += _kustomized(at, []) if at.is_dir() else documents(at)
    for each in said.pop("components", []):
        _kustomized((folder / each).resolve(), found)
    for wanted in said.pop("configMapGenerator", []):
        _generate(found, wanted, folder)
    for patch in said.pop("patches", []):
        _patch(found, patch)
    if namespace := said.pop("namespace", ""):
        for one in found:
            _put_into(one, namespace)
    for image in said.pop("images", []):
        for container in containers(found):
            if container["image"] == image["name"]:
                container["image"] = f"{image['newName']}:{image['newTag']}"
    assert not said, f"{folder}: {said} is more of kustomize than this knows"
    return found


def _generate(objects: list[Object], wanted: Object, folder: Path) -> None:
    content = dict(literal.split("=", 1) for literal in wanted.get("literals", []))
    content |= {name: (folder / name).read_text() for name in wanted.get("files", [])}
    there = [one for one in objects if one["kind"] == "ConfigMap" and one["metadata"]["name"] == wanted["name"]]
    match wanted.get("behavior"):
        case "merge":
            there[0]["data"].update(content)
            return
        case "replace":
            there[0]["data"] = content
            return
    assert not there
    metadata = {"name": wanted["name"]}
    objects.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": content})


def _patch(objects: list[Object], patch: Object) -> None:
    names = patch["target"]["name"].split("|")
    chosen = {one["metadata"]["name"]: one for one in objects if one["kind"] == patch["target"]["kind"]}
    for name in names:
        for step in yaml.safe_load(patch["patch"]):
            assert step["op"] == "add"
            *way, end = step["path"].strip("/").split("/")
            assert end == "-"
            at: Any = chosen[name]
            for part in way:
                at = at[int(part) if part.isdigit() else part]
            at.append(step["value"])


CLUSTER_WIDE = ("ClusterRole", "ClusterRoleBinding")


def _put_into(one: Object, namespace: str) -> None:
    if one["kind"] == "Namespace":
        one["metadata"]["name"] = namespace
    elif one["kind"] not in CLUSTER_WIDE:
        one["metadata"]["namespace"] = namespace
    for subject in one.get("subjects", []):
        subject["namespace"] = namespace


def pod(one: Object) -> Object | None:
    """The spec of the pods that it makes, if it makes any."""
    return one["spec"]["template"]["spec"] if one["kind"] in {"Deployment", "Job"} else None


def containers(objects: list[Object]) -> list[Object]:
    return [container for one in objects if (spec := pod(one)) for container in spec["containers"]]


def named(objects: list[Object], kind: str) -> dict[str, Object]:
    return {one["metadata"]["name"]: one for one in objects if one["kind"] == kind}
