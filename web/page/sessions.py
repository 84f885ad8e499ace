"""Sessions of people at a page: who asks, whether they meant to, and for how long nobody has.

A session is a token row of its account (domain/decisions/sessions.py), whose secret only a cookie has. The cookie says
as well when a page was last asked for in it, signed with a key that all web processes have: after
`FEDYARD_SESSION_IDLE_MIN` without one it is nobody's. What the page itself asks for while it is open (`HX-Request`)
keeps no session alive.

What a browser sends by itself proves no intention: whatever changes something has to carry `csrf_of` its session, which
other sites' pages cannot read, and must not come from one of them.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import NamedTuple, Protocol
from urllib.parse import urlsplit

from flask import Request, Response

from config.clock import Micros
from domain.values import TokenKind
from fedyard.wire.problems import ProblemType
from fedyard.wire.times import SECOND
from storage.views.people import Bearer
from web.http.auth import Authentication
from web.http.calls import Call, Web
from web.live.tokens import unauthorized
from web.problems import Refused

COOKIE = "__Host-fedyard-session-"
"""How its name begins. Browsers let nobody but this very host set a cookie of such a name, no neighbour under the same
domain; and the hub's own end keeps apart hubs that one reaches at one host, such as by tunnels: cookies know no
ports."""
CSRF_FIELD = "_csrf"
CSRF_HEADER = "X-CSRF-Token"
SAFE = ("GET", "HEAD")
SEEN_EVERY_S = 60
"""How old the time in the cookie may become before an answer carries another."""


class Carried(NamedTuple):
    """What a session's cookie says. seen_at: when a page was last asked for, microseconds."""

    secret: str
    seen_at: Micros


class SignIn(Protocol):
    """A way to prove whose session is to be opened. Tokens and one-time codes are the one that there is; another, as
    OpenID Connect, is one more class and a button on the page."""

    def proved(self, web: Web, shown: str) -> Bearer:
        """Whose it is that was shown. Raises 401."""


class TokenSignIn:
    """An account's token, or a one-time code that was made for it, pasted or in a link."""

    def proved(self, web: Web, shown: str) -> Bearer:
        found = web.tokens.of(shown, TokenKind.TOKEN, TokenKind.SIGN_IN)
        if found is None or found.token_id is None:
            detail = "the token or code is unknown, revoked, expired or used up; sign in with another"
            raise Refused(ProblemType.TOKEN_NOT_VALID, detail)
        if found.subject.kind != "account" or found.project_id is not None:
            detail = "this is a site's token: people of a site look at its portal (fedyard site portal)"
            raise Refused(ProblemType.TOKEN_NOT_VALID, detail)
        return found


def _caller(web: Web, request: Request) -> Bearer:
    carried = carried_by(web, request)
    found = None if carried is None else web.tokens.of(carried.secret, TokenKind.SESSION)
    if found is None:
        raise _signed_out()
    return found


def _meant(web: Web, caller: Bearer, request: Request) -> None:
    _need_own_part(request)
    if request.method not in SAFE:
        carried = carried_by(web, request)
        if carried is None:  # idle for too long, just now
            raise _signed_out()
        with web.shares.bodies.place(caller.share):
            _need_intention(request, carried.secret, web.hub.settings.request_limit_bytes)


def _signed_out() -> Refused:
    return unauthorized(ProblemType.NO_TOKEN, "nobody is signed in, or the session has ended: sign in")


SESSION = Authentication("session", _caller, meant=_meant)
"""People in a browser. No scheme: what it lets in is no part of /openapi.json."""


def carried_by(web: Web, request: Request) -> Carried | None:
    """What the request's cookie says, if this hub wrote it and a page was asked for lately."""
    secret, _, rest = request.cookies.get(cookie_name(web), "").partition(".")
    seen, _, signature = rest.partition(".")
    if not hmac.compare_digest(signature.encode(), _signature(web, secret, seen).encode()):
        return None
    carried = Carried(secret, int(seen) * SECOND)
    idle_s = web.hub.settings.session_idle_min * 60
    return carried if web.hub.clock.now() - carried.seen_at <= idle_s * SECOND else None


