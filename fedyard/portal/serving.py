"""The portal's server: who may come in, and what every answer carries.

It listens on 127.0.0.1 and nowhere else. A request has to name that very address and port (else a page of somewhere
else could reach in under a name of its own: DNS rebinding), to bring the cookie of a session, and, if it changes
something, to come from this portal's own pages with their CSRF token.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from flask import Flask, Request, Response, request, send_file
from waitress import create_server, wasyncore
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from fedyard.actions.site import UsageError
from fedyard.agent.consents import NotChosen
from fedyard.agent.paths import Outside
from fedyard.agent.site import Folder, SiteError
from fedyard.client.errors import HubError, Refused, Unavailable
from fedyard.clock import micros_now
from fedyard.look.assets import by_name
from fedyard.look.forms import Form
from fedyard.portal import door
from fedyard.portal.desk import Answer, Desk, Done, Download, Page, Unchanged, Visit, Wrong, rendered
from fedyard.portal.door import Door, Opened, Session
from fedyard.portal.pages.messages import MAX_SENT_BYTES
from fedyard.portal.table import FORMS, PAGES, Shows, Takes
from fedyard.sealed.errors import SealError
from fedyard.wire import locks
from fedyard.wire.answers import Problem
from fedyard.wire.times import SECOND

PORT = 8437
"""Where it listens if nothing else is said; any free port if that one is taken."""
THREADS = 8
STOP_WITHIN_S = 2.0
"""How long answers that are under way may take when the portal ends."""
MAX_FORM_BYTES = 1_048_576
LOCK = "portal.lock"
SAFE = ("GET", "HEAD")
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # with none at all a browser sends its forms with Origin: null
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
HTML = "text/html; charset=utf-8"


class Portal:
    """One portal of one site: its desk, its door and where it listens."""

    def __init__(self, desk: Desk, opened: Opened, log: Callable[[str], None]) -> None:
        """log: told what went wrong in the portal itself: kinds and places, no values."""
        self.desk, self.opened, self._log = desk, opened, log
        self.door = Door(opened.secret)
        self.cookie = f"fedyard-portal-{opened.port}"
        self.hosts = {f"{name}:{opened.port}" for name in ("127.0.0.1", "localhost")}

    def now_s(self) -> float:
        return self.desk.now() / SECOND

    def app(self) -> Flask:
        app = Flask("fedyard.portal", static_folder=None)
        app.config.update(MAX_CONTENT_LENGTH=MAX_FORM_BYTES, MAX_FORM_MEMORY_SIZE=MAX_FORM_BYTES, MAX_FORM_PARTS=200)
        app.before_request(self._checked)
        app.after_request(_carried)
        app.register_error_handler(Exception, self._failed)
        app.add_url_rule("/static/<name>", "static", _asset)
        app.add_url_rule("/enter", "enter", self._enter)
        app.add_url_rule("/leave", "leave", self._leave, methods=["POST"])
        for one in _EVERY:
            app.add_url_rule(
                one.path, _name(one), self._view(one), methods=["GET" if isinstance(one, Shows) else "POST"]
            )
        return app

    # who may come in

    def _checked(self) -> Response | None:
        """Before anything of a request is read. None lets it through."""
        if request.host not in self.hosts:
            return _plain(421, "This portal answers under its own address alone.")
        if request.method not in (*SAFE, "POST"):
            return _plain(405, "A portal is read, or a form is sent to it.")
        if request.method == "POST" and not _from_here(request, self.hosts):
            return _plain(403, "A form of another page was sent here: nothing was done.")
        if not _asked_here(request):
            return _plain(403, "Another page asked for this. It may lead here, and load nothing.")
        if request.endpoint == "static" or (request.endpoint == "enter" and request.method in SAFE):
            return None
        session = self._session()
        if session is None:
            return self._outside()
        if request.method == "POST":
            if isinstance(_ENTRIES.get(request.endpoint or ""), Takes) and _ENTRIES[request.endpoint or ""].file:
                request.max_content_length = MAX_SENT_BYTES + MAX_FORM_BYTES
            if not session.sent_by(request.form.get("_csrf", "")):
                return _plain(403, "The form is of another session: load the page again. Nothing was done.")
        return None

    def _session(self) -> Session | None:
        by_itself = "HX-Request" in request.headers and request.method in SAFE  # else an open page would never be idle
        return self.door.session(request.cookies.get(self.cookie, ""), self.now_s(), by_itself=by_itself)

    def _enter(self) -> Response:
        if request.method == "HEAD":  # who looks whether a link leads somewhere does not use it up
            return _plain(200, "")
        session = self.door.enter(request.args.get("code", ""), self.now_s())
        if session is None:
            return self._outside("This link was used before, or is older than ten minutes.")
        response = Response("", 303, {"Location": "/"})
        response.set_cookie(self.cookie, session.secret, httponly=True, samesite="Strict", path="/")
        return response

    def _leave(self) -> Response:
        session = self._session()
        assert session is not None
        self.door.leave(session, everybody=request.form.get("everybody") == "true")
        response = self._outside("You have signed out.", status=200)
        response.delete_cookie(self.cookie, path="/", samesite="Strict", httponly=True)
        return response

    def _outside(self, why: str = "", *, status: int = 401) -> Response:
        """What anybody sees who is not in; a part of a page that renews itself learns it by the status."""
        facts = {"why": why, "folder": str(self.desk.folder.path), "now": self.desk.now()}
        return Response(self.desk.templates().get_template("outside.html").render(facts), status, content_type=HTML)

    # pages and forms

    def _view(self, one: Shows | Takes) -> Callable[..., Response]:
        def view(**path: Any) -> Response:
            session = self._session()
            if session is None:  # it has just ended
                return self._outside()
            visit = Visit(
                self.desk,
                session,
                request.path,
                {name: str(value) for name, value in path.items()},
                request.args.to_dict(),
            )
            return self._shown(visit, one) if isinstance(one, Shows) else self._taken(visit, one)

        return view

    def _shown(self, visit: Visit, one: Shows) -> Response:
        if not one.waits:
            return self._answered(visit, one.does(visit))
        if not self.desk.watching.acquire(blocking=False):
            return Response("", 503, {"Retry-After": "5"})
        try:
            return self._answered(visit, one.does(visit))
        finally:
            self.desk.watching.release()

    def _taken(self, visit: Visit, one: Takes) -> Response:
        upload = request.files.get("file") if one.file else None
        content = upload.read(MAX_SENT_BYTES + 1) if upload is not None and upload.filename else None
        if content is not None and len(content) > MAX_SENT_BYTES:
            raise RequestEntityTooLarge
        visit = replace(visit, form=Form(dict(request.form.lists())), file=content)
        with visit.session.taking:
            return self._taken_once(visit, one)

    def _taken_once(self, visit: Visit, one: Takes) -> Response:
        key, done = visit.key, visit.session.done
        if key in done:  # the same form, sent twice
            return Response("", 303, {"Location": done[key]})
        try:
            answer = one.does(visit)
        except Wrong as wrong:
            return self._again(visit, one, form=visit.form.with_error(wrong.field, str(wrong)), status=422)
        except Exception as error:
            problem = problem_of(error)
            if problem is None:
                raise
            return self._again(visit, one, form=visit.form, status=problem.status, problem=problem)
        if isinstance(answer, Done):
            done[key] = answer.href
            while len(done) > MAX_DONE:
                del done[next(iter(done))]
        return self._answered(visit, answer)

    def _again(self, visit: Visit, one: Takes, *, form: Form, status: int, problem: Problem | None = None) -> Response:
        """The page of a form once more, with what was typed and what is wrong."""
        shown = one.again(replace(visit, form=form, way=visit.way.rpartition("/")[0] or visit.way))
        assert isinstance(shown, Page)
        more = {} if problem is None else {"problem": problem}
        return self._answered(visit, Page(shown.template, {**shown.facts, "form": form, **more}, status))

    def _answered(self, visit: Visit, answer: Answer) -> Response:
        match answer:
            case Page():
                return Response(rendered(visit, answer), answer.status, content_type=HTML)
            case Done(href, text):
                visit.session.said = "good", text
                return Response("", 303, {"Location": href})
            case Unchanged():
                return Response("", 204)
            case Download():
                return _sent(answer)

    def _failed(self, error: Exception) -> Response:
        """A problem as a page; what nobody expected is told to whoever runs the portal, and not to the browser."""
        if isinstance(error, HTTPException):
            problem = Problem(title=error.name, status=error.code or 500, detail=_WORDS.get(error.code or 500, ""))
        else:
            found = problem_of(error)
            if found is None:
                frames = traceback.extract_tb(error.__traceback__)[-4:]
                places = " < ".join(f"{Path(one.filename).name}:{one.lineno}" for one in reversed(frames))
                self._log(f"{request.method} {request.path}: {type(error).__name__} at {places}")
                text = "Something went wrong in the portal itself; the terminal in which it runs says where."
                found = Problem(title="Our fault", status=500, detail=text)
            problem = found
        session = self._session() if request.host in self.hosts else None
        if session is None:
            return _plain(problem.status, problem.title)
        visit = Visit(self.desk, session, request.path)
        try:
            return self._answered(visit, Page("problem.html", {"problem": problem}, problem.status))
        except Exception:  # noqa: BLE001 - site.toml itself may be what is wrong
            return _plain(problem.status, f"{problem.title}: {problem.detail}")


MAX_DONE = 200
"""Forms of one session that are known when they are sent again."""
_WORDS = {
    404: "There is no such page in this portal.",
    405: "That cannot be done here.",
    413: "That is more than a form may bring; a file may have 64 MiB: send larger ones with `fedyard send`.",
}


def problem_of(error: Exception) -> Problem | None:
    """What people read of it; None for what is nobody's fault but ours."""
    if isinstance(error, Refused):
        return Problem(
            title=f"The hub refused it: {error.slug.replace('_', ' ')}", status=error.status, detail=error.detail
        )
    if isinstance(error, Unavailable):
        return Problem(title="The hub cannot be reached", status=503, detail=str(error))
    if isinstance(error, HubError):
        return Problem(title="The hub was not asked", status=502, detail=str(error))
    if isinstance(error, SealError):
        return Problem(title="It does not open, or may not be sealed", status=409, detail=str(error))
    if isinstance(error, SiteError):
        return Problem(title="This site's folder cannot be used so", status=409, detail=str(error))
    if isinstance(error, UsageError | NotChosen | Outside):
        return Problem(title="It cannot be done so", status=409, detail=str(error))
    return None


