"""RabbitMQ's management API, as far as operations need it."""

from __future__ import annotations

import base64
import http.client
import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit

WITHIN_S = 10


class ManagementError(Exception):
    """The management API refused, or cannot be reached. Carries no password."""


@dataclass(frozen=True)
class Management:
    """url: http(s)://host:port. The password is kept out of the repr."""

    url: str
    user: str
    password: str

    def __repr__(self) -> str:
        return f"Management({self.url}, {self.user})"

    @classmethod
    def of(cls, url: str) -> Management:
        """From http://user:password@host:port. Raises `ManagementError` if the login is missing."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or not parts.username:
            raise ManagementError("the management URL must look like http://user:password@host:15672")
        address = f"{parts.scheme}://{parts.hostname}:{parts.port or 15672}{parts.path.rstrip('/')}"
        return cls(address, unquote(parts.username), unquote(parts.password or ""))

    def call(self, method: str, path: str, body: object = None) -> object:
        """One call; `path` follows /api. None for an empty answer. Raises `ManagementError`."""
        login = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        request = urllib.request.Request(  # noqa: S310 - http or https, checked where the URL came from
            f"{self.url}/api{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"authorization": f"Basic {login}", "content-type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=WITHIN_S) as answer:  # noqa: S310 - as above
                text = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise ManagementError(
                f"RabbitMQ's management API at {self.url}: {method} {path}: {_said(error)}"
            ) from error
        return json.loads(text) if text else None

    def put_vhost(self, name: str) -> None:
        """A vhost, made if there is none of that name, which this login may use."""
        self.call("PUT", f"/vhosts/{part(name)}", {})
        self.put_permission(name, self.user)

    def put_user(self, name: str, password: str, tags: str) -> None:
        """A user; tags: "" for a program, "monitoring" for somebody who looks."""
        self.call("PUT", f"/users/{part(name)}", {"password": password, "tags": tags})

    def put_permission(self, vhost: str, user: str, *, names: str = ".*") -> None:
        """The user may do everything there with what has such a name. RabbitMQ lets who may read take and purge."""
        permission = {"configure": names, "write": names, "read": names}
        self.call("PUT", f"/permissions/{part(vhost)}/{part(user)}", permission)


def part(name: str) -> str:
    """A name as one part of a path; the vhost / is %2F."""
    return quote(name, safe="")


def _said(error: Exception) -> str:
    """What kept a good answer away, in words."""
    if isinstance(error, urllib.error.HTTPError):
        return f"it answered {error.code} {error.reason}"
    why = error.reason if isinstance(error, urllib.error.URLError) else error
    return (why.strerror if isinstance(why, OSError) else None) or "no answer, or the connection broke"
