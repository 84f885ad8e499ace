"""The operations on objects, as the real server's generic registry has them, without HTTP: create, get, list, update,
patch, delete. Controllers use the same as clients."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import random
import uuid
from collections.abc import Callable
from typing import Any, NamedTuple

from tests.cluster.apiserver import admission, defaults, ownership, patches, schema, validation
from tests.cluster.apiserver import resources as r
from tests.cluster.apiserver.clock import Clock, stamp
from tests.cluster.apiserver.errors import (
    ApiError,
    already_exists,
    bad_request,
    conflict,
    expired,
    forbidden,
    invalid,
    not_found,
    required,
    stale,
    unsupported,
)
from tests.cluster.apiserver.quantities import canonical
from tests.cluster.apiserver.resources import Resource
from tests.cluster.apiserver.selectors import field_selector, label_selector
from tests.cluster.apiserver.store import Key, Store, copied, key_of

Json = dict[str, Any]

_SUFFIX = "bcdfghjklmnpqrstvwxz2456789"
_KEPT = (
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "name",
    "namespace",
)
_OF_METADATA = ("labels", "annotations", "finalizers", "ownerReferences", "managedFields")
POLICIES = ("Orphan", "Background", "Foreground")


class Written(NamedTuple):
    """warnings: what goes into `Warning` headers."""

    obj: Json
    created: bool
    warnings: list[str]


class Options(NamedTuple):
    """Of a deletion. policy: empty: the resource's own. grace_s: None: the object's own."""

    policy: str = ""
    grace_s: int | None = None
    uid: str | None = None
    version: str | None = None
    dry_run: bool = False


BY_DEFAULT = Options()


def suffix(length: int = 5) -> str:
    """What `generateName` adds."""
    return "".join(random.choices(_SUFFIX, k=length))


def hashed(value: Any) -> str:
    """Ten characters that say a template's content, as a Deployment's ReplicaSets are called."""
    digest = hashlib.sha256(json.dumps(value, sort_keys=True).encode()).digest()
    return "".join(_SUFFIX[byte % len(_SUFFIX)] for byte in digest[:10])


class Api:
    """services: gives a new Service its addresses and ports, and refuses those that are taken."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self.store = store
        self.clock = clock
        self.address_service: Callable[[Json, Json | None], None] = lambda _new, _old: None

    # ------------------------------------------------------------ reading

    def get(self, resource: Resource, namespace: str, name: str) -> Json:
        found = self.store.get(Key(resource, namespace, name))
        if found is None:
            raise not_found(resource, name)
        return found

    def find(self, resource: Resource, namespace: str, name: str) -> Json | None:
        return self.store.get(Key(resource, namespace, name))

    def list(self, resource: Resource, namespace: str, query: dict[str, str]) -> Json:
        """The answer of a list: `limit` and `continue`, both selectors. Its items do not say their kind."""
        limit = max(0, _whole("limit", query.get("limit") or "0"))
        self._known_version(query.get("resourceVersion", ""))
        matches = selecting(resource, query)
        with self.store.lock:
            version, after = self.store.version, None
            if query.get("continue"):
                version, after = self._continued(query["continue"])
                objects = self.store.as_of(resource, namespace, version)
            else:
                objects = self.store.all(resource, namespace)
        objects = [obj for obj in objects if matches(obj)]
        if after is not None:
            objects = [obj for obj in objects if list(key_of(resource, obj)[1:]) > after]
        meta: Json = {"resourceVersion": str(version)}
        if limit and len(objects) > limit:
            rest = len(objects) - limit
            objects = objects[:limit]
            start = list(key_of(resource, objects[-1])[1:])
            token = json.dumps({"v": "meta.k8s.io/v1", "rv": version, "start": start})
            meta["continue"] = base64.urlsafe_b64encode(token.encode()).decode().rstrip("=")
            if not query.get("labelSelector") and not query.get("fieldSelector"):
                meta["remainingItemCount"] = rest
        items = [{k: v for k, v in obj.items() if k not in {"kind", "apiVersion"}} for obj in objects]
        return {"kind": f"{resource.kind}List", "apiVersion": resource.api_version, "metadata": meta, "items": items}

    def _continued(self, token: str) -> tuple[int, list[str]]:
        try:
            said = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
            version, start = int(said["rv"]), [str(part) for part in said["start"]]
        except (ValueError, KeyError, TypeError) as error:
            raise bad_request(f"continue key is not valid: {error}") from error
        if version < self.store.compacted:
            raise expired(
                "The provided continue parameter is too old to display a consistent list result. You can start a new "
                "list without the continue parameter, or use the continue token in this response to retrieve the "
                "remainder of the results. Continuing with the provided token results in an inconsistent list - "
                "objects that were created, modified, or deleted between the time the first chunk was returned and "
                "now may show up in the list."
            )
        return version, start

    def _known_version(self, text: str) -> None:
        if not text:
            return
        if not text.isdigit():
            raise bad_request(
                f'resourceVersion: Invalid value: "{text}": strconv.ParseUint: parsing "{text}": invalid syntax'
            )
        if int(text) > self.store.version:
            message = f"Too large resource version: {text}, current: {self.store.version}"
            raise ApiError(504, "Timeout", message, {"retryAfterSeconds": 1})

    # ------------------------------------------------------------ creating

    def create(
        self,
        resource: Resource,
        namespace: str,
        body: Json,
        *,
        strict: bool = False,
        dry_run: bool = False,
        manager: str = "unknown",
    ) -> Written:
        obj, warned = self._decoded(resource, body, strict=strict)
        obj["metadata"] = meta = dict(obj.get("metadata") or {})
        self._in_namespace(resource, namespace, meta)
        if meta.get("resourceVersion"):
            raise ApiError(500, "", "resourceVersion should not be set on objects to be created")
        if not meta.get("name") and meta.get("generateName"):
            meta["name"] = meta["generateName"][:58] + suffix()
        with self.store.lock:
            self._open_namespace(resource, namespace, meta.get("name", ""))
            defaults.fill(resource, obj)
            self._fresh(resource, obj)
            admission.mutate(self.store, resource, obj)
            causes = validation.new_object(resource, obj) if meta.get("name") else []
            if not meta.get("name"):
                causes.append(required("metadata.name", "name or generateName is required"))
            if causes:
                raise invalid(resource, meta.get("name", ""), causes)
            warned += admission.warnings(self.store, resource, obj)
            key = key_of(resource, obj)
            standing = self.store.get(key)
            if standing is not None:
                raise already_exists(resource, key.name, ending="deletionTimestamp" in standing["metadata"])
            admission.validate(self.store, resource, obj)
            if resource is r.SERVICES:
                self.address_service(obj, None)
            said = ownership.changed_paths(None, obj)
            ownership.noted(
                None, obj, manager, "Update", self.clock.stamp(), {p for p in said if p[0] != "f:status"}, ""
            )
            return Written(obj if dry_run else self.store.put(key, obj), True, warned)

    def _decoded(self, resource: Resource, body: Json, *, strict: bool) -> tuple[Json, list[str]]:
        if not isinstance(body, dict):
            raise bad_request("the object provided is unrecognized (must be of type " + resource.kind + ")")
        for field, wanted in (("kind", resource.kind), ("apiVersion", resource.api_version)):
            if body.get(field, wanted) != wanted:
                given = f"{body.get('apiVersion')}, Kind={body.get('kind')}"
                raise bad_request(f'{resource.kind} in version "{resource.version}" cannot be handled as a {given}')
        faults = schema.decode(body, resource.schema, resource.kind, resource.version)
        if faults.wrong:
            raise bad_request(faults.wrong)
        if resource is r.SECRETS and (problem := validation.secret_bytes(body)):
            raise bad_request(problem)
        unknown = [f'unknown field "{schema.shown(path)}"' for path in faults.unknown]
        if unknown and strict:
            raise bad_request(
                f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}: '
                f"strict decoding error: {', '.join(unknown)}"
            )
        obj = _without_nulls(body)
        for path in faults.unknown:
            _forget(obj, path)
        for path in faults.quantities:
            _canonical(obj, path)
        return {"kind": resource.kind, "apiVersion": resource.api_version} | obj, unknown

    def _in_namespace(self, resource: Resource, namespace: str, meta: Json) -> None:
        given = meta.get("namespace") or ""
        if resource.namespaced:
            if given and given != namespace:
                raise bad_request(
                    "the namespace of the provided object does not match the namespace sent on the request"
                )
            meta["namespace"] = namespace
        elif given:
            raise bad_request("namespace is not allowed on this type")

    def _open_namespace(self, resource: Resource, namespace: str, name: str) -> None:
        if not resource.namespaced:
            return
        room = self.store.get(Key(r.NAMESPACES, "", namespace))
        if room is None:
            raise not_found(r.NAMESPACES, namespace)
        if room["metadata"].get("deletionTimestamp"):
            cause = {
                "reason": "NamespaceTerminating",
                "message": f"namespace {namespace} is being terminated",
                "field": "metadata.namespace",
            }
            why = f"unable to create new content in namespace {namespace} because it is being terminated"
            raise forbidden(resource, name, why, [cause])

    def _fresh(self, resource: Resource, obj: Json) -> None:
        """What the server alone says of a new object."""
        meta = obj["metadata"]
        for field in ("deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "managedFields", "generation"):
            meta.pop(field, None)
        meta["uid"] = str(uuid.uuid4())
        meta["creationTimestamp"] = self.clock.stamp()
        if resource.spec_counts:
            meta["generation"] = 1
        if "status" in resource.subresources:
            obj["status"] = {}
        if resource in _BEGINNINGS:
            _BEGINNINGS[resource](obj)
        if resource is r.SECRETS and obj.get("stringData"):
            encoded = {k: base64.b64encode(v.encode()).decode() for k, v in obj.pop("stringData").items()}
            obj["data"] = (obj.get("data") or {}) | encoded

    # ------------------------------------------------------------ changing

    def update(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        body: Json,
        *,
        part: str = "",
        strict: bool = False,
        dry_run: bool = False,
        manager: str = "unknown",
    ) -> Written:
        """part: empty, or `status`."""
        obj, warned = self._decoded(resource, body, strict=strict)
        meta = obj.setdefault("metadata", {})
        self._in_namespace(resource, namespace, meta)
        if meta.get("name") != name:
            raise bad_request(
                f"the name of the object ({meta.get('name', '')}) does not match the name on the URL ({name})"
            )
        with self.store.lock:
            old = self.get(resource, namespace, name)
            return Written(self._written(resource, old, obj, part, dry_run, manager, "Update"), False, warned)

    def _written(
        self, resource: Resource, old: Json, new: Json, part: str, dry_run: bool, manager: str, operation: str
    ) -> Json:
        name = old["metadata"]["name"]
        meta = new["metadata"]
        if meta.get("uid") and meta["uid"] != old["metadata"]["uid"]:
            why = (
                f"Precondition failed: UID in precondition: {meta['uid']}, UID in object meta: {old['metadata']['uid']}"
            )
            raise conflict(resource, name, why)
        if meta.get("resourceVersion") and meta["resourceVersion"] != old["metadata"]["resourceVersion"]:
            raise stale(resource, name)
        obj = self._merged(resource, old, new, part)
        if part == "":
            defaults.fill(resource, obj)
            causes = validation.changed_object(resource, obj, old)
            if causes:
                raise invalid(resource, name, causes)
            if resource is r.SERVICES:
                self.address_service(obj, old)
        kept = old["metadata"].get("managedFields")
        if kept is not None:
            obj["metadata"]["managedFields"] = kept
        obj["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"]
        if obj == old and operation == "Update":
            return old  # nothing changed: no write, no version
        if resource.spec_counts and obj.get("spec") != old.get("spec"):
            obj["metadata"]["generation"] = old["metadata"].get("generation", 1) + 1
        if operation == "Update":
            said = ownership.changed_paths(old, obj)
            ownership.noted(old, obj, manager, "Update", self.clock.stamp(), said, part)
        return obj if dry_run else self._stored(key_of(resource, obj), obj)

    def _merged(self, resource: Resource, old: Json, new: Json, part: str) -> Json:
        """Of main endpoint and /status each takes its part alone."""
        if part == "status":
            obj: Json = copied(old)
            obj["status"] = copied(new.get("status") or {})
            return obj
        obj = copied(new)
        if "status" in resource.subresources:
            obj["status"] = copied(old.get("status") or {})
        meta = {field: new["metadata"][field] for field in _OF_METADATA if new["metadata"].get(field)}
        obj["metadata"] = meta | {f: old["metadata"][f] for f in (*_KEPT, "generateName") if f in old["metadata"]}
        if resource is r.SECRETS and obj.get("stringData"):
            encoded = {k: base64.b64encode(v.encode()).decode() for k, v in obj.pop("stringData").items()}
            obj["data"] = (obj.get("data") or {}) | encoded
        if resource is r.NAMESPACES:
            obj["spec"] = copied(old["spec"])
        if resource in {r.JOBS, r.SERVICES, r.CLAIMS} and isinstance(obj.get("spec"), dict):
            _keep_given(resource, obj["spec"], old["spec"])
        return obj

    def _stored(self, key: Key, obj: Json) -> Json:
        """Written; gone for good where it was only waiting for its last finalizer."""
        meta = obj["metadata"]
        waiting = meta.get("finalizers") or (obj.get("spec") or {}).get("finalizers")
        graceful = key.resource is r.PODS and (meta.get("deletionGracePeriodSeconds") or 0) > 0
        if meta.get("deletionTimestamp") and not waiting and not graceful:
            return self.store.remove(key, obj)
        return self.store.put(key, obj)

    def modify(self, key: Key, change: Callable[[Json], Any]) -> Json | None:
        """A controller's read-change-write of all of an object, under the lock; None if it is not there."""
        with self.store.lock:
            old = self.store.get(key)
            if old is None:
                return None
            obj: Json = copied(old)
            change(obj)
            if obj == old:
                return old
            if key.resource.spec_counts and obj.get("spec") != old.get("spec"):
                obj["metadata"]["generation"] = old["metadata"].get("generation", 1) + 1
            return self._stored(key, obj)

    def patch(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        kind: str,
        body: Any,
        *,
        part: str = "",
        strict: bool = False,
        dry_run: bool = False,
        manager: str = "unknown",
        force: bool = False,
    ) -> Written:
        """kind: the media type's word: `merge`, `strategic-merge`, `json`, `apply`."""
        if kind == "apply":
            return self._applied(resource, namespace, name, body, part, strict, dry_run, manager, force=force)
        if not isinstance(body, list if kind == "json" else dict):
            raise bad_request(f"error decoding patch: json: cannot unmarshal {type(body).__name__} into Go value")
        with self.store.lock:
            old = self.get(resource, namespace, name)
            if kind == "json":
                merged = patches.json_patch(old, body)
            elif kind == "merge":
                merged = patches.merge(old, body)
            else:
                merged = patches.strategic(old, body)
            obj, warned = self._decoded(resource, merged, strict=strict)
            if obj["metadata"].get("name") != name:
                raise bad_request("the name of the object does not match the name on the URL")
            return Written(self._written(resource, old, obj, part, dry_run, manager, "Update"), False, warned)

    def _applied(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        body: Json,
        part: str,
        strict: bool,
        dry_run: bool,
        manager: str,
        *,
        force: bool,
    ) -> Written:
        if not isinstance(body, dict) or not body.get("apiVersion") or not body.get("kind"):
            raise bad_request("invalid object type: an apply needs apiVersion and kind")
        if (body.get("metadata") or {}).get("managedFields"):
            raise bad_request("metadata.managedFields must be nil")
        config, warned = self._decoded(resource, body, strict=strict)
        config["metadata"] = {"name": name} | (config.get("metadata") or {})
        if config["metadata"]["name"] != name:
            raise bad_request("the name of the object does not match the name on the URL")
        said = {path for path, _ in ownership.leaves(config)}
        with self.store.lock:
            old = self.find(resource, namespace, name)
            if old is None:
                if part:
                    raise not_found(resource, name)
                made = self.create(resource, namespace, config, strict=strict, dry_run=True, manager=manager)
                made.obj["metadata"]["managedFields"] = []
                ownership.noted(None, made.obj, manager, "Apply", self.clock.stamp(), said, part)
                obj = made.obj if dry_run else self.store.put(key_of(resource, made.obj), made.obj)
                return Written(obj, True, made.warnings)
            result = ownership.apply(old, config, manager, force=force)
            trial: Json = copied(old)
            ownership.noted(old, trial, manager, "Apply", self.clock.stamp(), said, part)
            entries = trial["metadata"]["managedFields"]
            if force:
                _give_up(entries, manager, said, dict(ownership.leaves(old)), dict(ownership.leaves(config)))
            same = _timeless(entries) == _timeless(old["metadata"].get("managedFields") or [])
            base = old if same else old | {"metadata": old["metadata"] | {"managedFields": entries}}
            if not same:
                result["metadata"]["managedFields"] = entries
            wrote = self._written(resource, base, result, part, dry_run, manager, "Update" if same else "Apply")
            return Written(wrote, False, warned)

    # ------------------------------------------------------------ scale

    def scale_of(self, resource: Resource, namespace: str, name: str) -> Json:
        obj = self.get(resource, namespace, name)
        chosen = (obj["spec"].get("selector") or {}).get("matchLabels") or {}
        fields = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
        return {
            "kind": "Scale",
            "apiVersion": "autoscaling/v1",
            "metadata": {field: obj["metadata"][field] for field in fields},
            "spec": {"replicas": obj["spec"]["replicas"]},
            "status": {
                "replicas": (obj.get("status") or {}).get("replicas", 0),
                "selector": ",".join(f"{key}={value}" for key, value in sorted(chosen.items())),
            },
        }

    def set_scale(self, resource: Resource, namespace: str, name: str, scale: Json, manager: str) -> Json:
        with self.store.lock:
            old = self.get(resource, namespace, name)
            obj: Json = copied(old)
            obj["spec"]["replicas"] = (scale.get("spec") or {}).get("replicas") or 0
            wanted = (scale.get("metadata") or {}).get("resourceVersion")
            obj["metadata"]["resourceVersion"] = wanted or old["metadata"]["resourceVersion"]
            self._written(resource, old, obj, "", False, manager, "Update")
            return self.scale_of(resource, namespace, name)

    # ------------------------------------------------------------ deleting

    def delete(self, resource: Resource, namespace: str, name: str, options: Options = BY_DEFAULT) -> tuple[Json, bool]:
        """What is answered: the object, or a `Status` where it is gone at once; and whether it is gone."""
        with self.store.lock:
            key = Key(resource, namespace, name)
            obj = self.get(resource, namespace, name)
            self._preconditions(resource, obj, options)
            if options.dry_run:
                return obj, False
            left = self._begin(key, copied(obj), options)
            if left is not None:
                return left, False
            if resource.answers_object:
                return obj, True
            details = {"name": name, "kind": resource.plural, "uid": obj["metadata"]["uid"]}
            if resource.group:
                details["group"] = resource.group
            return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}, True

    def _preconditions(self, resource: Resource, obj: Json, options: Options) -> None:
        meta = obj["metadata"]
        if options.uid is not None and options.uid != meta["uid"]:
            why = f"Precondition failed: UID in precondition: {options.uid}, UID in object meta: {meta['uid']}"
            raise conflict(resource, meta["name"], why)
        if options.version is not None and options.version != meta["resourceVersion"]:
            why = (
                f"Precondition failed: ResourceVersion in precondition: {options.version}, ResourceVersion in object "
                f"meta: {meta['resourceVersion']}"
            )
            raise conflict(resource, meta["name"], why)

    def _begin(self, key: Key, obj: Json, options: Options) -> Json | None:
        """None once it is gone."""
        meta = obj["metadata"]
        finalizers = [each for each in meta.get("finalizers") or [] if each not in {"orphan", "foregroundDeletion"}]
        policy = options.policy or self._own_policy(key.resource, meta)
        if policy == "Orphan":
            finalizers.append("orphan")
        elif policy == "Foreground":
            finalizers.append("foregroundDeletion")
        meta["finalizers"] = finalizers
        if not finalizers:
            del meta["finalizers"]
        grace = self._grace(key.resource, obj, options.grace_s)
        before = meta.get("deletionGracePeriodSeconds")
        if meta.get("deletionTimestamp") is None or (before is not None and grace < before):
            meta["deletionTimestamp"] = stamp(self.clock.now() + grace)
            meta["deletionGracePeriodSeconds"] = grace
            if "generation" in meta:
                meta["generation"] += 1
        if key.resource is r.NAMESPACES:
            obj["status"] = (obj.get("status") or {}) | {"phase": "Terminating"}
        if obj == self.store.get(key):
            return obj
        self._stored(key, obj)
        return self.store.get(key)

    def _own_policy(self, resource: Resource, meta: Json) -> str:
        held = meta.get("finalizers") or []
        if "orphan" in held:
            return "Orphan"
        if "foregroundDeletion" in held:
            return "Foreground"
        return "Orphan" if resource.orphans else "Background"

    def _grace(self, resource: Resource, obj: Json, asked: int | None) -> int:
        if resource is not r.PODS:
            return 0
        done = (obj.get("status") or {}).get("phase") in {"Succeeded", "Failed"}
        if done or not obj["spec"].get("nodeName"):
            return 0
        own: int = obj["spec"].get("terminationGracePeriodSeconds", 30)
        grace = own if asked is None else asked
        return 1 if grace < 0 else grace

    def delete_collection(self, resource: Resource, namespace: str, query: dict[str, str], options: Options) -> Json:
        listed = self.list(resource, namespace, query)
        for obj in listed["items"]:
            try:
                self.delete(resource, obj["metadata"].get("namespace", ""), obj["metadata"]["name"], options)
            except ApiError as error:
                if error.code != 404:
                    raise
        return listed


