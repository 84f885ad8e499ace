"""One API server of Kubernetes over the official client: requests, what its refusals mean, and its streams.

The only module that knows the package `kubernetes`, and it loads it (0.4 s) when a cluster is opened. Of the client it
takes what is hard to get right: kubeconfig, tokens that expire, plug-ins that fetch them, TLS. Objects go in and come
out as they are: the server validates them strictly, and to read a thousand pods does not mean to build a thousand
models. The client repeats nothing that was answered; who calls does, for only he knows whether that is safe.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal, NoReturn, TypeAlias, TypeVar

import msgspec
import urllib3
from urllib3.exceptions import HTTPError, ProtocolError

from fedyard.clock import Clock, SystemClock
from fedyard.cluster.port import Reason, Refused, Unavailable

CONNECT_S: Final = 5.0
READ_S: Final = 30.0
WATCH_S: Final = 50
"""The server ends a watch after so long; it is resumed."""
MAX_ANSWER: Final = 256 * 1024 * 1024
MAX_MESSAGE: Final = 1000
CALLS_PER_S: Final = 100.0
CALLS_AT_ONCE: Final = 200.0

Method: TypeAlias = Literal["GET", "POST", "PATCH", "DELETE"]
Query: TypeAlias = dict[str, str]
_QUOTA = "exceeded quota"
_TERMINATING = "is being terminated"
_NOT_COUNTED = "status unknown for quota"


class Missing(Exception):
    """404: it is not there (or the namespace is not)."""


class Conflict(Exception):
    """409: the name is taken, or the object is another one than was meant."""


class Expired(Exception):
    """410: the server has forgotten that version; list anew."""


T = TypeVar("T")


def _trouble(error: Exception) -> str:
    """Of an error on the way, in words; its own text may quote an address or a header."""
    if isinstance(error, TimeoutError | urllib3.exceptions.TimeoutError):
        return "does not answer in time"
    if isinstance(error, ConnectionRefusedError | urllib3.exceptions.NewConnectionError):
        return "cannot be reached: nobody listens there, or there is no such host"
    if isinstance(error, ssl.SSLError | urllib3.exceptions.SSLError):
        return "is not trusted: its certificate, or ours, does not fit"
    return f"broke off the connection ({_innermost(error)})"


def _innermost(error: BaseException) -> str:
    """The class of what was at the bottom of it."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return type(error).__name__


def decoded(answer: bytes, kind: type[T]) -> T:
    """Raises `Unavailable`: whatever answers there is no API server."""
    try:
        found: T = _decoder(kind).decode(answer)  # type: ignore[arg-type]
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError):
        raise Unavailable("what answers there is no API of Kubernetes: look at its address") from None
    return found


@cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


class _Status(msgspec.Struct):
    message: str = ""
    reason: str = ""


