"""People in browsers: they have codes made, sign in with these and with tokens, twice perhaps, and out again."""

from __future__ import annotations

import random
import re
from typing import Any
from urllib.parse import urlencode

from domain import records as r
from domain.ids import sha256_hex
from domain.values import TokenKind
from fedyard.wire.times import SECOND, time_text
from tests.simulation.clusters import EVERY
from tests.simulation.processes import Answer, Lost, Request
from tests.simulation.sending import OPERATOR
from tests.simulation.world import Broken, Process, World
from web.live.tokens import TRUST_S

FIRST = 7
FORM = "application/x-www-form-urlencoded"
MAX_TOKENS = 4
CLOCKS_S = 1
"""By how much the clocks of two processes differ at most, and more."""
HEARD_WITHIN_S = TRUST_S + CLOCKS_S
"""A web that has missed that somebody was signed out lets him in so long."""
_TAKEN = (202, 429, 503)
_CSRF = re.compile(r'name="_csrf" value="([^"]+)"')


class Visitors(Process):
    """All of them have the operator's account."""

    def __init__(self, world: World) -> None:
        super().__init__(world, "visitors")
        self.on = world.seed % EVERY == FIRST
        self._chance = random.Random(f"who looks at the page in {world.seed}")
        self._tokens = [OPERATOR]
        self._codes: list[str] = []
        self._cookies: list[str] = []
        self._asked = 0

    @property
    def _account(self) -> str:
        return next(one.id for one in self.world.checker.every(r.Account) if one.name == "operator")

    def step(self) -> float:
        if self.world.calm:
            return 1000.0
        if self.world.waited_for:  # one at a time
            return 0.3
        acts = (self._make_code, self._sign_in, self._look, self._make_token, self._revoke, self._leave, self._misuse)
        self._chance.choices(acts, (2, 6, 4, 2, 2, 1, 1))[0]()
        return self._chance.choice((0.1, 0.4, 2))

    def _make_code(self) -> None:
        self._codes.append(f"code {len(self._codes)} of {self.world.seed}")
        digest = sha256_hex(self._codes[-1].encode())
        body = {"sha256": digest, "for_s": self._chance.choice((5.0, 600.0))}
        self._api("POST", "/v1/sign-ins", body, self._chance.choice(self._tokens))

    def _make_token(self) -> None:
        if len(self._tokens) > MAX_TOKENS:
            return
        self._tokens.append(f"token {len(self._tokens)} of the operator in {self.world.seed}")
        scopes = self._chance.choice((["read"], ["read", "write"]))
        body: dict[str, Any] = {"owner_kind": "account", "owner_id": self._account, "label": "x", "scopes": scopes}
        body["sha256"] = sha256_hex(self._tokens[-1].encode())
        if self._chance.random() < 0.5:
            body["expires_at"] = time_text(self.world.micros + self._chance.randint(20, 200) * SECOND)
        self._api("POST", "/v1/tokens", body, OPERATOR)

    def _revoke(self) -> None:
        """A token that somebody may have signed in with; never the operator's first one."""
        mine = {sha256_hex(one.encode()) for one in self._tokens[1:]}
        live = [one.id for one in self.world.checker.every(r.Token) if one.sha256 in mine and one.revoked_at is None]
        if live:
            self._api("DELETE", f"/v1/tokens/{self._chance.choice(sorted(live))}", None, OPERATOR)

    def _sign_in(self) -> None:
        """Whoever gets no answer presses the button once more, and some do so anyhow."""
        shown = self._chance.choice([*self._codes[-3:], *self._tokens])
        for _ in range(self._chance.choice((1, 1, 2, 3))):
            answer = self._send("/page/sign-in", {"token": shown})
            if answer is not None and answer.status == 303:
                self._cookies.append(answer.headers["Set-Cookie"].partition(";")[0])
                self.world.happened["signed in"] += 1
                self._look()
            elif answer is not None and answer.status not in (401, 403, 409, 429, 503):
                raise Broken(f"signing in was answered {answer.status}: {answer.body!r}")

    def _look(self) -> None:
        """A page is there for who is signed in, as far as the rows say that they are."""
        cookie = self._chance.choice([*self._cookies, ""])
        before = self._signed_in(cookie)
        answer = self._send("/page/projects", None, cookie)
        if answer is None or answer.status in (429, 503):
            return
        if answer.status not in (200, 303):
            raise Broken(f"a page was answered {answer.status}: {answer.body!r}")
        if answer.status == 200 and not self._was_signed_in(cookie):
            raise Broken(f"a page was shown to nobody who is signed in: {cookie}")
        if answer.status == 303 and before and self._signed_in(cookie):
            raise Broken(f"who is signed in was sent to sign in: {cookie}")

    def _misuse(self) -> None:
        """What lies in a cookie is good for pages alone."""
        if self._cookies:
            secret = self._chance.choice(self._cookies[-3:]).partition("=")[2].partition(".")[0]
            answer = self._api("GET", "/v1/me", None, secret)
            if answer is not None and answer.status == 200:
                raise Broken(f"a session's secret was taken for a token: {secret}")

    def _leave(self) -> None:
        roll = self._chance.random()
        if roll < 0.2:
            self._api("DELETE", f"/v1/accounts/{self._account}/sessions", None, OPERATOR)
        elif roll < 0.7 and self._cookies:
            cookie = self._chance.choice(self._cookies[-3:])
            page = self._send("/page/projects", None, cookie)
            found = _CSRF.search(page.body.decode()) if page is not None and page.status == 200 else None
            if found is not None:
                self._send("/page/sign-out", {"_csrf": found[1]}, cookie)

    def _signed_in(self, cookie: str) -> bool:
        """By what is committed, and by every clock."""
        until = self.world.micros + CLOCKS_S * SECOND
        return any(one.revoked_at is None and (one.expires_at or 0) > until for one in self._sessions(cookie))

    def _was_signed_in(self, cookie: str) -> bool:
        """Lately, so that a web may not have heard of its end."""
        since = self.world.micros - int(HEARD_WITHIN_S * SECOND)
        return any(
            (one.revoked_at is None or one.revoked_at > since) and (one.expires_at or 0) > since
            for one in self._sessions(cookie)
        )

    def _sessions(self, cookie: str) -> list[r.Token]:
        digest = sha256_hex(cookie.partition("=")[2].partition(".")[0].encode())
        tokens = self.world.checker.every(r.Token)
        return [one for one in tokens if one.sha256 == digest and one.kind == TokenKind.SESSION]

    def _api(self, method: str, path: str, body: Any, token: str) -> Answer | None:
        self._asked += 1
        try:
            answer = self.world.web.ask(Request(method, path, token, body, f"visitors-{self._asked}"))
        except Lost:
            return None
        if answer.status not in (200, *_TAKEN, 401, 403) and not (answer.status == 404 and self.world.restores.done):
            raise Broken(f"visitors: {path} was answered {answer.status}: {answer.body}")
        return answer

    def _send(self, path: str, form: dict[str, str] | None, cookie: str = "") -> Answer | None:
        method, body = ("GET", None) if form is None else ("POST", urlencode(form).encode())
        try:
            return self.world.web.ask(Request(method, path, "", body, content_type=FORM, cookie=cookie))
        except Lost:
            return None
