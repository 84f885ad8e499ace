"""The names of what is revoked, as the ledger beside the database keeps them. A name says it all; there is no content.

    token-<SHA-256 of the token>                 a token is revoked
    enrolment-<SHA-256 of its token>             an enrolment is used up
    key-<site>-<epoch>-<digest of the key>       an epoch of a site's sealing keys is revoked
    site-<site>                                  a site has retired
    account-<account>                            an account is disabled

The digest tells the key that was revoked from another one that a site may have put in the same epoch since.
"""

from __future__ import annotations

import re

import msgspec

from domain.ids import Id
from fedyard.wire.types import UUID_PATTERN

_NAME = re.compile(
    f"(?P<secret>token|enrolment)-(?P<sha256>[0-9a-f]{{64}})"
    f"|key-(?P<site>{UUID_PATTERN})-(?P<epoch>[0-9]{{1,9}})-(?P<digest>[0-9a-f]{{64}})"
    f"|(?P<owner>site|account)-(?P<id>{UUID_PATTERN})"
)


class Named(msgspec.Struct, frozen=True):
    """A name, read. kind: token, enrolment, key, site or account. key: a hash, or the id of a site or an account.

    epoch and digest: of a key, whose site is `key`.
    """

    kind: str
    key: str
    epoch: int = 0
    digest: str = ""


def read_name(name: str) -> Named | None:
    """What a name names; None if it is none of ours."""
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    if found["secret"]:
        return Named(found["secret"], found["sha256"])
    if found["site"]:
        return Named("key", found["site"], int(found["epoch"]), found["digest"])
    return Named(found["owner"], found["id"])


def name_of_token(sha256: str) -> str:
    return f"token-{sha256}"


def name_of_enrolment(sha256: str) -> str:
    return f"enrolment-{sha256}"


def names_of_secret(sha256: str) -> set[str]:
    """A secret may be in the ledger as either."""
    return {name_of_token(sha256), name_of_enrolment(sha256)}


def name_of_key(site_id: Id, epoch: int, digest: str) -> str:
    return f"key-{site_id}-{epoch}-{digest}"
