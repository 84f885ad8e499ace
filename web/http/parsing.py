"""Requests become frozen values here, once, or are refused: 400, 413, 415 with the place and the rule."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Any

import msgspec
from flask import Request
from msgspec import inspect
from werkzeug.exceptions import RequestEntityTooLarge

from fedyard.wire.problems import ProblemType
from fedyard.wire.seals import carried_bytes
from fedyard.wire.types import UUID_PATTERN
from web.http.bodies import Query
from web.http.expected import expected
from web.http.texts import Unfit
from web.problems import Refused

PATH_ID = UUID_PATTERN
PATH_NAME = "[a-z][a-z0-9_.-]{0,63}"
PATH_COUNT = "0|[1-9][0-9]{0,8}"
PATH_FILE = "[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
_NUMBER = re.compile(r"[-+]?[0-9.]+(e[-+]?[0-9]+)?", re.IGNORECASE)
_KEY = re.compile(r"[!-~]{1,200}")
_PREFERRED = re.compile(r"(?:^|[,;\s])wait\s*=\s*\"?([0-9]{1,6})\"?(?=$|[,;\s])", re.IGNORECASE)
MAX_WAIT_S = 30.0
THROWN_AWAY_BYTES = 65_536


def body_of(request: Request, kind: type[Any], limit_bytes: int, *, optional: bool) -> Any:
    """The body as a `kind`. optional: an absent body stands for `{}`."""
    if (request.content_length or 0) > limit_bytes:
        raise _too_large(limit_bytes)
    try:
        content = request.get_data(cache=False)
    except RequestEntityTooLarge:
        raise _too_large(limit_bytes) from None
    if len(content) > limit_bytes:
        raise _too_large(limit_bytes)
    if len(content) < (request.content_length or 0):
        raise cut_off(len(content))
    if not content and optional:
        return kind()
    if request.mimetype != "application/json":
        raise Refused(ProblemType.NOT_JSON, "send the body as Content-Type: application/json")
    try:
        return msgspec.json.decode(content, type=kind)
    except RecursionError:
        raise Refused(ProblemType.MALFORMED, "body: nested too deeply") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise malformed("body", error, kind) from None


def throw_away(request: Request) -> None:
    """Read a small body that nobody wants: else the connection would end, and with it the answer that says why."""
    if 0 < (request.content_length or 0) <= THROWN_AWAY_BYTES:
        request.get_data(cache=False)


def query_of(request: Request, kind: type[Query]) -> Any:
    """The query parameters as a `kind`; each at most once."""
    given = dict(request.args)
    if len(given) != sum(len(values) for _, values in request.args.lists()):
        raise Refused(ProblemType.MALFORMED, "query: a parameter is given twice; give it once")
    return converted("query", given, kind)


def converted(where: str, given: Mapping[str, Any], kind: type[msgspec.Struct], *, strict: bool = False) -> Any:
    """The fields as a `kind`. Unless `strict`, numbers and truth may be text, as queries and forms have them.

    Raises 400 and 422.
    """
    for name in () if strict else _times(kind) & given.keys():
        if isinstance(given[name], str) and _NUMBER.fullmatch(given[name]):  # would be seconds since 1970
            raise Refused(ProblemType.MALFORMED, f"{where}: write {name} as a time, 2026-01-31T09:30:00Z")
    try:
        return msgspec.convert(given, kind, strict=strict)
    except msgspec.ValidationError as error:
        raise malformed(where, error, kind) from None


@functools.cache
def _times(kind: type[msgspec.Struct]) -> frozenset[str]:
    """The fields that are times."""
    fields = {one.encode_name: one.type for one in inspect.type_info(kind).fields}  # type: ignore[attr-defined]
    kinds = {name: one.types if isinstance(one, inspect.UnionType) else (one,) for name, one in fields.items()}
    return frozenset(
        name for name, those in kinds.items() if any(isinstance(one, inspect.DateTimeType) for one in those)
    )


def malformed(where: str, error: Exception, kind: type[Any] | None = None) -> Refused:
    """400 with the path of the field, the rule and what a `kind` may have there, never with what was sent.

    422 for a value of the right form that cannot be taken.
    """
    if isinstance(error.__cause__, Unfit):
        return Refused(ProblemType.UNFIT, f"{where}: {error.__cause__}")
    rule = _rule(str(error))
    return Refused(ProblemType.MALFORMED, f"{where}: {rule}{'' if kind is None else expected(kind, rule)}")


def _rule(text: str) -> str:
    """msgspec's message without the enum value that it quotes; names of unknown fields stay."""
    return re.sub(r"Invalid enum value .*?( - at |$)", r"Invalid enum value\1", text, flags=re.DOTALL)[:300]


def idempotency_key(request: Request) -> str | None:
    """The header's value, or None without it."""
    key = request.headers.get("Idempotency-Key")
    if key is not None and not _KEY.fullmatch(key):
        raise Refused(ProblemType.MALFORMED, "Idempotency-Key: 1 to 200 visible ASCII characters, without spaces")
    return key


def preferred_wait(request: Request) -> float | None:
    """The seconds of `Prefer: wait=`, 30 at most; None without it. Other preferences are not ours."""
    found = _PREFERRED.search(request.headers.get("Prefer", ""))
    return None if found is None else min(float(found[1]), MAX_WAIT_S)


def payload_within_limit(payload: bytes | None, limit_bytes: int, what: str) -> None:
    """Raises 413 for a payload that is too large to travel inline; what a sealed one has for its readers is free."""
    within_inline_limit(carried_bytes(payload or b""), limit_bytes, what)


def within_inline_limit(size_bytes: int, limit_bytes: int, what: str) -> None:
    """Raises 413 for a payload that is too large to travel inline."""
    if size_bytes > limit_bytes:
        raise Refused(
            ProblemType.TOO_LARGE, f"{what} has {size_bytes} bytes, inline are {limit_bytes} at most; send less"
        )


def cut_off(came_bytes: int) -> Refused:
    """408: the hub stopped reading, or the other side stopped sending."""
    detail = f"only {came_bytes} bytes of the body came in time; send it at once, and faster"
    return Refused(ProblemType.TOO_SLOW, detail)


def _too_large(limit_bytes: int) -> Refused:
    return Refused(ProblemType.TOO_LARGE, f"the body is larger than {limit_bytes} bytes; send less at once")
