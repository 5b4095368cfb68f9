"""What stands before the studio: who is let in, how much is taken, what the browser may do.

The page is for the one browser that was given its address. Another page in that browser can send
requests here too, even under a name of its own that it points at this machine (DNS rebinding); it
neither knows the token in the path nor can it hide where it comes from.
"""

from __future__ import annotations

import hmac

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from textualize.serve.guard import Limits, bounded, most_bytes, refusal, too_long

HOSTS = ("127.0.0.1", "localhost")
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' blob: data:; media-src 'self' blob:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Door:
    """ASGI middleware; refuses before anything of the body is read."""

    def __init__(self, app: ASGIApp, *, token: str, limits: Limits) -> None:
        """Stand before `app`, whose paths begin with the token."""
        self._app, self._token, self._limits = app, token, limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":  # there are no sockets here; the lifespan passes
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return

        async def covered(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(_HEADERS)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        request = Request(scope)
        refused = self._stranger(request) or too_long(request, self._limits)
        if refused is not None:
            await refused(scope, receive, covered)
        else:
            most = most_bytes(request, self._limits)
            await self._app(scope, bounded(receive, most), covered)

    def _stranger(self, request: Request) -> JSONResponse | None:
        host = request.headers.get("host", "")
        if host.rpartition(":")[0] not in HOSTS and host not in HOSTS:
            return refusal(421, f"the studio answers to {' and '.join(HOSTS)} only")
        given = str(request.scope["path"]).lstrip("/").partition("/")[0]
        if not hmac.compare_digest(given.encode(errors="replace"), self._token.encode()):
            return refusal(404, "nothing here: open the address that textualize studio printed")
        if request.headers.get("origin", f"http://{host}") != f"http://{host}":
            return refusal(403, "asked by another page")
        followed = request.method == "GET" and request.headers.get("sec-fetch-mode") == "navigate"
        near = request.headers.get("sec-fetch-site", "none") in ("same-origin", "none")
        if not near and not followed:  # a link to the page may stand anywhere
            return refusal(403, "asked by another page")
        return None
