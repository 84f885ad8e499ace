"""Draws the test vectors anew: `python -m tests.controller.draw_vectors`. The second program makes them."""

import base64
import json
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from mnemonic import Mnemonic

from tests.controller import independent_seal as second

HERE = Path(__file__).parent / "vectors"
CREATED, EXPIRES = 1_767_225_600_000_000, 4_102_444_800_000_000
SENDER = "11111111-1111-4111-8111-111111111111"
ALICE = "22222222-2222-4222-8222-222222222222"
BOB = "33333333-3333-4333-8333-333333333333"


def vector(name: str, content: bytes, to: list[str], *, pattern: bytes = b"", **header) -> None:
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
    if pattern:
        body = second.split(sealed)[4]
        values |= {"sealed": sealed[: -len(body)], "plain_pattern": pattern, "plain_bytes": len(content)}
    else:
        values |= {"sealed": sealed, "plain": content}
    text = {n: base64.b64encode(v).decode() if isinstance(v, bytes) else v for n, v in values.items()}
    (HERE / f"{name}.json").write_text(json.dumps(text, indent=1) + "\n")


if __name__ == "__main__":
    run = {"run": "66666666-6666-4666-8666-666666666666", "task": 1, "round": 7}
    vector("message", "Grüße".encode(), [ALICE])
    vector("empty", b"", [BOB, ALICE])
    pattern = bytes(range(251))
    size = 4 * 1_048_560 + 1
    vector("two_chunks", (pattern * (size // 251 + 1))[:size], [ALICE, BOB], pattern=pattern, kind="update", **run)
