"""Who asks, and what they may: bearer tokens, and RBAC as the stored roles and bindings say."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Iterable
from typing import Any, NamedTuple

from tests.cluster.apiserver import resources as r
from tests.cluster.apiserver.clock import Clock, stamp
from tests.cluster.apiserver.errors import ApiError
from tests.cluster.apiserver.store import Key, Store

Json = dict[str, Any]
ADMIN_GROUP = "system:masters"


class User(NamedTuple):
    name: str
    groups: tuple[str, ...]


class Ask(NamedTuple):
    """verb: as RBAC has it. resource: with its subresource, `pods/log`. path: of what is no resource."""

    verb: str
    group: str = ""
    resource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""


class Access:
    """Tokens and rights. `deny` takes a right away from everybody, whatever roles say."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._tokens: dict[str, tuple[User, float | None, Key | None]] = {}
        self._denied: list[Ask] = []

    def admit(self, user: User) -> str:
        """A new token of that user."""
        token = secrets.token_urlsafe(24)
        self._tokens[token] = (user, None, None)
        return token

    def admit_account(self, account: Json, seconds: int) -> tuple[str, str]:
        """A ServiceAccount's token (three parts, as a JWT's) and when it ends."""
        meta = account["metadata"]
        ends = self._clock.now() + seconds
        name = f"system:serviceaccount:{meta['namespace']}:{meta['name']}"
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{meta['namespace']}", "system:authenticated")
        claims = json.dumps({"sub": name, "exp": int(ends), "aud": ["https://kubernetes.default.svc"]}).encode()
        token = f"e30.{base64.urlsafe_b64encode(claims).decode().rstrip('=')}.{secrets.token_urlsafe(16)}"
        key = Key(r.SERVICE_ACCOUNTS, meta["namespace"], meta["name"])
        self._tokens[token] = (User(name, groups), ends, key)
        return token, stamp(ends)

    def expire(self, token: str) -> None:
        """From now on 401."""
        del self._tokens[token]

    def deny(self, verb: str, resource: str = "", namespace: str = "") -> None:
        """resource: `jobs`, `pods/log`; empty: all. namespace: empty: all."""
        self._denied.append(Ask(verb, resource=resource, namespace=namespace))

    def allow_again(self) -> None:
        self._denied.clear()

    def user(self, header: str) -> User:
        """Of an `Authorization` header; without one, nobody in particular. 401 where its token is none."""
        if not header:
            return User("system:anonymous", ("system:unauthenticated",))
        kind, _, token = header.partition(" ")
        found = self._tokens.get(token.strip()) if kind.lower() == "bearer" else None
        if found is None:
            raise ApiError(401, "Unauthorized", "Unauthorized")
        user, ends, account = found
        if (ends is not None and self._clock.now() > ends) or (account and self._store.get(account) is None):
            raise ApiError(401, "Unauthorized", "Unauthorized")
        return user

    def allowed(self, user: User, ask: Ask) -> bool:
        for denied in self._denied:
            if (
                denied.verb in {ask.verb, "*"}
                and denied.resource in {"", ask.resource}
                and denied.namespace in {"", ask.namespace}
            ):
                return False
        if ADMIN_GROUP in user.groups:
            return True
        if ask.path:
            return ask.verb == "get" and ask.path.startswith(
                ("/api", "/version", "/healthz", "/livez", "/readyz", "/openapi")
            )
        if "system:unauthenticated" in user.groups:
            return False
        if ask.resource in {"selfsubjectaccessreviews", "selfsubjectrulesreviews"}:
            return True
        return any(_rule_fits(rule, ask) for rule in self._rules(user, ask.namespace))

    def _rules(self, user: User, namespace: str) -> Iterable[Json]:
        rooms = [(r.CLUSTER_BINDINGS, "")] + ([(r.BINDINGS, namespace)] if namespace else [])
        for resource, room in rooms:
            for binding in self._store.all(resource, room):
                if any(_is_subject(user, subject, room) for subject in binding.get("subjects") or []):
                    ref = binding["roleRef"]
                    key = (
                        Key(r.ROLES, room, ref["name"])
                        if ref["kind"] == "Role"
                        else Key(r.CLUSTER_ROLES, "", ref["name"])
                    )
                    yield from (self._store.get(key) or {}).get("rules") or []

    def check(self, user: User, ask: Ask) -> None:
        """403 in the server's words."""
        if self.allowed(user, ask):
            return
        if ask.path:
            message = f'forbidden: User "{user.name}" cannot {ask.verb} path "{ask.path}"'
            raise ApiError(403, "Forbidden", message, {})
        plural = ask.resource.partition("/")[0]
        shown = f"{plural}.{ask.group}" if ask.group else plural
        where = f' in the namespace "{ask.namespace}"' if ask.namespace else " at the cluster scope"
        what = f'{shown} "{ask.name}"' if ask.name else shown
        message = (
            f'{what} is forbidden: User "{user.name}" cannot {ask.verb} resource "{ask.resource}" in API group '
            f'"{ask.group}"{where}'
        )
        details = (
            {"kind": plural} | ({"name": ask.name} if ask.name else {}) | ({"group": ask.group} if ask.group else {})
        )
        raise ApiError(403, "Forbidden", message, details)


def _is_subject(user: User, subject: Json, room: str) -> bool:
    if subject["kind"] == "ServiceAccount":
        return user.name == f"system:serviceaccount:{subject.get('namespace') or room}:{subject['name']}"
    return subject["name"] == user.name if subject["kind"] == "User" else subject["name"] in user.groups


def _rule_fits(rule: Json, ask: Ask) -> bool:
    def has(field: str, value: str) -> bool:
        return bool({value, "*"} & set(rule.get(field) or []))

    subresource = ask.resource.partition("/")[2]
    named = has("resources", ask.resource) or (subresource and f"*/{subresource}" in (rule.get("resources") or []))
    if not (has("verbs", ask.verb) and has("apiGroups", ask.group) and named):
        return False
    names = rule.get("resourceNames") or []
    return not names or ask.name in names
