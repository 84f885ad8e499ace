"""How webhooks are signed, and what their bodies hold."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import uuid

import msgspec
import pytest

from domain import records as r
from domain.events import EventKind
from domain.values import WebhookUrl
from domain.webhooks import (
    AGAIN_AFTER_S,
    KINDS,
    again_after_s,
    body_of,
    data_of,
    secret_of,
    shown_secret,
    signature,
    signing_versions,
)

KEY = bytes(range(32))
HOOK = "6f7f1c2e-54f5-5c3f-9c0f-0d7f6a3c1b2a"
STREAM = "0b6f0f5c-3f8c-5a0e-8f0c-6b8a1c2d3e4f"


def test_the_published_example_of_standard_webhooks_gives_its_signature() -> None:
    secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    made = signature([secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_two_secrets_give_two_signatures_with_a_space_between() -> None:
    one, two = (signature([secret], "m", 1, b"{}") for secret in (b"a" * 32, b"b" * 32))
    assert signature([b"a" * 32, b"b" * 32], "m", 1, b"{}") == f"{one} {two}"


def test_a_secret_is_hkdf_of_the_hubs_key_over_the_webhook_and_its_version() -> None:
    info = b"fedyard webhook 1\0" + uuid.UUID(HOOK).bytes + b"\0\0\0\x07"
    assert secret_of(KEY, HOOK, 7) == hmac.new(KEY, info + b"\x01", hashlib.sha256).digest()
    others = ((KEY, HOOK, 8), (KEY, STREAM, 7), (KEY[::-1], HOOK, 7))
    assert secret_of(KEY, HOOK, 7) not in {secret_of(*other) for other in others}
    assert re.fullmatch(r"whsec_[A-Za-z0-9+/]{43}=", shown_secret(secret_of(KEY, HOOK, 1)))


def test_the_body_has_type_timestamp_and_data_and_is_the_same_each_time() -> None:
    body = body_of("site.silent", 1_800_000_000_000_001, {"b": 1, "a": {"d": 1, "c": 2}})
    assert body == '{"data":{"a":{"c":2,"d":1},"b":1},"timestamp":"2027-01-15T08:00:00.000001Z","type":"site.silent"}'


def event(kind: EventKind, facts: dict[str, object], **more: object) -> r.Event:
    made = r.Event(
        stream_id=STREAM,
        seq=3,
        kind=kind,
        at=1,
        command_id=HOOK,
        subject_kind="site",
        subject_id=HOOK,
        run_id=HOOK,
        site_id=STREAM,
        facts_json=json.dumps(facts),
        hash="",
    )
    return msgspec.structs.replace(made, **more)


@pytest.mark.parametrize("kind", list(KINDS))
def test_nothing_that_people_write_is_told(kind: EventKind) -> None:
    sentence = "Patient 17 had a fever."
    facts = dict.fromkeys(("reason", "detail", "task", "name", "note", "description", "metrics"), sentence)
    assert sentence not in json.dumps(data_of(KINDS[kind], event(kind, facts)))


def test_a_code_is_told_and_a_sentence_in_its_place_is_not() -> None:
    told = data_of("run.ended", event(EventKind.RUN_FAILED, {"reason": "run_deadline", "state": "failed"}))
    assert (told["reason"], told["state"]) == ("run_deadline", "failed")
    assert "reason" not in data_of("run.ended", event(EventKind.RUN_FAILED, {"reason": "Because I say so"}))


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example.org",
        "https://hooks.example.org:8443/a/b?c=d&e=%20",
        "http://10.0.0.1/in",
        "https://[2001:db8::1]:443/in",
        "https://xn--bcher-kva.example/~me/@here;v=1",
    ],
)
def test_addresses_that_are_taken(url: str) -> None:
    assert msgspec.convert(url, WebhookUrl) == url


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.org/in",
        "https://me:secret@example.org/in",
        "https://example.org@evil.example/in",
        "https://example.org/in#part",
        "https://example.org\\@evil.example/",
        "https:///in",
        "https://exämple.org/",
        "https://example.org/a b",
        "https://example.org/\r\nX: y",
        "https://example.org/in\n",
        "https://example.org?x=1",
        "HTTPS://example.org/" + "a" * 1000,
        "javascript:alert(1)",
    ],
)
def test_addresses_that_are_not_taken(url: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(url, WebhookUrl)


def test_attempts_are_spread_and_come_to_an_end() -> None:
    waits = [again_after_s(str(uuid.UUID(int=number)), 1, None) for number in range(1000)]
    assert (min(waits), max(waits)) == (5.0, pytest.approx(5.4995))  # type: ignore[type-var]
    assert again_after_s(HOOK, len(AGAIN_AFTER_S) + 1, 3.0) is None
    assert again_after_s(HOOK, 1, 77.0) == 77.0


def test_versions_that_sign() -> None:
    hook = r.Webhook(HOOK, "project", STREAM, "", "", "", "active", "", 0, 0, version=3, rotated_at=1_000_000)
    assert signing_versions(hook, 1_000_000 + 86_400 * 1_000_000 - 1) == [3, 2]
    assert signing_versions(hook, 1_000_000 + 86_400 * 1_000_000) == [3]
