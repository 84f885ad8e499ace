"""Who may come in: by a link that is good once, then by a session. Both live in the memory of one portal.

A link's code is a nonce and a time, signed with a secret that lies in `portal.json` in the site's folder (0600): who
can read that folder is the site anyway, and so `fedyard site portal`, said again, makes another link for a portal that
runs. A session is a secret in a cookie; its CSRF token derives from it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
import threading
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from fedyard.look.states import Tone
from fedyard.wire.durable import write_whole

NAME = "portal.json"
LINK_WITHIN_S = 600
"""How long a link is good that nobody has used."""
IDLE_S = 1800
SESSION_S = 43_200
"""A session ends when nobody has used it for so long, and after twelve hours whatever happens. What an open page asks
for by itself is no use of it."""
MAX_SESSIONS = 16
"""People at one machine; the oldest goes."""
_CODE = re.compile(r"[0-9a-f]{32}\.[0-9]{1,12}\.[0-9a-f]{64}")


class Opened(msgspec.Struct, frozen=True):
    """portal.json: where a portal of this folder listens, and what signs its links."""

    port: int
    secret: str

    def __repr__(self) -> str:
        return f"Opened(port={self.port})"

    def link(self, now_s: float) -> str:
        """The address that lets one browser in, once."""
        return f"http://127.0.0.1:{self.port}/enter?code={_code(self.secret, now_s)}"


def opened(folder: Path, port: int) -> Opened:
    """Put it on record that a portal listens there."""
    made = Opened(port, secrets.token_hex(32))
    write_whole(folder / NAME, msgspec.json.encode(made))
    return made


def read(folder: Path) -> Opened | None:
    """Of the portal that runs for this folder, or ran last."""
    try:
        return msgspec.json.decode((folder / NAME).read_bytes(), type=Opened)
    except (OSError, msgspec.MsgspecError):
        return None


@dataclass
class Session:
    """One browser. said: what the last action came to, told by the next page. done: forms' keys and where they led.

    taking: held while a form is taken, so that one that is sent twice at once finds itself in `done`.
    """

    secret: str = field(repr=False)
    since_s: float
    used_s: float
    said: tuple[Tone, str] | None = None
    done: dict[str, str] = field(default_factory=dict, repr=False)
    taking: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def csrf(self) -> str:
        signed = hmac.digest(self.secret.encode(), b"fedyard portal form 1", "sha256")
        return base64.urlsafe_b64encode(signed).decode().rstrip("=")

    def sent_by(self, token: str) -> bool:
        """Does a form of this session send that token?"""
        return hmac.compare_digest(self.csrf.encode(), token.encode(errors="replace"))


class Door:
    """Links and sessions of one portal. Safe to use from many threads; every call is told the time, in seconds."""

    def __init__(self, secret: str) -> None:
        self._secret = secret
        self._lock = threading.Lock()
        self._spent: dict[str, float] = {}
        self._sessions: dict[str, Session] = {}

    def enter(self, code: str, now_s: float) -> Session | None:
        """A session for who has a link that is good; the code is spent. None for any other."""
        if not _CODE.fullmatch(code):
            return None
        nonce, at, signed = code.split(".")
        if not hmac.compare_digest(_signed(self._secret, nonce, at), signed):
            return None
        with self._lock:
            self._spent = {one: until for one, until in self._spent.items() if until > now_s}
            if nonce in self._spent or not 0 <= now_s - int(at) + 1 <= LINK_WITHIN_S:
                return None
            self._spent[nonce] = int(at) + LINK_WITHIN_S + 1
            session = Session(secrets.token_urlsafe(32), now_s, now_s)
            if len(self._sessions) >= MAX_SESSIONS:
                oldest = min(self._sessions.values(), key=lambda one: one.used_s)
                del self._sessions[_hashed(oldest.secret)]
            self._sessions[_hashed(session.secret)] = session
            return session

    def session(self, secret: str, now_s: float, *, by_itself: bool = False) -> Session | None:
        """The session of a cookie, if it goes on; it is in use now, unless a page asks by itself."""
        with self._lock:
            found = self._sessions.get(_hashed(secret))
            if found is None:
                return None
            if now_s - found.used_s > IDLE_S or now_s - found.since_s > SESSION_S:
                del self._sessions[_hashed(secret)]
                return None
            if not by_itself:
                found.used_s = now_s
            return found

    def leave(self, session: Session, *, everybody: bool = False) -> None:
        """This session ends, or all do."""
        with self._lock:
            if everybody:
                self._sessions.clear()
            else:
                self._sessions.pop(_hashed(session.secret), None)

    def count(self) -> int:
        """How many sessions there are."""
        with self._lock:
            return len(self._sessions)


def _code(secret: str, now_s: float) -> str:
    nonce, at = secrets.token_hex(16), str(int(now_s))
    return f"{nonce}.{at}.{_signed(secret, nonce, at)}"


def _signed(secret: str, nonce: str, at: str) -> str:
    return hmac.digest(secret.encode(), f"fedyard portal link 1\0{nonce}\0{at}".encode(), "sha256").hex()


def _hashed(secret: str) -> str:
    """Sessions are kept by a hash, so that how long a look-up takes tells nothing of a secret."""
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()