# ---------------------------------------------------------------- parts


def options_of(resource: Resource, name: str, given: Json, query: dict[str, str], *, has_body: bool) -> Options:
    """As the server reads them: with a body, whatever it says, the query is not looked at."""
    if not has_body:
        given = {
            "propagationPolicy": query.get("propagationPolicy"),
            "gracePeriodSeconds": int(query["gracePeriodSeconds"]) if query.get("gracePeriodSeconds") else None,
            "orphanDependents": query.get("orphanDependents"),
            "dryRun": [query["dryRun"]] if query.get("dryRun") else None,
        }
    policy = given.get("propagationPolicy") or ""
    orphan = given.get("orphanDependents")
    if policy and policy not in POLICIES:
        raise invalid(resource, name, [unsupported("propagationPolicy", policy, POLICIES)])
    if policy and orphan is not None:
        raise ApiError(
            422,
            "Invalid",
            'DeleteOptions.meta.k8s.io "" is invalid: orphanDependents and deletionPropagation cannot be both set',
            {},
        )
    if orphan is not None:
        policy = "Orphan" if orphan in {True, "true"} else "Background"
    wanted = given.get("preconditions") or {}
    grace = given.get("gracePeriodSeconds")
    return Options(policy, grace, wanted.get("uid"), wanted.get("resourceVersion"), bool(given.get("dryRun")))


