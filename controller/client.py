"""The hub over HTTP: typed calls that may be repeated without harm.

Every write carries an `Idempotency-Key`, asks the hub to wait for its decision and follows the command when
that takes longer. What may pass (no connection, a timeout, 429, 5xx) is tried again with growing, jittered
pauses, honouring Retry-After, until `give_up_s` is over: then `Unavailable`. What is ours to fix (4xx) is
`Refused` at once and never repeated. Neither ever carries a token or a payload. Safe to use from many threads.
"""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Literal, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import msgspec
import urllib3
from urllib3.connection import HTTPConnection

from controller import answers as a
from controller.clock import Clock, SystemClock, draw_key, jitter
from controller.structs import prepare_structs

T = TypeVar("T")

DECIDE_WAIT_S = 10
"""How long one request asks the hub to wait for its decision; the command is followed after that."""
LONG_POLL_AT_MOST_S = 30
CONNECT_WITHIN_S = 5.0
ANSWER_WITHIN_S = 15.0
"""Beyond what the hub was asked to wait."""
PAUSE_FIRST_S = 0.2
PAUSE_AT_MOST_S = 10.0
RETRY_AFTER_AT_MOST_S = 300.0
ANSWER_LIMIT_BYTES = 67_108_864
POOL_SIZE = 16
WORTH_READING = range(200, 300)
TRY_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504, 507})
CARRY_CONNECT_WITHIN_S = 15.0
"""Also how long the other side may take no bytes at all while it is sent some."""
CARRY_WITHIN_S = 60.0

UNSENT_BYTES = 65_536
"""What the kernel may hold back beyond what is on its way: a cut loses it, and has it counted as sent."""
_SOCKET_OPTIONS = [
    *HTTPConnection.default_socket_options,
    (socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES),
]
_JSON = "application/json"
_COMMAND_PATH = re.compile(r"^/v1/commands/[0-9a-f-]{36}$")


class HubError(Exception):
    """The hub did not do what was asked."""


class Refused(HubError):
    """4xx: repeating it cannot help. `slug` names the problem, `detail` is the hub's sentence."""

    def __init__(self, call: str, status: int, problem: a.Problem) -> None:
        self.status = status
        self.slug = problem.type.rsplit("/", 1)[-1]
        self.detail = problem.detail or problem.title
        super().__init__(f"{call}: {status} {self.slug}: {self.detail}")


class Unavailable(HubError):
    """Gave up after a stated time; the write may have been done all the same, its key makes a repeat harmless.

    retry_after_s: what the hub asked for, if that was more than there was patience for.
    """

    def __init__(self, fact: str, retry_after_s: float = 0.0) -> None:
        super().__init__(fact)
        self.retry_after_s = retry_after_s


class Passing(Exception):
    """Worth another try, after `pause_s` if the hub said so."""

    def __init__(self, fact: str, pause_s: float | None = None) -> None:
        super().__init__(fact)
        self.pause_s = pause_s


@dataclass(frozen=True)
class _Request:
    method: str
    path: str
    body: bytes | None
    headers: Mapping[str, str]
    wait_s: float

    def __str__(self) -> str:
        return f"{self.method} {self.path.split('?', 1)[0]}"


