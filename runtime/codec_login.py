"""The page on which an operator logs in before the Temporal UI shows payloads: login, password, second factor.

Nothing typed here is kept: it goes to the operators' API, and the browser gets a session cookie. Every form comes from
a page of our own origin, and no page of ours can be framed or runs a script.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import parse_qsl
from zoneinfo import ZoneInfo

from jinja2 import Environment, FileSystemLoader
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from runtime.codec_requests import RefusedError, read_body
from runtime.codec_session import SessionCookie
from runtime.operators_api import Caller, OperatorRefusedError, OperatorsApi, OperatorSession

log = logging.getLogger(__name__)

MAX_FORM_BYTES = 4096
_FIELDS = ("login", "password", "totp")
_BEIJING = ZoneInfo("Asia/Shanghai")
_templates = Environment(loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True)
_SECURITY = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    # Not `no-referrer`: that would take the origin from the form as well, and the form is checked by it.
    "Referrer-Policy": "same-origin",
}

Handler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True)
class LoginPages:
    """`GET /` and `GET, POST /login`, `POST /logout`."""

    operators: OperatorsApi
    cookie: SessionCookie
    origin: str
    ui_origin: str
    now: Callable[[], datetime]

    def routes(self) -> list[Route]:
        return [
            Route("/", self.home, methods=["GET"]),
            Route("/login", self.form, methods=["GET"]),
            Route("/login", self._from_our_page(self.log_in), methods=["POST"]),
            Route("/logout", self._from_our_page(self.log_out), methods=["POST"]),
        ]

    async def home(self, request: Request) -> Response:
        """Who is logged in, until when, and what is left to do in the UI."""
        session = self.cookie.take(request, self.now())
        if session is None:
            return _sent_to("/login")
        until = session.expires_at.astimezone(_BEIJING).strftime("%Y-%m-%d %H:%M")
        return self._page("codec_home.html", session=session, until=until)

    async def form(self, _: Request) -> Response:
        """The empty form."""
        return self._page("codec_login.html", login="")

    async def log_in(self, request: Request) -> Response:
        """A session for the browser, or the form again with the reason."""
        typed = await _typed(request)
        try:
            session = await self._session(typed, caller_of(request))
        except OperatorRefusedError as refusal:
            log.info("login refused", extra={"reason": refusal.code})
            return self._page("codec_login.html", status=refusal.status, login=typed["login"], refusal=refusal)
        response = _sent_to("/")
        self.cookie.put(response, session, self.now())
        return response

    async def log_out(self, request: Request) -> Response:
        """Ends the session at the operators' API and in the browser; in the browser in any case."""
        session = self.cookie.take(request, self.now())
        response = _sent_to("/login")
        self.cookie.drop(response)
        if session is not None:
            try:
                await self.operators.log_out(session.token)
            except OperatorRefusedError as refusal:
                log.info("logout not confirmed", extra={"reason": refusal.code})
        return response

    async def _session(self, typed: dict[str, str], caller: Caller) -> OperatorSession:
        return await self.operators.log_in(typed["login"], typed["password"], typed["totp"], caller)

    def _from_our_page(self, handle: Handler) -> Handler:
        async def checked(request: Request) -> Response:
            if request.headers.get("origin") != self.origin:
                raise RefusedError(403, "origin_refused", "this form is sent from the codec server's own page only")
            return await handle(request)

        return checked

    def _page(self, template: str, *, status: int = 200, **values: object) -> Response:
        html = _templates.get_template(template).render(ui_origin=self.ui_origin, origin=self.origin, **values)
        return HTMLResponse(html, status, _SECURITY)


def caller_of(request: Request) -> Caller:
    """The address that connected to us, and the browser it says it is."""
    return Caller(request.client.host if request.client else "", request.headers.get("user-agent", "")[:200])


def _sent_to(path: str) -> Response:
    return RedirectResponse(path, 303, {"Cache-Control": "no-store"})


async def _typed(request: Request) -> dict[str, str]:
    body = await read_body(request, MAX_FORM_BYTES)
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=len(_FIELDS))
    except ValueError:
        raise RefusedError(400, "body_invalid", "the form cannot be read") from None
    found = dict(pairs)
    if set(found) != set(_FIELDS) or len(pairs) != len(_FIELDS):
        raise RefusedError(400, "body_invalid", "the form has login, password and totp, each once")
    return {name: found[name].strip() if name != "password" else found[name] for name in _FIELDS}