def selecting(resource: Resource, query: dict[str, str]) -> Callable[[Json], bool]:
    by_label = label_selector(query.get("labelSelector", ""))
    by_field = field_selector(query.get("fieldSelector", ""), resource)
    return lambda obj: by_label(obj) and by_field(obj)


def _whole(name: str, text: str) -> int:
    if not text.lstrip("-").isdigit():
        raise bad_request(f'{name}: strconv.ParseInt: parsing "{text}": invalid syntax')
    return int(text)


def _without_nulls(value: Any) -> Any:
    """Go's decoder takes null for nothing said."""
    if isinstance(value, dict):
        return {key: _without_nulls(each) for key, each in value.items() if each is not None}
    return [_without_nulls(each) for each in value] if isinstance(value, list) else value


def _forget(obj: Any, path: tuple[str | int, ...]) -> None:
    for part in path[:-1]:
        obj = obj[part]
    obj.pop(path[-1], None)


def _canonical(obj: Any, path: tuple[str | int, ...]) -> None:
    """One that cannot be parsed stays, and is refused with the rest of its kind."""
    for part in path[:-1]:
        obj = obj[part]
    with contextlib.suppress(ValueError):
        obj[path[-1]] = canonical(obj[path[-1]])


def _timeless(entries: list[Json]) -> list[Json]:
    return [{key: value for key, value in entry.items() if key != "time"} for entry in entries]


