"""What the old loggers post is taken as a record of the topic that they have read it from."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import UTC, datetime

import msgspec

from domain.codec import THE_HUB, digest_of
from domain.ids import derive, sha256_hex
from domain.stream_commands import Purpose, TakeRecord
from domain.values import Micros
from web.api.kafka_ml.common import Failed
from web.http.awaiting import outcome_of
from web.http.calls import Call
from web.http.writing import SECRET_WAIT_S, Asked, place_for, refuse_reuse

BY_HTTP = "http"
"""Of a record that was posted: the cluster's id and the topic's. Its partition and offset nobody has told."""


def take(
    call: Call, *, cluster: str, topic: str, purpose: Purpose, key: bytes | None, value: object, time: object
) -> str:
    """What became of it. time: of the record, as the logger says it. The same is taken once, however often it is
    posted; announced at another time it is another one. Raises `Failed`."""
    at = _micros(time)
    content = msgspec.json.encode(value, order="sorted")
    digest = sha256_hex(b"\0".join((cluster.encode(), topic.encode(), str(at).encode(), key or b"", content)))
    command = TakeRecord(
        cluster=cluster,
        cluster_id=BY_HTTP,
        topic=topic,
        topic_id=BY_HTTP,
        partition=0,
        offset=int(digest[:15], 16),
        at=at,
        key=key,
        value=content,
        purpose=purpose,
    )
    web = call.web
    asked = Asked(
        by=THE_HUB,
        command=command,
        id=derive("kafka-ml", digest),
        digest=digest_of(command),
        keyed=True,
        patience_s=SECRET_WAIT_S,
        kept_back=call.kept_back,
        must_wait=True,
    )
    with ExitStack() as stack:
        place = place_for(asked, web.waiters, stack)
        outcome = None
        if place is not None:
            outcome = outcome_of(web, asked.envelope(web.hub.clock.now(), waited=True), place, SECRET_WAIT_S)
    if outcome is None:
        raise Failed("the hub has taken this and is still at it: post it again in a moment", 503)
    refuse_reuse(outcome, asked.digest)
    found = msgspec.json.decode(outcome.answer_json)
    return str(found.get("became", "refused"))


def _micros(time: object) -> Micros:
    """Without a zone it is UTC, as the loggers write it; 0: it says nothing."""
    try:
        said = datetime.fromisoformat(time) if isinstance(time, str) else None
    except ValueError:
        raise Failed("time is no time: write it as 2026-11-28T20:00:00") from None
    if said is None:
        return 0
    said = said if said.tzinfo is not None else said.replace(tzinfo=UTC)
    return max(0, int(said.timestamp() * 1_000_000))
