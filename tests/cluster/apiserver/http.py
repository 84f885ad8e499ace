"""HTTP: from a request to an operation, and back."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

import yaml

from tests.cluster.apiserver import resources as r
from tests.cluster.apiserver.access import Ask, User
from tests.cluster.apiserver.api import Options, Written, options_of
from tests.cluster.apiserver.errors import (
    ApiError,
    bad_request,
    no_such_path,
    not_found,
    unsupported_method,
)
from tests.cluster.apiserver.faults import Request, Rule
from tests.cluster.apiserver.resources import Resource
from tests.cluster.apiserver.watch import Watch

if TYPE_CHECKING:
    from tests.cluster.apiserver.server import ApiServer

Json = dict[str, Any]

_PATH = re.compile(
    r"^/(?:api/(?P<core>v1)|apis/(?P<group>[^/]+)/(?P<version>[^/]+))"
    r"(?:/namespaces/(?P<namespace>[^/]+)(?=/(?!status$|finalize$)))?"
    r"/(?P<plural>[a-z]+)(?:/(?P<name>[^/]+)(?:/(?P<part>[a-z]+))?)?$"
)
_PATCHES = {
    "application/json-patch+json": "json",
    "application/merge-patch+json": "merge",
    "application/strategic-merge-patch+json": "strategic-merge",
    "application/apply-patch+yaml": "apply",
}
MAX_BODY = 3 * 1024 * 1024
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
VERSION = {
    "major": "1",
    "minor": "36",
    "gitVersion": "v1.36.2",
    "gitCommit": "tests",
    "gitTreeState": "clean",
    "buildDate": "2026-06-09T00:00:00Z",
    "goVersion": "go1.26.1",
    "compiler": "gc",
    "platform": "linux/amd64",
}


class Target(NamedTuple):
    """What a path names. name: empty for a collection. part: a subresource."""

    resource: Resource
    namespace: str
    name: str
    part: str


def target_of(path: str) -> Target | None:
    found = _PATH.match(path)
    if found is None:
        return None
    group, plural = found["group"] or "", found["plural"]
    resource = r.BY_PATH.get((group, plural))
    if resource is None or (found["version"] or found["core"]) != resource.version:
        return None
    namespace, name, part = (unquote(found[key] or "") for key in ("namespace", "name", "part"))
    if resource.namespaced and name and not namespace:
        return None
    if not resource.namespaced and namespace:
        return None
    if part and part not in resource.subresources:
        return None
    return Target(resource, namespace, name, part)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: Server

    def log_message(self, format: str, *args: object) -> None:
        """The log of requests is `ApiServer.requests`."""

    def do_GET(self) -> None:
        self._handle()

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815  # the names that http.server calls

    def _handle(self) -> None:
        owner = self.server.owner
        split = urlsplit(self.path)
        self._query = dict(parse_qsl(split.query, keep_blank_values=True))
        self._where = unquote(split.path)
        length = int(self.headers.get("Content-Length") or 0)
        self._raw = self.rfile.read(length) if length else b""
        self._user = User("", ())
        self._watching = self._query.get("watch") in {"true", "1"}
        rule = owner.faults.take(self.command, self.path, watch=self._watching)
        self._rule = rule
        self._number = owner.note_request(self._noted(0))
        try:
            if self._befallen(rule):
                return
            self._user = owner.access.user(self.headers.get("Authorization", ""))
            self._dispatch()
        except ApiError as error:
            self._answer(error.code, error.status(), error.headers)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        except Exception as error:  # noqa: BLE001  # as the real one: 500, and the test that made it happen is told
            owner.problems.append(error)
            self._answer(500, ApiError(500, "InternalError", repr(error)).status())

    def _noted(self, status: int) -> Request:
        try:
            body: object = self._body() if self._raw else None
        except ApiError:
            body = self._raw
        kind = self.headers.get("Content-Type", "")
        return Request(
            self.command, self._where, self._query, body, status, self._user.name, self.server.owner.clock.now(), kind
        )

    def _befallen(self, rule: Rule | None) -> bool:
        """True if that was all."""
        if rule is None:
            return False
        if rule.delay_s:
            time.sleep(rule.delay_s)
        if rule.hold:
            rule.hold.wait(60)
        if rule.effect == "drop_before":
            self._drop()
            return True
        if rule.effect == "answer":
            if self._watching and rule.status == 410:
                self._start_stream()
                self._chunk(json.dumps({"type": "ERROR", "object": rule.error().status()}).encode() + b"\n")
                self._chunk(b"")
                return True
            raise rule.error()
        return False

    def _drop(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    # ------------------------------------------------------------ answers

    def _answer(
        self, status: int, body: Any, headers: dict[str, str] | None = None, *, kind: str = "application/json"
    ) -> None:
        self.server.owner.note_status(self._number, status, self._user.name)
        if self._rule is not None and self._rule.effect == "drop_after":
            self._drop()
            return
        data = body if isinstance(body, bytes) else json.dumps(body, separators=(",", ":")).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        for warning in getattr(self, "_warnings", []):
            quoted = warning.replace("\\", "\\\\").replace('"', '\\"')
            self.send_header("Warning", f'299 - "{quoted}"')
        self._warnings: list[str] = []
        self.end_headers()
        self.wfile.write(data)

    def _wrote(self, written: Written) -> None:
        self._warnings = written.warnings
        self._answer(201 if written.created else 200, written.obj)

    def _start_stream(self, kind: str = "application/json") -> None:
        self.server.owner.note_status(self._number, 200, self._user.name)
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.flush()

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def _stream(self, lines: Iterator[bytes], kind: str = "application/json") -> None:
        self._start_stream(kind)
        cut = self._rule if self._rule is not None and self._rule.effect == "cut" else None
        if cut and not cut.after_events:
            self._drop()
            return
        for sent, line in enumerate(lines):
            if cut and sent >= cut.after_events:
                self.wfile.write(f"{len(line):x}\r\n".encode() + line[: len(line) // 2])
                self.wfile.flush()
                self._drop()
                return
            self._chunk(line)
        self._chunk(b"")

    # ------------------------------------------------------------ requests

    def _body(self) -> Any:
        kind = self.headers.get("Content-Type", "application/json").partition(";")[0].strip()
        try:
            if kind in {"application/yaml", "application/apply-patch+yaml"}:
                return json.loads(self._raw) if self._raw[:1] == b"{" else yaml.safe_load(self._raw)
            return json.loads(self._raw)
        except ValueError as error:
            raise bad_request(
                f"the object provided is unrecognized: couldn't get version/kind; json parse error: {error}"
            ) from error

    def _dispatch(self) -> None:
        owner, where = self.server.owner, self._where
        if where in {"/healthz", "/livez", "/readyz"}:
            self._answer(200, b"ok", kind="text/plain; charset=utf-8")
            return
        if (known := _discovery(where)) is not None:
            owner.access.check(self._user, Ask("get", path=where))
            self._answer(200, known)
            return
        if (
            review := re.match(r"^/apis/authorization.k8s.io/v1/(selfsubjectaccessreviews)$", where)
        ) and self.command == "POST":
            self._review()
            return
        target = target_of(where)
        if target is None:
            if where.startswith(("/api/", "/apis/")) or review:
                raise no_such_path()
            self._answer(404, b"404 page not found\n", kind="text/plain; charset=utf-8")
            return
        self._check(target)
        self._readable()
        if target.part not in {"", "status"}:
            self._subresource(target)
        elif self.command == "GET":
            self._read(target)
        elif self.command == "DELETE" and not target.part:
            self._delete(target)
        else:
            self._write(target)

    def _check(self, target: Target) -> None:
        verb = _VERBS.get(self.command, "get")
        if self.command == "GET" and not target.name:
            verb = "watch" if self._watching else "list"
        if self.command == "DELETE" and not target.name:
            verb = "deletecollection"
        plural = f"{target.resource.plural}/{target.part}" if target.part else target.resource.plural
        namespace = target.name if target.resource is r.NAMESPACES else target.namespace
        self.server.owner.access.check(self._user, Ask(verb, target.resource.group, plural, namespace, target.name))

    def _readable(self) -> None:
        """A body of a kind and size that is taken at all."""
        if len(self._raw) > MAX_BODY:
            raise ApiError(413, "RequestEntityTooLarge", f"Request entity too large: limit is {MAX_BODY}", {})
        kind = self.headers.get("Content-Type", "application/json").partition(";")[0].strip()
        if self.command in {"POST", "PUT"} and kind not in {"application/json", "application/yaml"}:
            message = (
                "the body of the request was in an unknown format - accepted media types include: application/json"
            )
            raise ApiError(415, "UnsupportedMediaType", message, {})

    def _read(self, target: Target) -> None:
        owner = self.server.owner
        if target.name and not self._watching:
            self._answer(200, owner.api.get(target.resource, target.namespace, target.name))
        elif self._watching:
            if target.name:
                self._query["fieldSelector"] = f"metadata.name={target.name}"
            watch = Watch(owner.api, target.resource, target.namespace, self._query)
            self._stream(watch.lines(self.server.closing.is_set))
        else:
            self._answer(200, owner.api.list(target.resource, target.namespace, self._query))

    def _said(self) -> dict[str, Any]:
        """What the query says of a write."""
        validation = self._query.get("fieldValidation") or "Warn"
        if validation not in {"Ignore", "Warn", "Strict"}:
            raise bad_request(f'fieldValidation: Unsupported value: "{validation}"')
        dry = self._query.get("dryRun", "")
        if dry not in {"", "All"}:
            raise bad_request(f'dryRun: Unsupported value: "{dry}": supported values: "All"')
        agent = (self.headers.get("User-Agent") or "unknown").partition("/")[0]
        manager = self._query.get("fieldManager") or agent
        return {"strict": validation == "Strict", "dry_run": dry == "All", "manager": manager}

    def _write(self, target: Target) -> None:
        api = self.server.owner.api
        resource, namespace, name, part = target
        if self.command == "PATCH" and name:
            kind = _PATCHES.get(self.headers.get("Content-Type", "").partition(";")[0].strip())
            if kind is None:
                known = ", ".join(_PATCHES)
                message = f"the body of the request was in an unknown format - accepted media types include: {known}"
                raise ApiError(415, "UnsupportedMediaType", message, {})
            said = self._said()
            if kind == "apply" and not self._query.get("fieldManager"):
                raise ApiError(
                    422,
                    "Invalid",
                    'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch',
                    {},
                )
            force = self._query.get("force") in {"true", "1"}
            if force and kind != "apply":
                raise ApiError(
                    422,
                    "Invalid",
                    'PatchOptions.meta.k8s.io "" is invalid: force: Forbidden: '
                    "may not be specified for non-apply patch",
                    {},
                )
            self._wrote(api.patch(resource, namespace, name, kind, self._body(), part=part, force=force, **said))
        elif self.command == "PUT" and name:
            self._wrote(api.update(resource, namespace, name, self._body(), part=part, **self._said()))
        elif self.command == "POST" and not name and (namespace or not resource.namespaced):
            written = api.create(resource, namespace, self._body(), **self._said())
            if self._query.get("fieldValidation") == "Ignore":
                written = written._replace(warnings=[])
            self._wrote(written)
        else:
            raise unsupported_method()

    def _delete(self, target: Target) -> None:
        api = self.server.owner.api
        given = self._body() if self._raw else {}
        options = options_of(target.resource, target.name, given or {}, self._query, has_body=bool(self._raw))
        if target.name:
            answer, _ = api.delete(target.resource, target.namespace, target.name, options)
            self._answer(200, answer)
        elif target.resource.collection_deletes and (target.namespace or not target.resource.namespaced):
            self._answer(200, api.delete_collection(target.resource, target.namespace, self._query, options))
        else:
            raise unsupported_method()

    def _review(self) -> None:
        body = self._body()
        spec = body.get("spec") or {}
        asked, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
        if (asked is None) == (path is None):
            raise bad_request("exactly one of nonResourceAttributes or resourceAttributes must be specified")
        if path is not None:
            ask = Ask(path.get("verb") or "", path=path.get("path") or "")
        else:
            plural = asked.get("resource") or ""
            plural += f"/{asked['subresource']}" if asked.get("subresource") else ""
            ask = Ask(
                asked.get("verb") or "",
                asked.get("group") or "",
                plural,
                asked.get("namespace") or "",
                asked.get("name") or "",
            )
        allowed = self.server.owner.access.allowed(self._user, ask)
        meta = {"creationTimestamp": None}
        self._answer(
            201,
            {"kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "metadata": meta}
            | {"spec": spec, "status": {"allowed": allowed} | ({} if allowed else {"reason": ""})},
        )

    # ------------------------------------------------------------ subresources

    def _subresource(self, target: Target) -> None:
        owner = self.server.owner
        resource, namespace, name, part = target
        if part == "scale":
            self._scale(target)
        elif part == "log" and self.command == "GET":
            lines = owner.kubelet.log(namespace, name, self._query, self.server.closing.is_set)
            if self._query.get("follow") in {"true", "1"}:
                self._stream(lines, "text/plain")
            else:
                self._answer(200, b"".join(lines), kind="text/plain")
        elif part == "token" and self.command == "POST":
            account = owner.api.get(resource, namespace, name)
            body = self._body()
            seconds = (body.get("spec") or {}).get("expirationSeconds") or 3600
            if seconds < 600:
                raise ApiError(
                    422,
                    "Invalid",
                    'TokenRequest.authentication.k8s.io "" is invalid: spec.expirationSeconds: Invalid value: '
                    "may not specify a duration less than 10 minutes",
                    {},
                )
            token, ends = owner.access.admit_account(account, seconds)
            status = {"token": token, "expirationTimestamp": ends}
            self._answer(
                201,
                body
                | {
                    "kind": "TokenRequest",
                    "apiVersion": "authentication.k8s.io/v1",
                    "metadata": {"name": name, "namespace": namespace},
                    "status": status,
                },
            )
        elif part == "eviction" and self.command == "POST":
            given = (self._body() or {}).get("deleteOptions") or {}
            owner.api.get(resource, namespace, name)
            owner.disrupt(namespace, name, "EvictionByEvictionAPI", "Eviction API: evicting")
            owner.api.delete(resource, namespace, name, Options(grace_s=given.get("gracePeriodSeconds")))
            self._answer(201, {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201})
        elif part == "finalize" and self.command == "PUT":
            self._finalize(name)
        else:
            raise unsupported_method()

    def _scale(self, target: Target) -> None:
        api = self.server.owner.api
        resource, namespace, name, _ = target
        if self.command == "GET":
            self._answer(200, api.scale_of(resource, namespace, name))
            return
        if self.command not in {"PUT", "PATCH"}:
            raise unsupported_method()
        body = self._body()
        if not isinstance(body, dict):
            raise bad_request("the object provided is unrecognized (must be of type Scale)")
        replicas = (body.get("spec") or {}).get("replicas") or 0
        if not isinstance(replicas, int):
            raise bad_request(
                'Scale in version "v1" cannot be handled as a Scale: json: cannot unmarshal string into Go struct '
                "field ScaleSpec.spec.replicas of type int32"
            )
        if replicas < 0:
            raise ApiError(
                422,
                "Invalid",
                f'Scale.autoscaling "{name}" is invalid: spec.replicas: Invalid value: {replicas}: '
                "must be greater than or equal to 0",
                {},
            )
        self._answer(200, api.set_scale(resource, namespace, name, body, self._said()["manager"]))

    def _finalize(self, name: str) -> None:
        owner = self.server.owner
        body = self._body()
        if owner.api.find(r.NAMESPACES, "", name) is None:
            raise not_found(r.NAMESPACES, name)
        finalizers = (body.get("spec") or {}).get("finalizers") or []
        key = owner.namespace_key(name)
        self._answer(200, owner.api.modify(key, lambda obj: obj["spec"].update(finalizers=finalizers)))


def _discovery(where: str) -> Json | None:
    if where == "/version":
        return VERSION
    if where == "/api":
        return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
    groups = sorted({(each.group, each.version) for each in r.ALL if each.group})
    if where == "/apis":
        named = []
        for group, version in [*groups, ("authorization.k8s.io", "v1")]:
            one = {"groupVersion": f"{group}/{version}", "version": version}
            named.append({"name": group, "versions": [one], "preferredVersion": one})
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": named}
    found = re.match(r"^/(?:api/(v1)|apis/([^/]+)/([^/]+))$", where)
    if found is None:
        return None
    group, version = found[2] or "", found[1] or found[3]
    known = [each for each in r.ALL if (each.group, each.version) == (group, version)]
    if not known:
        return None
    verbs = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
    listed = []
    for each in known:
        one = {"name": each.plural, "singularName": each.kind.lower(), "namespaced": each.namespaced, "kind": each.kind}
        listed.append(one | {"verbs": verbs})
        listed += [
            one | {"name": f"{each.plural}/{part}", "singularName": "", "verbs": ["get"]} for part in each.subresources
        ]
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": f"{group}/{version}".lstrip("/"),
        "resources": listed,
    }


class Server(ThreadingHTTPServer):
    """closing: set when the streams have to end."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(self, owner: ApiServer, port: int = 0) -> None:
        self.owner = owner
        self.closing = threading.Event()
        self._open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", port), Handler)

    def server_bind(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()  # no look-up of the host's name, which may take seconds
        self.server_name, self.server_port = "127.0.0.1", self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is nothing to tell; anything else cut its connection off, and is to be known."""
        error = sys.exc_info()[1]
        if isinstance(error, Exception) and not isinstance(error, BrokenPipeError | ConnectionResetError):
            self.owner.problems.append(error)

    def drop_all(self) -> None:
        """Close every connection, as a server that is killed."""
        for each in list(self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