def _sent(file: Download) -> Response:
    """As a file to keep, of no type that a browser would show."""
    source: Any = file.content
    if isinstance(source, bytes):
        response = Response(source, 200, content_type="application/octet-stream")
        response.headers.set("Content-Disposition", "attachment", filename=file.name)
        return response
    opened = source.open("rb")
    if file.remove:
        source.unlink()
    return send_file(opened, "application/octet-stream", as_attachment=True, download_name=file.name, max_age=0)


def _asset(name: str) -> Response:
    found = by_name().get(name)
    if found is None:
        return _plain(404, "There is no such file.")
    headers = {"Cache-Control": "public, max-age=31536000, immutable", "Vary": "Accept-Encoding"}
    if request.accept_encodings["gzip"]:  # a tunnel may be slow
        return Response(found.zipped, 200, {**headers, "Content-Encoding": "gzip"}, content_type=found.media)
    return Response(found.content, 200, headers, content_type=found.media)


def _carried(response: Response) -> Response:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.setdefault("Cache-Control", "no-store")
    return response


def _plain(status: int, text: str) -> Response:
    return Response(f"{text}\n", status, content_type="text/plain; charset=utf-8")


def _from_here(asked: Request, hosts: set[str]) -> bool:
    """A browser says where a form comes from; what says nothing has no browser's cookies to misuse."""
    site = asked.headers.get("Sec-Fetch-Site")
    if site is not None and site not in ("same-origin", "none"):
        return False
    origin = asked.headers.get("Origin")
    return origin is None or urlsplit(origin).netloc in hosts