def _give_up(entries: list[Json], manager: str, said: set[Any], now: Json, wanted: Json) -> None:
    """Forced, a field is the last one's alone where it has another value now."""
    taken = {path for path in said if now.get(path) != wanted.get(path)}
    for entry in entries:
        if entry["manager"] != manager:
            left = ownership.paths_of(entry["fieldsV1"]) - taken
            entry["fieldsV1"] = ownership.tree(left)
    entries[:] = [entry for entry in entries if entry["fieldsV1"]]


def _keep_given(resource: Resource, spec: Json, was: Json) -> None:
    """What the server has filled in stays where a client does not say it again."""
    if resource is r.JOBS and spec.get("selector") is None:
        spec["selector"] = was["selector"]
    if resource is r.CLAIMS and spec.get("volumeName") is None and was.get("volumeName"):
        spec["volumeName"] = was["volumeName"]
    if resource is r.SERVICES and spec.get("type", "ClusterIP") != "ExternalName":
        for field in ("clusterIP", "clusterIPs"):
            if not spec.get(field) and was.get(field):
                spec[field] = was[field]
        ports = {(p.get("name"), p["port"]): p.get("nodePort") for p in was.get("ports") or []}
        for port in spec.get("ports") or []:
            kept = ports.get((port.get("name"), port.get("port")))
            if kept and not port.get("nodePort") and spec.get("type", "ClusterIP") != "ClusterIP":
                port["nodePort"] = kept


