"""Who may ask, and what a browser may do with the answer: Host and Origin, the token, the headers of every reply."""

from __future__ import annotations

import hmac
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
"""Hosts that only this machine reaches."""

COOKIE = "quintet_token"

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
"""On every reply: scripts and styles come from our own files only, nothing inline, nothing from elsewhere."""


class Guard:
    """ASGI middleware in front of every page."""

    def __init__(self, app: ASGIApp, host: str, token: str = "") -> None:
        """Stand before an application.

        Args:
            app: What is guarded.
            host: The address listened on. On loopback, only loopback's names are answered, so that no page elsewhere
                can reach us by a name of its own that resolves here (DNS rebinding).
            token: What a visitor must know, if anything: as `Authorization: Bearer`, or once as `?token=`, which is
                then kept in a cookie and taken out of the address.
        """
        self.app, self.host, self.token = app, host, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, pass on, or refuse."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return

        async def sealed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("cache-control", "no-store")
            await send(message)

        refusal = self._refusal(scope)
        await (refusal or self.app)(scope, receive, sealed)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        host = _host(f"//{headers.get('host', '')}")
        if self.host in LOOPBACK and host not in LOOPBACK:
            return PlainTextResponse("this page answers to localhost and 127.0.0.1 only\n", 421)
        if "\x00" in scope["path"] or b"%00" in scope["query_string"]:
            # Nothing is called so, and not every database takes it in a question.
            return PlainTextResponse("an address holds no zero byte\n", 400)
        origin = headers.get("origin")
        changes = scope["method"] not in ("GET", "HEAD")
        if origin is not None and _place(origin) != headers.get("host"):
            return PlainTextResponse("asked by a page of another origin\n", 403)
        site, mode = headers.get("sec-fetch-site", "same-origin"), headers.get("sec-fetch-mode")
        # A link from elsewhere may lead here; a picture or script elsewhere may not ask, since answers take work.
        if site not in ("same-origin", "none") and (changes or mode != "navigate"):
            return PlainTextResponse("asked by a page of another origin\n", 403)
        return self._stranger(scope, headers) if self.token else None

    def _stranger(self, scope: Scope, headers: Headers) -> Response | None:
        """A refusal of whoever does not know the token; the page itself, with a cookie, for whoever just said it."""
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        # Headers are read as Latin-1, and tokens are written in UTF-8.
        if scheme.lower() == "bearer" and self._knows(bearer.encode("latin-1").decode(errors="replace")):
            return None
        if self._knows(_cookie(headers.get("cookie", ""))):
            return None
        asked = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        if scope["method"] == "GET" and self._knows(dict(asked).get("token", "")):
            rest = urlencode([(name, value) for name, value in asked if name != "token"])
            # One slash only: two would name another host.
            path = "/" + scope["path"].lstrip("/")
            response = RedirectResponse(path + (f"?{rest}" if rest else ""), 303)
            # A cookie holds ASCII only.
            response.set_cookie(COOKIE, quote(self.token, safe=""), httponly=True, samesite="strict")
            return response
        return PlainTextResponse("this page needs its token: open it once as /?token=TOKEN\n", 401)

    def _knows(self, said: str) -> bool:
        return hmac.compare_digest(said.encode(), self.token.encode())


def _host(address: str) -> str:
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""


def _place(origin: str) -> str:
    """Host and port of an origin; empty where there is none, which no host is."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""


def _cookie(header: str) -> str:
    try:
        morsel = SimpleCookie(header).get(COOKIE)
    except CookieError:
        return ""
    return unquote(morsel.value) if morsel else ""
