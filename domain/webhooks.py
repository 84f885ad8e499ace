"""What a webhook tells, how it is signed, and when a delivery is tried again. The form is that of Standard Webhooks.

The body is thin: ids, states and codes. What people wrote (a detail, a description, a note), payloads and metrics are
not in it: who is told looks them up with a token of their own.

A webhook's secret is derived from the hub's key (FEDYARD_WEBHOOK_KEY_FILE), the webhook's id and the version of its
secret, so that no store and no backup holds one.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import uuid
from collections.abc import Iterable
from typing import Any, Literal, TypeAlias, assert_never

import msgspec

from domain.commands import ReportDelivery
from domain.events import EventKind
from domain.ids import Id
from domain.records import Event, Webhook
from domain.values import Micros, WebhookKind
from fedyard.wire.times import DAY_S, SECOND, time_text

KINDS: dict[EventKind, WebhookKind] = {
    EventKind.RUN_SUCCEEDED: "run.ended",
    EventKind.RUN_FAILED: "run.ended",
    EventKind.RUN_CANCELLED: "run.ended",
    EventKind.SITE_FELL_SILENT: "site.silent",
    EventKind.SITE_RETURNED: "site.returned",
    EventKind.IDENTITY_CONFLICT: "identity.conflict",
    EventKind.SEAT_LEFT_OUT: "seat.left_out",
    EventKind.WORKLOAD_FAILED: "workload.failed",
    EventKind.WORKLOAD_LOST: "workload.failed",
    EventKind.PROJECT_ROUND_FAILED: "round.failed",
}
"""What of a stream is told, as what. Dead letters are in no stream."""
DEAD_LETTER: WebhookKind = "dead_letter.found"
OF_MEMBERS = frozenset({"site.silent", "site.returned"})
"""What a project's coordinator may know of what lies in the stream of a member."""

AGAIN_AFTER_S = (5, 300, 1_800, 7_200, 18_000, 36_000, 36_000, 36_000, 36_000)
"""How long after each failure a delivery is tried again; after the last one it is given up, some two days later."""
MAX_RETRY_AFTER_S = DAY_S
"""Of what a receiver asks for with Retry-After."""
LEASE_S = 120
"""How long the report on an attempt is waited for. Then it is taken for lost, and there is another attempt."""
BUSY_AGAIN_S = 5
MAX_BUSY_AGAIN_S = 300
"""When enough requests were under way: after each such attempt that much longer, up to this."""
WAITS_S = 216_000
"""How long a delivery for which there is never a place waits, from when it was queued: as long as one that fails."""
MAX_ATTEMPTS = 100
"""In a row without a report: whatever it is, it is no failure of the receiver."""
OVERLAP_S = DAY_S
"""How long deliveries are signed with the secret before as well, once it was changed."""
FEWEST_FAILURES = 10
"""Failures in a row without which no webhook is disabled, however long they are apart."""

BUSY = "busy"
"""The failure of an attempt that was not made: enough requests of its owner, or to that host, were under way."""
Outcome: TypeAlias = Literal["delivered", "refused", "failed", "busy"]

_CODE = re.compile(r"[a-z][a-z0-9_.-]{0,63}")
_SECRET_PREFIX = "whsec_"  # noqa: S105 - the form of one
_encoder = msgspec.json.Encoder(order="deterministic")


def body_of(kind: WebhookKind, at: Micros, data: dict[str, Any]) -> str:
    """The bytes that are signed and sent, as text: JSON with type, timestamp (RFC 3339, UTC) and data."""
    return _encoder.encode({"type": kind, "timestamp": time_text(at), "data": data}).decode()