class Api:
    """Calls of one cluster. Each ends in time, and raises `Unavailable`, `Refused` or one of the three above."""

    def __init__(
        self, login: Callable[[], Any], name: str, *, clock: Clock | None = None, read_s: float = READ_S
    ) -> None:
        """login: a new client, with a token read afresh. name: the cluster's, for what is said to people."""
        self._login = login
        self._client = login()
        self._broken: type[Exception] = _kubernetes().client.ApiException  # of TLS: all else is raised as it is
        self._name = name
        self._read_s = read_s
        self._pace = _Pace(clock or SystemClock())
        self._lock = threading.Lock()
        self._streams: set[urllib3.BaseHTTPResponse] = set()
        self._closed = threading.Event()

    def get(self, path: str, query: Query | None = None) -> bytes:
        return self._call("GET", path, query)

    def post(self, path: str, body: Any) -> bytes:
        return self._call("POST", path, {"fieldValidation": "Strict"}, body)

    def patch(self, path: str, body: Any) -> bytes:
        """RFC 7386: what stands in `body` is put in the place of what is there."""
        return self._call("PATCH", path, {"fieldValidation": "Strict"}, body, "application/merge-patch+json")

    def delete(self, path: str, uid: str, *, propagation: str, grace_s: int | None = None) -> None:
        """That very object (else `Conflict`). All options stand in the body: beside one, the query is ignored."""
        options: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": propagation,
            "preconditions": {"uid": uid},
        }
        if grace_s is not None:
            options["gracePeriodSeconds"] = grace_s
        self._call("DELETE", path, None, options)

    def pieces(self, path: str, query: Query) -> Generator[bytes, None, None]:
        """Of a long text, as they come. Who has enough closes the generator."""
        with self._opened("GET", path, query, read_s=self._read_s) as response, self._said():
            yield from response.stream(65536, decode_content=True)

    def lines(self, path: str, query: Query, opened: Callable[[], None]) -> Iterator[bytes]:
        """Of a watch, until the server ends it. `opened` is called as soon as nothing can be missed any more."""
        with self._opened("GET", path, query, read_s=WATCH_S + self._read_s) as response:
            with self._lock:
                self._streams.add(response)
            try:
                if self._closed.is_set():
                    return
                opened()
                with self._said():
                    rest = b""
                    for piece in response.stream(65536, decode_content=True):
                        *whole, rest = (rest + piece).split(b"\n")
                        yield from filter(None, whole)
            finally:
                with self._lock:
                    self._streams.discard(response)

    def close(self) -> None:
        self._closed.set()
        with self._lock:
            streams = list(self._streams)
        for one in streams:
            with suppress(OSError, ValueError, RuntimeError, HTTPError):
                one.shutdown()
        self._client.close()

    def _call(
        self, method: Method, path: str, query: Query | None = None, body: Any = None, content: str = "application/json"
    ) -> bytes:
        with self._opened(method, path, query, body, content, read_s=self._read_s) as response, self._said():
            answer = response.read(MAX_ANSWER + 1, decode_content=True)
        if len(answer) > MAX_ANSWER:
            raise Unavailable(f"cluster {self._name} answers {path} with more than {MAX_ANSWER} bytes")
        return answer

    @contextmanager
    def _opened(
        self,
        method: Method,
        path: str,
        query: Query | None,
        body: Any = None,
        content: str = "application/json",
        *,
        read_s: float,
    ) -> Iterator[urllib3.BaseHTTPResponse]:
        """The answer, its body not yet read. A token that has expired is read anew, once."""
        self._pace.take()
        client = self._client
        response = self._ask(client, method, path, query, body, content, read_s)
        if response.status == 401:
            response.close()
            client = self._log_in_again(client)
            response = self._ask(client, method, path, query, body, content, read_s)
        whole = False
        try:
            if not 200 <= response.status <= 299:
                self._refuse(response)
            yield response
            whole = True
        finally:
            if not whole:
                response.close()  # a connection whose answer was not read to its end is not used again
            response.release_conn()

    def _ask(
        self, client: Any, method: Method, path: str, query: Query | None, body: Any, content: str, read_s: float
    ) -> urllib3.BaseHTTPResponse:
        """A connection that was idle may be closed by the other side as it is used again: what bears a repetition (all
        but POST: a DELETE names the object, a PATCH says how it shall be) is asked once more, on another one."""
        headers = {"Accept": "application/json, */*"} | ({"Content-Type": content} if body is not None else {})
        with self._said():
            request = client.param_serialize(
                method, path, query_params=list((query or {}).items()), header_params=headers, body=body,
                auth_settings=["BearerToken"],
            )  # fmt: skip
            answer: urllib3.BaseHTTPResponse
            try:
                answer = client.call_api(*request, _request_timeout=(CONNECT_S, read_s)).response
            except (ProtocolError, ConnectionResetError, BrokenPipeError):
                if method == "POST":
                    raise  # it may have been done, and doing it twice is another thing
                answer = client.call_api(*request, _request_timeout=(CONNECT_S, read_s)).response
            return answer

    def _log_in_again(self, refused: Any) -> Any:
        with self._lock:
            if self._client is refused:
                self._client = self._login()
                refused.close()
            return self._client

    @contextmanager
    def _said(self) -> Iterator[None]:
        """Whatever breaks on the way is the cluster being away. It may have done what was asked."""
        try:
            yield
        except (HTTPError, OSError, self._broken) as error:
            raise Unavailable(f"cluster {self._name} {_trouble(error)}") from None
        except ValueError:
            # Without its text: it may quote a header or a body.
            fact = f"what was asked of cluster {self._name} is nothing that Kubernetes could take"
            raise Refused(Reason.CONFIG_INVALID, fact) from None

    def _refuse(self, response: urllib3.BaseHTTPResponse) -> NoReturn:
        with self._said():
            raw = response.read(65536, decode_content=True)
        try:
            status = msgspec.json.decode(raw, type=_Status)
        except msgspec.MsgspecError:
            status = _Status(message=raw[:200].decode(errors="replace"))
        fact = f"cluster {self._name}: {status.message[:MAX_MESSAGE] or f'status {response.status}'}"
        match response.status:
            case 404:
                raise Missing(fact)
            case 409:
                raise Conflict(fact)
            case 410:
                raise Expired(fact)
            case 401:
                raise Unavailable(f"cluster {self._name} does not accept the token (401)")
            case 403 if _TERMINATING in status.message or _NOT_COUNTED in status.message:
                raise Unavailable(fact, 1.0)
            case 403 if _QUOTA in status.message:
                raise Refused(Reason.QUOTA_EXCEEDED, fact)
            case code if code in {408, 429} or code >= 500:
                raise Unavailable(f"{fact} ({code})", _retry_after(response))
            case _:
                raise Refused(Reason.CONFIG_INVALID, fact)


