"""Everywhere the hub keeps or shows something, searched for some bytes in every form that they may have taken."""

from __future__ import annotations

import base64
import mmap
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from devservers.postgres import PrivatePostgres
from devservers.rabbitmq import PrivateRabbitmq
from storage.database import Database


def forms(secret: bytes) -> dict[str, bytes]:
    """As it is, in hexadecimal, and in base64 at each of the three places where it may begin."""
    hexed = secret.hex().encode()
    shifted = {
        f"base64+{shift}": base64.b64encode(b"\0" * shift + secret)[4 if shift else 0 : -4] for shift in range(3)
    }
    return {"plain": secret, "hex": hexed, "HEX": hexed.upper(), **shifted}


def found_in(content: bytes | mmap.mmap, secret: bytes) -> list[str]:
    """In which forms it is there."""
    return [form for form, text in forms(secret).items() if content.find(text) >= 0]


def in_files(folder: Path, secret: bytes) -> Iterator[str]:
    """Files below a folder: queues, dead letters and journals, tables and their log, artifacts, logs."""
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or not path.stat().st_size:
            continue
        with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
            yield from (f"{path} ({form})" for form in found_in(content, secret))


def in_tables(database: Database, secret: bytes) -> Iterator[str]:
    """Every value of every row: PostgreSQL may have compressed it in its files."""
    with database.connection():
        for name in database.peewee.get_tables():
            for row in database.all(f"SELECT * FROM {name}"):
                for value in row:
                    content = bytes(value) if isinstance(value, (bytes, memoryview)) else str(value).encode()
                    yield from (f"table {name} ({form})" for form in found_in(content, secret))


def in_queues(rabbitmq: PrivateRabbitmq, vhost: str, secret: bytes) -> Iterator[str]:
    """Every message of every queue, dead letters included; they stay there."""
    quoted = urllib.parse.quote(vhost, safe="")
    for queue in rabbitmq.management.call("GET", f"/queues/{quoted}"):
        asked = {"count": 10_000, "ackmode": "ack_requeue_true", "encoding": "base64"}
        path = f"/queues/{quoted}/{urllib.parse.quote(queue['name'], safe='')}/get"
        for message in rabbitmq.management.call("POST", path, asked):
            content = base64.b64decode(message["payload"])
            yield from (f"queue {queue['name']} ({form})" for form in found_in(content, secret))


def in_metrics(api: str, secret: bytes) -> Iterator[str]:
    with urllib.request.urlopen(f"{api}/metrics", timeout=10) as answer:
        yield from (f"/metrics ({form})" for form in found_in(answer.read(), secret))


def everywhere(
    api: str,
    hub: Path,
    postgres: PrivatePostgres,
    rabbitmq: PrivateRabbitmq,
    vhost: str,
    database: Database,
    secret: bytes,
) -> list[str]:
    """Where it is."""
    with database.connection():
        database.execute("CHECKPOINT")
    return [
        *in_files(hub, secret),
        *in_files(postgres.folder / "data", secret),
        *in_files(rabbitmq.folder, secret),
        *in_tables(database, secret),
        *in_queues(rabbitmq, vhost, secret),
        *in_metrics(api, secret),
    ]