def data_of(kind: WebhookKind, event: Event) -> dict[str, Any]:
    """What is told of an event: of its facts only what is an id, a number, a state or a code."""
    facts: dict[str, Any] = msgspec.json.decode(event.facts_json)
    data: dict[str, Any] = {"event": {"stream_id": event.stream_id, "seq": event.seq}}
    match kind:
        case "run.ended":
            data |= {"project_id": event.stream_id, "run_id": event.run_id}
            data |= _some(facts, "number", "attempt", "state") | _codes(facts, "reason")
        case "seat.left_out":
            data |= {"project_id": event.stream_id, "run_id": event.run_id, "site_id": event.site_id}
            data |= _some(facts, "round") | _codes(facts, "task", "reason")
        case "identity.conflict":
            data |= _some(facts, "site_id", "about_site_id", "pinned", "seen", "on_record")
        case "site.silent":
            data |= {"site_id": event.site_id, "state": "silent"}
        case "site.returned":
            data |= {"site_id": event.site_id, "state": "online"}
        case "workload.failed":
            data |= {"project_id": event.stream_id}
            data |= _some(facts, "workload_id", "attempt", "state", "exit_code") | _codes(facts, "reason")
        case "round.failed":
            data |= {"project_id": event.stream_id}
            data |= _some(facts, "workload_id", "epoch", "round", "stage") | _codes(facts, "reason")
        case "dead_letter.found":
            raise AssertionError("dead letters are in no stream")
        case _:
            assert_never(kind)
    return data


def _some(facts: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: facts[name] for name in names if name in facts}


def _codes(facts: dict[str, Any], *names: str) -> dict[str, Any]:
    """Those that are codes; a sentence that somebody wrote is none."""
    return {name: facts[name] for name in names if _CODE.fullmatch(str(facts.get(name, "")))}


def outcome_of(report: ReportDelivery) -> Outcome:
    """What came of an attempt: a success, an answer that is none, no attempt for want of a place, or no answer."""
    if report.status is None:
        return "busy" if report.failure == BUSY else "failed"
    return "delivered" if 200 <= report.status < 300 else "refused"


def again_after_s(delivery_id: Id, failures: int, retry_after_s: float | None) -> float | None:
    """Seconds until the next attempt after so many failures; None to give up.

    Moved by up to a tenth, by the delivery's id: what failed together does not come back together.
    """
    if failures > len(AGAIN_AFTER_S):
        return None
    spread = uuid.UUID(delivery_id).int % 1000 / 10_000
    return max(AGAIN_AFTER_S[failures - 1] * (1 + spread), min(retry_after_s or 0.0, MAX_RETRY_AFTER_S))


def busy_again_s(times: int) -> int:
    """Seconds until the next attempt of a delivery that found no place so many times, so that thousands that wait for
    one slow receiver do not fill the hub with attempts."""
    return min(max(times, 1) * BUSY_AGAIN_S, MAX_BUSY_AGAIN_S)


def signing_versions(webhook: Webhook, now: Micros) -> list[int]:
    """The versions of the secret that a delivery is signed with now, the newest first."""
    overlaps = webhook.rotated_at is not None and now < webhook.rotated_at + OVERLAP_S * SECOND
    return [webhook.version, webhook.version - 1] if overlaps else [webhook.version]


def secret_of(key: bytes, webhook_id: Id, version: int) -> bytes:
    """32 bytes: HKDF-Expand (RFC 5869, SHA-256, one block) of the hub's key over the webhook and the version."""
    about = b"fedyard webhook 1\0" + uuid.UUID(webhook_id).bytes + version.to_bytes(4, "big")
    return hmac.digest(key, about + b"\x01", "sha256")


def shown_secret(secret: bytes) -> str:
    """As Standard Webhooks writes it: `whsec_` and base64."""
    return _SECRET_PREFIX + base64.b64encode(secret).decode()


def signature(secrets: Iterable[bytes], message_id: str, timestamp_s: int, body: bytes) -> str:
    """The header `webhook-signature`: one for each secret, with a space between."""
    signed = f"{message_id}.{timestamp_s}.".encode() + body
    made = (base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode() for secret in secrets)
    return " ".join(f"v1,{each}" for each in made)
