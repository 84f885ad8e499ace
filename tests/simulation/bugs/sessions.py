"""Who is signed in, and until when."""

from __future__ import annotations

from typing import Any

import domain.decisions.sessions
import web.live.tokens
import web.page.sessions
from domain.values import TokenKind
from tests.simulation.bugs.planting import Swap, bug
from tests.simulation.world import World

_sessions: Any = domain.decisions.sessions


def _opened_otherwise(**changes: Any) -> list[Swap]:
    """A session whose row says something else than what was decided."""
    add = _sessions.add_token

    def added(draft: Any, *said: Any, **more: Any) -> Any:
        session = add(draft, *said, **more)
        return draft.change(session, **changes) if session.kind == TokenKind.SESSION else session

    return [(_sessions, "add_token", added)]


@bug("a one-time code is good for as many sessions as one likes", shown_by=31)
def code_used_twice(_: World) -> list[Swap]:
    class Kept:
        """A draft that changes nothing."""

        def __init__(self, draft: Any) -> None:
            self._draft = draft

        def __getattr__(self, name: str) -> Any:
            return getattr(self._draft, name)

        def change(self, row: Any, **_: Any) -> Any:
            return row

    opened = _sessions.open_session
    return [(_sessions, "open_session", lambda draft, command: opened(Kept(draft), command))]


@bug("a session goes on when the token that it was opened with is revoked", shown_by=7)
def session_without_source(_: World) -> list[Swap]:
    return _opened_otherwise(issued_by=None)


@bug("a session lasts for twelve hours, however soon its token expires", shown_by=7)
def session_outlives(_: World) -> list[Swap]:
    return _opened_otherwise(expires_at=2**60)


@bug("a session may write, whatever its token may", shown_by=7)
def session_may_more(_: World) -> list[Swap]:
    return _opened_otherwise(scopes="read write")


@bug("an account may have as many sessions as it likes", shown_by=23)
def sessions_unbounded(_: World) -> list[Swap]:
    return [(_sessions, "take_one", lambda *_: None)]


@bug("who signs out everywhere leaves codes behind that open a session", shown_by=103)
def codes_left(_: World) -> list[Swap]:
    revoke = _sessions.revoke
    return [
        (
            _sessions,
            "revoke",
            lambda draft, token, owner: token.kind == TokenKind.SESSION and revoke(draft, token, owner),
        )
    ]


@bug("the web takes what lies in a session's cookie for a token", shown_by=23)
def any_kind(_: World) -> list[Swap]:
    of = web.live.tokens.Tokens.of
    return [(web.live.tokens.Tokens, "of", lambda self, secret, *_: of(self, secret, *TokenKind))]