def _asked_here(asked: Request) -> bool:
    """A page of another server of this machine is no other site to a browser, which sends it along with the session's
    cookie: it may lead here, and have nothing of the portal loaded, fetched from the hub and opened."""
    by_another = asked.headers.get("Sec-Fetch-Site") in ("same-site", "cross-site")
    return not by_another or asked.headers.get("Sec-Fetch-Mode", "navigate") == "navigate"


def _name(one: Shows | Takes) -> str:
    return f"{'get' if isinstance(one, Shows) else 'post'} {one.path}"


_EVERY: tuple[Shows | Takes, ...] = (*PAGES, *FORMS)
_ENTRIES: dict[str, Any] = {_name(one): one for one in _EVERY}


class Busy(Exception):
    """A portal of this folder runs already; `opened` is where."""

    def __init__(self, opened: Opened) -> None:
        self.opened = opened
        super().__init__(f"a portal listens on port {opened.port}")


class Server:
    """The portal of a folder, listening. Raises `Busy`, `SiteError`, or `OSError` if the port is taken."""

    def __init__(self, folder: Folder, port: int | None = None, log: Callable[[str], None] = lambda _: None) -> None:
        """port: None for the usual one, or a free one if that is taken. log: as for `Portal`."""
        folder.site_id()
        self._lock = _locked(folder)
        self.desk = Desk(folder)
        try:
            self._server = _listening(_refused, port)
            self.portal = Portal(self.desk, door.opened(folder.path, int(self._server.effective_port)), log)
        except BaseException:
            self._lock.close()
            raise
        self._server.application = self.portal.app()

    def link(self) -> str:
        return self.portal.opened.link(micros_now() / SECOND)

    def run(self) -> None:
        """Until `stop`."""
        self._server.run()
        self._server.task_dispatcher.shutdown(timeout=STOP_WITHIN_S)
        self._lock.close()

    def stop(self) -> None:
        """For any thread. What waits for something new ends; the loop that `run` is in closes its own sockets."""
        self.desk.closing.set()
        sockets = self._server._map  # noqa: SLF001 - waitress has no other end than a signal on the main thread
        self._server.trigger.pull_trigger(lambda: wasyncore.close_all(sockets, ignore_all=True))


def _listening(app: Any, port: int | None) -> Any:
    options = {
        "host": "127.0.0.1",
        "threads": THREADS,
        "ident": None,
        "max_request_body_size": MAX_SENT_BYTES + 2 * MAX_FORM_BYTES,
        "connection_limit": 100,
        "clear_untrusted_proxy_headers": True,
    }
    try:
        return create_server(app, port=PORT if port is None else port, **options)
    except OSError:
        if port is not None:
            raise
        return create_server(app, port=0, **options)


def _refused(_environ: Any, start: Any) -> list[bytes]:
    start("503 Service Unavailable", [])
    return []


def _locked(folder: Folder) -> Any:
    lock = (folder.path / LOCK).open("w")
    try:
        locks.lock_now(lock)
    except BlockingIOError:
        lock.close()
        opened = door.read(folder.path)
        if opened is None:
            raise SiteError(f"another portal begins in {folder.path} just now: say it again") from None
        raise Busy(opened) from None
    return lock
