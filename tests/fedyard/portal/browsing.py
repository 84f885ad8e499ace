"""A browser at a site's portal, without one."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping
from html import unescape
from typing import Any

from werkzeug.test import Client as Http
from werkzeug.test import TestResponse

from fedyard.agent.site import Folder
from fedyard.clock import micros_now
from fedyard.portal import door
from fedyard.portal.desk import Desk
from fedyard.portal.serving import Portal

PORT = 8437
BASE = f"http://127.0.0.1:{PORT}"


class Browser:
    """Whoever sits at the machine; in, once they have opened the link."""

    def __init__(self, folder: Folder, *, give_up_s: float = 15.0, now: Callable[[], int] = micros_now) -> None:
        self.faults: list[str] = []
        self.portal = Portal(Desk(folder, now, give_up_s=give_up_s), door.opened(folder.path, PORT), self.faults.append)
        self.http = Http(self.portal.app())
        self.csrf = ""

    def enter(self) -> Browser:
        link = self.portal.opened.link(self.portal.now_s())
        answer = self.http.get(link.removeprefix(BASE), base_url=BASE)
        assert (answer.status_code, answer.location) == (303, "/")
        self.csrf = next(iter(self.portal.door._sessions.values())).csrf
        return self

    def beside(self) -> Browser:
        """Another window of the same session."""
        other = copy.copy(self)
        other.http = Http(self.portal.app())
        kept = self.http.get_cookie(self.portal.cookie, "127.0.0.1")
        assert kept is not None
        other.http.set_cookie(kept.key, kept.value, domain="127.0.0.1")
        return other

    def get(self, path: str, **headers: str) -> TestResponse:
        return self.http.get(path, base_url=BASE, headers=headers)

    def text(self, path: str, status: int = 200) -> str:
        """A page as HTML."""
        answer = self.get(path)
        assert answer.status_code == status, answer.text
        return answer.text

    def post(self, path: str, form: Mapping[str, Any], **headers: str) -> TestResponse:
        return self.http.post(path, data={"_csrf": self.csrf, **form}, base_url=BASE, headers=headers)

    def done(self, path: str, **form: Any) -> str:
        """Send a form that is taken; where it leads."""
        answer = self.post(path, form)
        assert answer.status_code == 303, said(answer.text)
        return answer.location

    def close(self) -> None:
        self.portal.desk.closing.set()


def said(html: str) -> str:
    """A page's words."""
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]*>", " ", html)))
