"""Somebody with a browser, as far as that keeps cookies and sends forms with what is hidden in them."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from typing import Any

from flask import Flask, Response
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from domain.codec import envelope_of
from domain.commands import OpenSession
from domain.ids import derive, sha256_hex
from domain.values import TokenKind
from web.page.sessions import begun, cookie_name
from web.serving.app import web_of

_HIDDEN = re.compile(r"<input\b[^>]*\btype=\"?hidden\"?[^>]*>")
_NAME, _VALUE = re.compile(r"\bname=\"([^\"]*)\""), re.compile(r"\bvalue=\"([^\"]*)\"")


class Browser:
    """Reads pages, and sends their forms with the hidden fields that the page shown last has."""

    def __init__(self, app: Flask) -> None:
        self.client: FlaskClient = app.test_client()
        self.shown = ""

    def get(self, path: str, **more: Any) -> TestResponse:
        return self._keep(self.client.get(path, **more))

    def post(self, path: str, form: Mapping[str, Any] | None = None, *, follow: bool = False) -> TestResponse:
        """As if the form were on the page shown last. follow: go where the answer leads."""
        headers = {"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"}
        fields = {**hidden_fields(self.shown, path), **(form or {})}
        return self._keep(self.client.post(path, data=fields, headers=headers, follow_redirects=follow))

    def _keep(self, response: TestResponse) -> TestResponse:
        if response.mimetype == "text/html" and response.data:
            self.shown = response.get_data(as_text=True)
        return response


def signed_in(app: Flask, token: str | None, place: int = 0) -> Browser:
    """Somebody who has a session by this token; None: somebody who has none. place: another is another session."""
    browser = Browser(app)
    if token is not None:
        browser.client.set_cookie(*session_of(app, token, place))
    return browser


def session_of(app: Flask, token: str, place: int = 0) -> tuple[str, str]:
    """Name and value of the cookie of a session that this token of an account opens, as its form would. The same token
    at the same place: the same one."""
    web = web_of(app)
    bearer = web.tokens.of(token, TokenKind.TOKEN)
    assert bearer is not None
    secret = f"fyd_{sha256_hex(token.encode() * (1 + place))[:43]}"
    command = OpenSession(bearer.subject.id, sha256_hex(secret.encode()), sha256_hex(token.encode()))
    ident = derive(bearer.subject.id, *["session"] * (1 + place))
    web.hub.publisher.send([envelope_of(command, id=ident, by=bearer.subject, at=web.hub.clock.now())])
    return cookie_name(web), begun(web, Response(), secret).headers["Set-Cookie"].partition("=")[2].partition(";")[0]


def hidden_fields(page: str, action: str) -> dict[str, str]:
    """Those of the form on the page that is sent there; else what any form of the page proves its session with."""
    forms = re.findall(r"<form\b([^>]*)>(.*?)</form>", page, re.DOTALL)
    there = [inside for opening, inside in forms if f'action="{html.escape(action)}"' in opening]
    fields = {}
    for hidden in _HIDDEN.findall(there[0] if there else page):
        name, value = _NAME.search(hidden), _VALUE.search(hidden)
        if name and (there or name[1] == "_csrf"):
            fields[html.unescape(name[1])] = html.unescape(value[1]) if value else ""
    return fields
