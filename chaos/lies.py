"""Rules that many lies are made of: each function makes one."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from typing import Any

from chaos.liar import HANG_UP, Asked, Forward, Rule, Told

Json = dict[str, Any]
OK = range(200, 300)


def edited(method: str, pattern: str, change: Callable[[Any], Any]) -> Rule:
    """The JSON of every good answer to such a call goes through `change`. pattern: of the path, without its query."""
    wanted = re.compile(pattern)

    def rule(asked: Asked, forward: Forward) -> Told:
        told = forward(asked)
        fits = asked.method == method and wanted.fullmatch(asked.path.partition("?")[0])
        return told.but(change(told.json)) if fits and told.status in OK and told.content else told

    return rule


def entries(change: Callable[[Json], Json]) -> Rule:
    """Every entry of the inbox goes through `change`."""
    return edited("GET", "/v1/inbox", lambda page: {**page, "items": [change(entry) for entry in page["items"]]})


def entries_of(kind: str, change: Callable[[Json], Json]) -> Rule:
    """Every entry of that kind goes through `change`."""
    return entries(lambda entry: change(entry) if entry["kind"] == kind else entry)


def heads(change: Callable[[Json], Json]) -> Rule:
    """Every signed head of a chain of events that comes with the inbox goes through `change`."""
    return edited(
        "GET",
        "/v1/inbox",
        lambda page: {**page, "heads": [change(head) for head in page["heads"]]} if "heads" in page else page,
    )


def entry_instead(kind: str, /, **fields: object) -> Rule:
    """The first entry of that kind is another one, under its number; the same whenever it is asked for."""
    chosen: list[int] = []

    def change(entry: Json) -> Json:
        if entry["kind"] == kind and not chosen:
            chosen.append(entry["seq"])
        return {**entry, **fields} if entry["seq"] in chosen else entry

    return entries(change)


def told_instead(method: str, pattern: str, told: Told) -> Rule:
    """Such a call never reaches the hub; its answer is `told`."""
    wanted = re.compile(pattern)

    def rule(asked: Asked, forward: Forward) -> Told:
        fits = asked.method == method and wanted.fullmatch(asked.path.partition("?")[0])
        return told if fits else forward(asked)

    return rule


def swallowed(method: str, pattern: str) -> Rule:
    """Such a call never reaches the hub, and has no answer."""
    return told_instead(method, pattern, HANG_UP)


def repeated(method: str, pattern: str) -> Rule:
    """Such a call reaches the hub twice."""
    wanted = re.compile(pattern)

    def rule(asked: Asked, forward: Forward) -> Told:
        if asked.method == method and wanted.fullmatch(asked.path.partition("?")[0]):
            forward(asked)
        return forward(asked)

    return rule


def reordered() -> Rule:
    """The entries of every page come backwards."""
    return edited("GET", "/v1/inbox", lambda page: {**page, "items": page["items"][::-1]})


def delayed(method: str, pattern: str, seconds: float) -> Rule:
    """Such a call is answered later."""
    wanted = re.compile(pattern)

    def rule(asked: Asked, forward: Forward) -> Told:
        if asked.method == method and wanted.fullmatch(asked.path.partition("?")[0]):
            time.sleep(seconds)
        return forward(asked)

    return rule


def once(rule: Rule) -> Rule:
    """The rule holds for the first request that it changes."""
    lock, spent = threading.Lock(), threading.Event()

    def first(asked: Asked, forward: Forward) -> Told:
        with lock:
            if spent.is_set():
                return forward(asked)
            truth: list[Told] = []

            def kept(changed: Asked) -> Told:
                truth.append(forward(changed))
                return truth[-1]

            told = rule(asked, kept)
            if truth != [told]:
                spent.set()
            return told

    return first
