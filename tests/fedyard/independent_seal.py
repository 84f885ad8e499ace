"""A second program that seals and opens, written from docs/sealing.md alone. It shares no line with fedyard/."""

import base64
import hashlib
import hmac
import json
import os
import struct
import uuid

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, MLKEM768X25519PrivateKey, MLKEM768X25519PublicKey, Suite

FIELDS = [
    "id",
    "sender",
    "recipients",
    "project",
    "run",
    "task",
    "round",
    "kind",
    "identity",
    "key_commitment",
    "created",
    "expires",
    "body_bytes",
    "body_digest",
    "plain_bytes",
]
DIGESTS = ["task_digest", "model_digest", "receipts"]


def fields_of(header):
    """The digests are at the end of an update's or a model's header."""
    return FIELDS + (DIGESTS if header["kind"] in ("update", "model") and DIGESTS[0] in header else [])


LATER = {"initial": False, "score_every": 0, "best": None, "stop_early": None, "code": "any"}
LATER_OF_CONTRACT = {"sample": 1.0, "sample_of": "fraction", "sample_at_least": 1, "score_within_s": 3600.0}


def without_later(part, later):
    """Fields that came later, where they have their default, are left out."""
    return {name: value for name, value in part.items() if name not in later or later[name] != value}


def task_digest(task):
    """task: with every field, as docs/sealing.md says."""
    contract = without_later(task["contract"], LATER_OF_CONTRACT)
    task = without_later(task, LATER) | {"contract": contract}
    text = json.dumps(task, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(b"fedyard task 1\x00" + text.encode()).hexdigest()


def seal_digest(payload):
    return hashlib.sha256(split(payload)[1]).hexdigest()


def receipt(update):
    return seal_digest(update)[:32]


def suite_1():
    return Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


def tree_digest(content):
    parts = b"".join(
        hashlib.sha256(content[i : i + 4 * 1024 * 1024]).digest() for i in range(0, len(content), 4 * 1024 * 1024)
    )
    return hashlib.sha256(parts).hexdigest()


def fingerprint(identity_public):
    return hashlib.sha256(b"fedyard identity 1\x00" + identity_public).digest()[:16].hex()


def key_statement(site, epoch, created, expires, public):
    return b"fedyard key 1\x00" + uuid.UUID(site).bytes + struct.pack(">IQQB", epoch, created, expires, 1) + public


def draw_sealing_key():
    """(private, public)"""
    m, x = MLKEM768PrivateKey.generate(), X25519PrivateKey.generate()
    public = m.public_key().public_bytes_raw() + x.public_key().public_bytes_raw()
    return m.private_bytes_raw() + x.private_bytes_raw(), public


def seal(content, header, recipients, identity_private, content_key=None):
    """header: id, sender, project, run, task, round, kind, created, expires; an update's or a model's digests, too.

    recipients: (site, epoch, public key).
    """
    content_key = content_key or os.urandom(32)
    recipients = sorted(recipients)
    cipher = AESGCM(content_key)
    cuts = [content[i : i + 1048560] for i in range(0, len(content), 1048560)] or [b""]
    body = b"".join(
        cipher.encrypt(b"\x00" * 7 + n.to_bytes(4, "big") + bytes([n == len(cuts) - 1]), cut, b"")
        for n, cut in enumerate(cuts)
    )
    signer = Ed25519PrivateKey.from_private_bytes(identity_private)
    whole = {
        **header,
        "recipients": [{"site": site, "epoch": epoch} for site, epoch, _ in recipients],
        "identity": hashlib.sha256(signer.public_key().public_bytes_raw()).hexdigest(),
        "key_commitment": hmac.new(content_key, b"fedyard commit 1\x00", "sha256").hexdigest(),
        "body_bytes": len(body),
        "body_digest": tree_digest(body),
        "plain_bytes": len(content),
    }
    text = json.dumps({name: whole[name] for name in fields_of(whole)}, separators=(",", ":")).encode()
    signed = b"FYS1\x01\x01" + struct.pack(">I", len(text)) + text
    wraps = b""
    for index, (_, _, public) in enumerate(recipients):
        key = MLKEM768X25519PublicKey(
            MLKEM768PublicKey.from_public_bytes(public[:1184]), X25519PublicKey.from_public_bytes(public[1184:])
        )
        info = b"fedyard wrap 1\x00" + hashlib.sha256(signed).digest() + struct.pack(">H", index)
        wraps += struct.pack(">H", index) + suite_1().encrypt(content_key, key, info)
    return signed + signer.sign(b"fedyard seal 1\x00" + signed) + struct.pack(">H", len(recipients)) + wraps + body


def split(payload):
    """(header, signed bytes, signature, wraps by index, body)"""
    magic, version, suite, length = struct.unpack(">4sBBI", payload[:10])
    assert (magic, version, suite) == (b"FYS1", 1, 1)
    assert length <= 262144
    signed, rest = payload[: 10 + length], payload[10 + length :]
    header = json.loads(signed[10:])
    assert list(header) == fields_of(header)
    if DIGESTS[0] in header:
        receipts = header["receipts"]
        assert receipts is None if header["kind"] == "update" else receipts == sorted(set(receipts))
    assert json.dumps(header, separators=(",", ":")).encode() == signed[10:]
    assert 1 <= len(header["recipients"]) <= 2000
    sites = [r["site"] for r in header["recipients"]]
    assert sites == sorted(set(sites))
    signature, rest = rest[:64], rest[64:]
    (count,), rest = struct.unpack(">H", rest[:2]), rest[2:]
    wraps = {}
    for _ in range(count):
        (index,) = struct.unpack(">H", rest[:2])
        assert index > max(wraps, default=-1)
        wraps[index], rest = rest[2:1170], rest[1170:]
    return header, signed, signature, wraps, rest


def open_payload(payload, site, private, identity_public, body=None):
    """(header, content); AssertionError or an error of `cryptography` for whatever is wrong."""
    header, signed, signature, wraps, inline = split(payload)
    body = inline if body is None else body
    assert header["identity"] == hashlib.sha256(identity_public).hexdigest()
    Ed25519PublicKey.from_public_bytes(identity_public).verify(signature, b"fedyard seal 1\x00" + signed)
    index = [r["site"] for r in header["recipients"]].index(site)
    key = MLKEM768X25519PrivateKey(
        MLKEM768PrivateKey.from_seed_bytes(private[:64]), X25519PrivateKey.from_private_bytes(private[64:])
    )
    info = b"fedyard wrap 1\x00" + hashlib.sha256(signed).digest() + struct.pack(">H", index)
    content_key = suite_1().decrypt(wraps[index], key, info)
    assert hmac.new(content_key, b"fedyard commit 1\x00", "sha256").hexdigest() == header["key_commitment"]
    assert len(body) == header["body_bytes"]
    assert tree_digest(body) == header["body_digest"]
    cipher, cuts = AESGCM(content_key), [body[i : i + 1048576] for i in range(0, len(body), 1048576)]
    content = b"".join(
        cipher.decrypt(b"\x00" * 7 + n.to_bytes(4, "big") + bytes([n == len(cuts) - 1]), cut, b"")
        for n, cut in enumerate(cuts)
    )
    assert len(content) == header["plain_bytes"]
    return header, content


def b64(text):
    return base64.b64decode(text)