class _Pace:
    """Not more than so many calls a second, after a burst: a loop of ours is not what overloads an API server."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._left = CALLS_AT_ONCE
        self._at = clock.monotonic()
        self._never = threading.Event()

    def take(self) -> None:
        with self._lock:
            now = self._clock.monotonic()
            self._left = min(CALLS_AT_ONCE, self._left + (now - self._at) * CALLS_PER_S) - 1
            self._at = now
            behind = -self._left / CALLS_PER_S
        if behind > 0:
            self._clock.wait(self._never, behind)


def _retry_after(response: urllib3.BaseHTTPResponse) -> float | None:
    try:
        return min(3600.0, max(0.0, float(response.headers.get("Retry-After", ""))))
    except ValueError:
        return None


def in_cluster() -> Callable[[], Any]:
    """By the service account of the pod that this runs in."""
    kubernetes = _kubernetes()

    def login() -> Any:
        configuration = kubernetes.client.Configuration()
        with _settings():
            kubernetes.config.load_incluster_config(client_configuration=configuration)
        return _client(configuration)

    return login


def kubeconfig(path: str, context: str) -> Callable[[], Any]:
    """By that file and that context in it; never by whichever is the current one."""
    if not path or not context:
        raise Refused(Reason.CONFIG_INVALID, "a kubeconfig needs its path and the name of a context")
    kubernetes = _kubernetes()

    def login() -> Any:
        if not Path(path).exists():  # of which the client says that no configuration was found
            fact = f"this cluster cannot be opened: there is no kubeconfig {Path(path).absolute()}"
            raise Refused(Reason.CONFIG_INVALID, fact)
        configuration = kubernetes.client.Configuration()
        with _settings():
            kubernetes.config.load_kube_config(
                config_file=path, context=context, client_configuration=configuration, persist_config=False
            )
        return _client(configuration)

    return login


def _client(configuration: Any) -> Any:
    configuration.retries = False
    configuration.keep_alive = True  # of TCP: else a watch whose server is gone is noticed after a minute and more
    configuration.connection_pool_maxsize = 16
    return _kubernetes().client.ApiClient(configuration)


@contextmanager
def _settings() -> Iterator[None]:
    try:
        yield
    except (_kubernetes().config.ConfigException, OSError, ValueError) as error:
        raise Refused(Reason.CONFIG_INVALID, f"this cluster cannot be opened: {error}") from None


def _kubernetes() -> Any:
    try:
        import kubernetes  # noqa: PLC0415 - costs 0.4 s, and is there only where a cluster of Kubernetes is
    except ImportError:
        raise Refused(
            Reason.CONFIG_INVALID, "a cluster of Kubernetes needs `pip install fedyard[kubernetes]`"
        ) from None
    return kubernetes