class Client:
    """The calls of one subject (the owner of `token`).

    closing: when it is set, waits between tries end and the call is given up.
    ca_file: certificates to trust, for a hub behind https with a private authority.
    """

    def __init__(
        self,
        hub: str,
        token: str,
        *,
        give_up_s: float = 60.0,
        clock: Clock | None = None,
        closing: threading.Event | None = None,
        ca_file: str | None = None,
    ) -> None:
        parts = urlsplit(hub)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("the hub's address must look like https://hub.example:8443 or http://127.0.0.1:8080")
        prepare_structs()
        self.hub = hub.rstrip("/")
        self.give_up_s = give_up_s
        self._clock = clock or SystemClock()
        self._closing = closing or threading.Event()
        self._headers = {"Authorization": f"Bearer {token}", "Accept": _JSON, "User-Agent": "fedyard-site"}
        self._pool = urllib3.PoolManager(
            maxsize=POOL_SIZE, block=False, retries=False, ca_certs=ca_file, socket_options=_SOCKET_OPTIONS
        )

    def __repr__(self) -> str:
        return f"Client({self.hub!r})"

    def close(self) -> None:
        """Let go of the idle connections."""
        self._pool.clear()

    # the network

    def me(self) -> a.Me:
        """Who the token belongs to."""
        return self._read("/v1/me", a.Me)

    def organisations(self) -> list[a.Organisation]:
        return list(self._every("/v1/organisations", {}, a.Organisation))

    def create_enrolment(self, organisation_id: str, note: str = "", *, key: str | None = None) -> a.Created:
        """A one-time token for a new site, drawn by the hub: an admin's call."""
        return self._write(
            "POST", "/v1/enrolments", {"organisation_id": organisation_id, "note": note}, a.Created, key=key
        )

    def enrol(self, name: str, identity_key: str, token_sha256: str, description: str, *, key: str) -> a.Created:
        """Become a site. The client's token must be an enrolment's; only the hash of the new token travels."""
        body = {
            "name": name,
            "identity_key": identity_key,
            "token_sha256": token_sha256,
            "description": description,
        }
        return self._write("POST", "/v1/sites", body, a.Created, key=key)

    def heartbeat(self, site_id: str) -> float:
        """Tell that the site is alive; seconds until the next beat is due."""
        path = f"/v1/sites/{_part(site_id)}/heartbeat"
        return self._decoded(self._call("PUT", path, body=b"{}", give_up_s=5.0)[1], a.Beat).heartbeat_every_s

    def sites(self, *, project_id: str | None = None) -> list[a.Site]:
        return list(self._every("/v1/sites", {"project": project_id}, a.Site))

    # projects

    def create_project(
        self,
        name: str,
        tasks: Sequence[Mapping[str, object]],
        *,
        description: str = "",
        data_format: str = "",
        joining: Literal["open", "approval", "invitation"] = "approval",
        sealed: Literal["required", "optional"] = "required",
        key: str | None = None,
    ) -> str:
        """The new project's id; the calling site is its coordinator."""
        body = {
            "name": name,
            "tasks": list(tasks),
            "description": description,
            "data_format": data_format,
            "joining": joining,
            "sealed": sealed,
        }
        return self._write("POST", "/v1/projects", body, a.Created, key=key).id

    def projects(self, *, name: str | None = None, member: str | None = None) -> list[a.Project]:
        return list(self._every("/v1/projects", {"name": name, "member": member}, a.Project))

    def project(self, project_id: str) -> a.Project:
        return self._read(f"/v1/projects/{_part(project_id)}", a.Project)

    def members(self, project_id: str) -> list[a.Membership]:
        return list(self._every(f"/v1/projects/{_part(project_id)}/members", {}, a.Membership))

    def put_member(self, project_id: str, site_id: str, notes: str = "", *, key: str | None = None) -> a.Membership:
        """As the site: join or accept. As the coordinator: invite or approve."""
        path = f"/v1/projects/{_part(project_id)}/members/{_part(site_id)}"
        return self._write("PUT", path, {"notes": notes}, a.Membership, key=key)

    def remove_member(self, project_id: str, site_id: str, *, key: str | None = None) -> a.Membership:
        """As the site: leave or decline. As the coordinator: remove or decline."""
        path = f"/v1/projects/{_part(project_id)}/members/{_part(site_id)}"
        return self._write("DELETE", path, None, a.Membership, key=key)

    def models(self, project_id: str) -> list[a.Model]:
        """Every global model that was made in the project, oldest first."""
        return list(self._every(f"/v1/projects/{_part(project_id)}/models", {}, a.Model))

    # runs

    def start_run(
        self,
        project_id: str,
        *,
        queue: bool = False,
        finish_within_s: float | None = None,
        key: str | None = None,
    ) -> a.StartedRun:
        body: dict[str, object] = {"queue": queue}
        if finish_within_s is not None:
            body["finish_within_s"] = finish_within_s
        return self._write("POST", f"/v1/projects/{_part(project_id)}/runs", body, a.StartedRun, key=key)

    def runs(self, *, project_id: str | None = None, state: str | None = None) -> list[a.Run]:
        return list(self._every("/v1/runs", {"project": project_id, "state": state}, a.Run))

    def run(self, run_id: str, *, after: int | None = None, wait: int = 0) -> a.Run:
        """The run; with `after`, as soon as its version is above that, or as it is after `wait` seconds."""
        query = {"after": after, "wait": min(wait, LONG_POLL_AT_MOST_S) or None}
        return self._read(f"/v1/runs/{_part(run_id)}", a.Run, query, wait_s=wait)

    def stop_run(self, run_id: str, reason: str = "", *, key: str | None = None) -> a.Changed:
        return self._write("POST", f"/v1/runs/{_part(run_id)}/stop", {"reason": reason}, a.Changed, key=key)

    def restart_run(
        self, run_id: str, start_from: Literal["reached", "start"] = "reached", *, key: str | None = None
    ) -> a.StartedRun:
        path = f"/v1/runs/{_part(run_id)}/restart"
        return self._write("POST", path, {"start_from": start_from}, a.StartedRun, key=key)

    def events(self, run_id: str, *, after: int = 0, wait: int = 0) -> list[a.Event]:
        """The run's events after that number, a page at most; waits `wait` seconds for the next one."""
        query = {"after": after, "wait": min(wait, LONG_POLL_AT_MOST_S) or None}
        return self._read(f"/v1/runs/{_part(run_id)}/events", _page(a.Event), query, wait_s=wait).items

    def report(self, run_id: str, task_seq: int, site_id: str, body: bytes, *, key: str) -> a.Reported:
        """A seat's report; `body` is its JSON, kept by the caller so that a repeat is the same to the byte."""
        path = f"/v1/runs/{_part(run_id)}/tasks/{task_seq}/seats/{_part(site_id)}"
        return self._written("PUT", path, body, a.Reported, key)

    def aggregated(self, run_id: str, task_seq: int, round_: int, body: bytes, *, key: str) -> a.Reported:
        """The coordinator's new global model; `body` as for `report`."""
        path = f"/v1/runs/{_part(run_id)}/tasks/{task_seq}/rounds/{round_}/aggregated"
        return self._written("POST", path, body, a.Reported, key)

    # keys

    def put_key(self, site_id: str, epoch: int, body: Mapping[str, object], *, key: str | None = None) -> a.KeyChanged:
        """Publish the site's sealing key of an epoch; the same key again changes nothing."""
        return self._write("PUT", f"/v1/sites/{_part(site_id)}/keys/{epoch}", body, a.KeyChanged, key=key)

    def revoke_key(self, site_id: str, epoch: int, reason: str = "", *, key: str | None = None) -> a.KeyChanged:
        path = f"/v1/sites/{_part(site_id)}/keys/{epoch}"
        return self._write("DELETE", path, {"reason": reason}, a.KeyChanged, key=key)

    def site_keys(self, site_id: str) -> list[a.SealingKey]:
        """Every sealing key that the hub has of a site."""
        return list(self._every(f"/v1/sites/{_part(site_id)}/keys", {}, a.SealingKey))

    def project_keys(self, project_id: str) -> list[a.MemberKey]:
        """The active members of a project with their identities and keys, as the hub says."""
        return list(self._every(f"/v1/projects/{_part(project_id)}/keys", {}, a.MemberKey))

    def report_conflict(self, site_id: str, about_site_id: str, pinned: str, seen: str) -> None:
        """Put on record that `about_site_id` shows another identity than it was pinned with (hashes of both)."""
        path = f"/v1/sites/{_part(site_id)}/conflicts/{_part(about_site_id)}"
        self._write("PUT", path, {"pinned": pinned, "seen": seen}, dict, key=None)

    # logs

    def write_log(
        self,
        run_id: str,
        task_seq: int,
        site_id: str,
        seq: int,
        pieces: Sequence[bytes],
        *,
        round_: int | None = None,
        key: str | None = None,
    ) -> None:
        """Pieces of the site's own log of a task run, numbered from `seq`; what the hub has stays as it is."""
        path = f"/v1/runs/{_part(run_id)}/tasks/{task_seq}/logs/{_part(site_id)}"
        self._write("POST", path, {"seq": seq, "round": round_, "pieces": list(pieces)}, dict, key=key)

    def logs(
        self,
        run_id: str,
        *,
        site_id: str | None = None,
        task_seq: int | None = None,
        after: int = 0,
        wait: int = 0,
        limit: int = 100,
    ) -> list[a.LogPiece]:
        """Pieces after the cursor `after`, oldest first; waits `wait` seconds for one."""
        query = {
            "site": site_id,
            "task": task_seq,
            "after": after,
            "wait": min(wait, LONG_POLL_AT_MOST_S) or None,
            "limit": limit,
        }
        return self._read(f"/v1/runs/{_part(run_id)}/logs", _page(a.LogPiece), query, wait_s=wait).items

    # messages

    def post_message(
        self,
        project_id: str,
        to: Literal["coordinator", "participants"] | Sequence[str],
        content: bytes | None,
        *,
        kind: str = "message",
        run_id: str | None = None,
        ttl_s: float | None = None,
        artifact_id: str | None = None,
        key: str | None = None,
    ) -> str:
        """Send a message; its id. With `artifact_id` the body lies there, and `content` is its seal."""
        message: dict[str, object] = {"project_id": project_id, "to": to, "body": content, "kind": kind}
        if artifact_id is not None:
            message["artifact_id"] = artifact_id
        if run_id is not None:
            message["run_id"] = run_id
        if ttl_s is not None:
            message["ttl_s"] = ttl_s
        return self._write("POST", "/v1/messages", {"messages": [message]}, a.Posted, key=key).ids[0]

    def message(self, message_id: str) -> a.Message:
        return self._read(f"/v1/messages/{_part(message_id)}", a.Message)

    def inbox(self, *, after: int | None = None, wait: int = 0, limit: int = 20) -> a.Inbox:
        """Entries after `after` (default: what is acknowledged), oldest first; waits `wait` seconds for one."""
        query = {"after": after, "wait": min(wait, LONG_POLL_AT_MOST_S) or None, "limit": limit}
        return self._read("/v1/inbox", a.Inbox, query, wait_s=wait)

    def acknowledge(self, through: int) -> None:
        """Entries up to `through` need not come again. Returns when the hub has it safely, undecided."""
        body = _encoded({"through": through})
        self._call("PUT", "/v1/inbox/acknowledged", body=body, headers={"Idempotency-Key": f"acknowledged-{through}"})

    def command(self, command_id: str, *, wait: int = 0) -> a.Command:
        query = {"wait": min(wait, LONG_POLL_AT_MOST_S) or None}
        return self._read(f"/v1/commands/{_part(command_id)}", a.Command, query, wait_s=wait)

    # artifacts (transfer.py carries their bytes)

    def declare_artifact(self, body: Mapping[str, object], *, key: str) -> str:
        """The artifact's id; under the same key the same one, also after a restart."""
        return self._write("POST", "/v1/artifacts", body, a.Created, key=key).id

    def artifact(self, artifact_id: str) -> a.Artifact:
        return self._read(f"/v1/artifacts/{_part(artifact_id)}/about", a.Artifact)

    def artifacts(
        self, *, project_id: str | None = None, run_id: str | None = None, kind: str | None = None
    ) -> list[a.Artifact]:
        return list(self._every("/v1/artifacts", {"project": project_id, "run": run_id, "kind": kind}, a.Artifact))

    def artifact_chunks(self, artifact_id: str) -> a.Chunks:
        """Which chunks of an upload the hub has."""
        return self._read(f"/v1/artifacts/{_part(artifact_id)}/chunks", a.Chunks)

    def complete_artifact(self, artifact_id: str) -> a.Changed:
        return self._write("POST", f"/v1/artifacts/{_part(artifact_id)}/complete", None, a.Changed, key=None)

    def delete_artifact(self, artifact_id: str) -> a.Changed:
        return self._write("DELETE", f"/v1/artifacts/{_part(artifact_id)}", None, a.Changed, key=None)

    def carry(
        self,
        method: str,
        where: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Iterable[bytes] | None = None,
        length: int | None = None,
    ) -> urllib3.BaseHTTPResponse:
        """One try with bytes that are no JSON; the answer, good and unread: who asked closes it.

        where: a path of the hub's, or the whole address of another server, which gets no token. Raises `Passing` for
        what may pass, `Refused` for the rest.
        """
        ours = where.startswith("/")
        sent = {**(self._headers if ours else {}), **(headers or {}), "Accept": "*/*"}
        if length is not None:
            sent |= {"Content-Length": str(length), "Content-Type": "application/octet-stream"}
        try:
            response = self._pool.request(
                method,
                self.hub + where if ours else where,
                body=body,
                headers=sent,
                timeout=urllib3.Timeout(connect=CARRY_CONNECT_WITHIN_S, read=CARRY_WITHIN_S),
                retries=False,
                redirect=False,
                preload_content=False,
                decode_content=False,
            )
            if response.status in WORTH_READING:
                return response
            content = _content(response) or b""
        except urllib3.exceptions.HTTPError as error:
            raise Passing(f"no answer ({type(error).__name__})") from None
        if response.status in TRY_AGAIN:
            raise Passing(f"the answer was {response.status}", _seconds(response.headers.get("Retry-After")))
        raise Refused(f"{method} {where.split('?', 1)[0]}", response.status, _problem(content))

    def pause(self, seconds: float) -> bool:
        """Wait between tries, moved by chance; True if the client is closing and there is no next one."""
        return self._clock.wait(self._closing, jitter(seconds))

    def monotonic(self) -> float:
        return self._clock.monotonic()

    # how

    def _read(self, path: str, kind: type[T], query: Mapping[str, object] | None = None, *, wait_s: float = 0.0) -> T:
        _, content, _ = self._call("GET", _with_query(path, query or {}), wait_s=wait_s)
        return self._decoded(content, kind)

    def _every(self, path: str, query: Mapping[str, object], kind: type[T]) -> Iterator[T]:
        after: str | None = None
        while True:
            page = self._read(path, _page(kind), {**query, "limit": 200, "after": after})
            yield from page.items
            if page.next is None:
                return
            after = page.next

    def _write(self, method: str, path: str, body: object, kind: type[T], *, key: str | None) -> T:
        content = None if body is None else _encoded(body)
        return self._written(method, path, content, kind, key or draw_key())

    def _written(self, method: str, path: str, body: bytes | None, kind: type[T], key: str) -> T:
        headers = {"Idempotency-Key": key, "Prefer": f"wait={DECIDE_WAIT_S}"}
        status, content, location = self._call(method, path, body=body, headers=headers, wait_s=DECIDE_WAIT_S)
        if status == HTTPStatus.ACCEPTED:
            content = self._outcome(f"{method} {path}", location)
        return self._decoded(content, kind)

    def _outcome(self, call: str, location: str) -> bytes:
        """Follow a command until it is decided."""
        if not _COMMAND_PATH.match(location):
            raise Unavailable(f"{call}: the hub answered 202 without a Location of a command")
        end = self._clock.monotonic() + self.give_up_s
        while self._clock.monotonic() < end and not self._closing.is_set():
            command = self.command(location.rsplit("/", 1)[-1], wait=DECIDE_WAIT_S)
            if command.problem is not None:
                raise Refused(call, command.status or command.problem.status, command.problem)
            if command.state == "accepted":
                return bytes(command.result)
        raise Unavailable(f"{call}: {location} is still undecided after {self.give_up_s:g} s")

    def _call(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        wait_s: float = 0.0,
        give_up_s: float | None = None,
    ) -> tuple[int, bytes, str]:
        """Status, content and Location of the first answer that is worth reading."""
        request = _Request(method, path, body, headers or {}, wait_s)
        patience = self.give_up_s if give_up_s is None else give_up_s
        end = self._clock.monotonic() + patience
        tries, pause = 0, PAUSE_FIRST_S
        while True:
            tries += 1
            try:
                return self._once(request)
            except Passing as passing:
                rest = passing.pause_s if passing.pause_s is not None else pause
                left = end - self._clock.monotonic()
                if rest > left or self._clock.wait(self._closing, jitter(rest)):
                    fact = f"{request}: {passing}; gave up after {tries} tries (allowed: {patience:g} s)"
                    raise Unavailable(fact, passing.pause_s or 0.0) from None
                pause = min(2 * pause, PAUSE_AT_MOST_S)

    def _once(self, request: _Request) -> tuple[int, bytes, str]:
        headers = {**self._headers, **request.headers}
        if request.body is not None:
            headers["Content-Type"] = _JSON
        try:
            response = self._pool.request(
                request.method,
                self.hub + request.path,
                body=request.body,
                headers=headers,
                timeout=urllib3.Timeout(connect=CONNECT_WITHIN_S, read=request.wait_s + ANSWER_WITHIN_S),
                retries=False,
                redirect=False,
                preload_content=False,
            )
            content = _content(response)
        except urllib3.exceptions.HTTPError as error:
            raise Passing(f"no answer ({type(error).__name__})") from None
        if content is None:
            raise Unavailable(f"{request}: the answer has more than {ANSWER_LIMIT_BYTES} bytes")
        if response.status in TRY_AGAIN:
            raise Passing(f"the hub answered {response.status}", _seconds(response.headers.get("Retry-After")))
        if response.status not in WORTH_READING:
            raise Refused(str(request), response.status, _problem(content))
        return response.status, content, response.headers.get("Location", "")

    @staticmethod
    def _decoded(content: bytes, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(content, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            fact = str(error).split("Invalid value")[0][:200]
            raise Unavailable(f"the hub's answer is no {kind.__name__} as this client knows it: {fact}") from None


def _page(kind: type[T]) -> type[a.Page[T]]:
    return a.Page[kind]  # type: ignore[valid-type]


def _content(response: urllib3.BaseHTTPResponse) -> bytes | None:
    """The whole content, with the connection given back to the pool; None if it is over the limit."""
    content = response.read(ANSWER_LIMIT_BYTES + 1)
    if len(content) > ANSWER_LIMIT_BYTES:
        response.close()
        return None
    response.release_conn()
    return content


def _problem(content: bytes) -> a.Problem:
    try:
        return msgspec.json.decode(content, type=a.Problem)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return a.Problem(detail="the answer says no more")


def _seconds(text: str | None) -> float | None:
    """Retry-After in seconds; its other form, a date, is not used by the hub and counts as unsaid."""
    said = text is not None and text.isascii() and text.isdigit()
    return min(float(text or 0), RETRY_AFTER_AT_MOST_S) if said else None


def _encoded(body: object) -> bytes:
    return msgspec.json.encode(body)


def _part(text: str) -> str:
    return quote(text, safe="")


def _with_query(path: str, query: Mapping[str, object]) -> str:
    said = {name: value for name, value in query.items() if value is not None}
    return f"{path}?{urlencode(said)}" if said else path