def _begin_namespace(obj: Json) -> None:
    obj["spec"] = {"finalizers": ["kubernetes"]}
    obj["status"] = {"phase": "Active"}
    name = obj["metadata"].get("name", "")
    obj["metadata"]["labels"] = (obj["metadata"].get("labels") or {}) | {"kubernetes.io/metadata.name": name}


def _begin_pod(obj: Json) -> None:
    limits = [(each.get("resources") or {}) for each in obj["spec"].get("containers") or []]
    best = all(not one.get("limits") and not one.get("requests") for one in limits)
    full = all(
        {"cpu", "memory"} <= set(one.get("limits") or {}) and one.get("limits") == one.get("requests") for one in limits
    )
    obj["status"] = {"phase": "Pending", "qosClass": "BestEffort" if best else "Guaranteed" if full else "Burstable"}


def _begin_job(obj: Json) -> None:
    spec, meta = obj["spec"], obj["metadata"]
    if spec.get("manualSelector"):
        return
    template = spec.setdefault("template", {}).setdefault("metadata", {})
    own = {
        "controller-uid": meta["uid"],
        "job-name": meta.get("name", ""),
        "batch.kubernetes.io/controller-uid": meta["uid"],
        "batch.kubernetes.io/job-name": meta.get("name", ""),
    }
    template["labels"] = (template.get("labels") or {}) | own
    spec["selector"] = {"matchLabels": {"batch.kubernetes.io/controller-uid": meta["uid"]}}


def _begin_claim(obj: Json) -> None:
    obj["status"] = {"phase": "Pending"}
    obj["metadata"]["finalizers"] = [*(obj["metadata"].get("finalizers") or []), "kubernetes.io/pvc-protection"]


def _begin_event(obj: Json) -> None:
    obj.setdefault("type", "Normal")


_BEGINNINGS: dict[Resource, Callable[[Json], None]] = {
    r.NAMESPACES: _begin_namespace,
    r.PODS: _begin_pod,
    r.JOBS: _begin_job,
    r.CLAIMS: _begin_claim,
    r.EVENTS: _begin_event,
}