def csrf_of(call: Call) -> str:
    """What forms of this session carry in `_csrf`, and programs of the page in `X-CSRF-Token`; "" without a session."""
    carried = carried_by(call.web, call.request)
    return "" if carried is None else _csrf(carried.secret)


def begun(web: Web, response: Response, secret: str) -> Response:
    """The response, with the cookie of a session that was opened just now."""
    return _with_cookie(web, response, secret)


def cookie_name(web: Web) -> str:
    """The same at every web process of a hub."""
    return COOKIE + hmac.digest(web.webhook_key, b"fedyard session cookie 1", hashlib.sha256).hex()[:8]


def ended(web: Web, response: Response) -> Response:
    """The response, after which the browser has no session, and shows nobody what it kept of one."""
    response.headers["Clear-Site-Data"] = '"cache"'
    response.delete_cookie(cookie_name(web), path="/", secure=True, httponly=True, samesite="Strict")
    return response


def kept(call: Call, response: Response) -> Response:
    """The response to a person's own request: from now on the session is idle."""
    carried = carried_by(call.web, call.request)
    by_itself = "HX-Request" in call.request.headers and call.request.method in SAFE
    if carried is None or by_itself or call.web.hub.clock.now() - carried.seen_at < SEEN_EVERY_S * SECOND:
        return response
    return _with_cookie(call.web, response, carried.secret)


_NOT_OURS = (
    "another site's page sent this, or a proxy before the hub does not pass the Host on: open the hub's own page, "
    "and do it there"
)


def need_own_page(request: Request) -> None:
    """Raises 403 for what another site's page sent, as far as the browser says whose it was.

    Sec-Fetch-Site is the browser's own word; where there is none, Origin is compared, which a form of a page without a
    referrer sends as "null".
    """
    fetched, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin", "null")
    ours = fetched == "same-origin" if fetched else origin == "null" or urlsplit(origin).netloc == request.host
    if not ours:
        raise Refused(ProblemType.FORBIDDEN, _NOT_OURS)


def _need_own_part(request: Request) -> None:
    """Raises 403 for what another site's page asked for without leading there: to probe for what this browser may see,
    or to have the hub work. A neighbour under the same domain is another site here, though `SameSite` says it is none.
    """
    by_another = request.headers.get("Sec-Fetch-Site") in ("same-site", "cross-site")
    if by_another and request.headers.get("Sec-Fetch-Mode", "navigate") != "navigate":
        raise Refused(ProblemType.FORBIDDEN, "another site's page asked for this: open the hub's own page")


def _need_intention(request: Request, secret: str, limit_bytes: int) -> None:
    need_own_page(request)
    shown = request.headers.get(CSRF_HEADER)
    if shown is None:
        if (request.content_length or 0) > limit_bytes:
            raise Refused(ProblemType.TOO_LARGE, f"a form has {limit_bytes} bytes at most; send less")
        shown = request.form.get(CSRF_FIELD, "")
    if not hmac.compare_digest(shown.encode(), _csrf(secret).encode()):
        detail = (
            "the form was made in another session, or was not made by this hub: open the page again, and send it anew"
        )
        raise Refused(ProblemType.FORBIDDEN, detail)


def _with_cookie(web: Web, response: Response, secret: str) -> Response:
    seen = str(web.hub.clock.now() // SECOND)
    value = f"{secret}.{seen}.{_signature(web, secret, seen)}"
    response.set_cookie(cookie_name(web), value, path="/", secure=True, httponly=True, samesite="Strict")
    return response


def _signature(web: Web, secret: str, seen: str) -> str:
    key = hmac.digest(web.webhook_key, b"fedyard sessions 1", hashlib.sha256)
    return _text(hmac.digest(key, f"{secret}.{seen}".encode(), hashlib.sha256))


def _csrf(secret: str) -> str:
    return _text(hmac.digest(secret.encode(), b"fedyard csrf 1", hashlib.sha256))


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
