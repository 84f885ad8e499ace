"""Draws the test vectors anew: `python -m tests.fedyard.draw_vectors [NAME ...]`. The second program makes them."""

import base64
import json
import sys
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from mnemonic import Mnemonic

from tests.fedyard import independent_seal as second

HERE = Path(__file__).parent / "vectors"
CREATED, EXPIRES = 1_767_225_600_000_000, 4_102_444_800_000_000
SENDER = "11111111-1111-4111-8111-111111111111"
ALICE = "22222222-2222-4222-8222-222222222222"
BOB = "33333333-3333-4333-8333-333333333333"


def vector(name: str, content: bytes, to: list[str], *, pattern: bytes = b"", task_json: str = "", **header) -> None:
    identity = Ed25519PrivateKey.generate()
    public = identity.public_key().public_bytes_raw()
    keys = {site: second.draw_sealing_key() for site in to}
    content_key = bytes(range(32))
    whole = {
        "id": "44444444-4444-4444-8444-444444444444",
        "sender": SENDER,
        "project": "55555555-5555-4555-8555-555555555555",
        "run": None,
        "task": None,
        "round": None,
        "kind": "message",
        "created": CREATED,
        "expires": EXPIRES,
        **header,
    }
    recipients = [(site, 3, keys[site][1]) for site in to]
    sealed = second.seal(content, whole, recipients, identity.private_bytes_raw(), content_key)
    statement = second.key_statement(ALICE, 3, CREATED, EXPIRES, keys[ALICE][1])
    finger = second.fingerprint(public)
    values = {
        "identity_private": identity.private_bytes_raw(),
        "identity_public": public,
        "recipient_site": ALICE,
        "recipient_private": keys[ALICE][0],
        "recipient_public": keys[ALICE][1],
        "key_statement": statement,
        "key_signature": identity.sign(statement),
        "fingerprint_hex": finger,
        "fingerprint_words": Mnemonic("english").to_mnemonic(bytes.fromhex(finger)),
        "content_key": content_key,
    }
    if task_json:
        values["task_json"] = task_json
    if pattern:
        body = second.split(sealed)[4]
        values |= {"sealed": sealed[: -len(body)], "plain_pattern": pattern, "plain_bytes": len(content)}
    else:
        values |= {"sealed": sealed, "plain": content}
    text = {n: base64.b64encode(v).decode() if isinstance(v, bytes) else v for n, v in values.items()}
    if sys.argv[1:] and name not in sys.argv[1:]:
        return
    (HERE / f"{name}.json").write_text(json.dumps(text, indent=1) + "\n")


if __name__ == "__main__":
    run = {"run": "66666666-6666-4666-8666-666666666666", "task": 1, "round": 7}
    vector("message", "Grüße".encode(), [ALICE])
    vector("empty", b"", [BOB, ALICE])
    pattern = bytes(range(251))
    size = 4 * 1_048_560 + 1
    task = {
        "name": "train",
        "model": "logistic_regression",
        "parameters": {"label": "größe", "learning_rate": 0.1, "epochs": 5, "l2": 1e-05, "on": True, "of": [None, "x"]},
        "rounds": 2,
        "aggregate": True,
        "who": "all",
        "after": None,
        "contract": {
            "quorum": 1.0,
            "quorum_of": "fraction",
            "select_within_s": 3600.0,
            "train_within_s": 86400.0,
            "aggregate_within_s": 3600.0,
            "silent_within_s": 600.0,
            "late": "next_round",
            "too_few": "fail",
        },
    }
    digests = {"task_digest": second.task_digest(task), "model_digest": "ab" * 32, "receipts": ["cd" * 16, "ef" * 16]}
    vector("model", b"a model", [ALICE, BOB], task_json=json.dumps(task), kind="model", **digests, **run)
    vector("two_chunks", (pattern * (size // 251 + 1))[:size], [ALICE, BOB], pattern=pattern, kind="update", **run)
