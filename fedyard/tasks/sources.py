"""Where a site's data lie, and how they are to be read there: [data] and [reading.NAME] in its site.toml.

Data are named by a file, a folder, or the URL of a database. Nothing here reads them: the agent hands this on.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

import msgspec

_URL = re.compile(r"[a-z][a-z0-9+_-]*://", re.IGNORECASE)
_WITH_PASSWORD = re.compile(r"[a-z][a-z0-9+_-]*://[^/?#]*:[^/?#]*@", re.IGNORECASE)
_ACCOUNT = re.compile(r"(?<=://)[^/?#]*@")


class Reading(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How one of the data is to be read, where it does not say so itself.

    separator: what parts the fields of a text file. decimal: its decimal mark. encoding: of the text, by Python's name
    for it. missing: what stands for a missing value, instead of what usually does. table, query: what of a database is
    read; one of them. password_env, password_file: where the password of the database's account stands.
    """

    separator: Annotated[str, msgspec.Meta(max_length=1)] = ""
    decimal: Literal["", ".", ","] = ""
    encoding: Annotated[str, msgspec.Meta(max_length=40)] = ""
    missing: list[str] | None = None
    table: str = ""
    query: str = ""
    password_env: str = ""
    password_file: str = ""


class Source(msgspec.Struct, frozen=True):
    """One of the data. where: a file or folder, as a path that holds in any folder, or a URL of a database.

    fault: why it cannot be read, in a sentence; empty: it may be.
    """

    where: str
    reading: Reading = Reading()
    password: str = ""
    fault: str = ""

    def __repr__(self) -> str:
        return f"Source({shown_place(self.where)})"


def is_url(where: str) -> bool:
    """True for a database, False for a path."""
    return _URL.match(where) is not None


def has_password(where: str) -> bool:
    """True for a URL with a password in it, which belongs into the environment or a file of its own."""
    return _WITH_PASSWORD.match(where) is not None


def shown_place(where: str) -> str:
    """For people to read: a URL without its account."""
    return _ACCOUNT.sub("", where, count=1) if is_url(where) else where
