"""What stands before every route: the key, the rate, the size; and a count of all that passed."""

from __future__ import annotations

import base64
import binascii
import hmac
import time
from dataclasses import dataclass

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

TELLING = 8 << 20  # bytes of a body that is not an upload
_ROUTINE = "multipart/form-data"


@dataclass(frozen=True, slots=True)
class Limits:
    """What one client may ask for."""

    upload_bytes: int
    per_minute: int


class Metrics:
    """Counters of one service, in Prometheus' terms."""

    def __init__(self) -> None:
        """Start them at nothing."""
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "textualize_requests", "Requests answered.", ["route", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "textualize_request_seconds", "Seconds to answer.", ["route"], registry=self.registry
        )
        self.answers = Counter(
            "textualize_answers", "Clips answered.", ["model", "label"], registry=self.registry
        )
        self.up = Gauge("textualize_engine_up", "1 if the engine answers.", registry=self.registry)


class Guard:
    """ASGI middleware; refuses before anything of the body is read."""

    def __init__(self, app: ASGIApp, *, key: str, limits: Limits, metrics: Metrics) -> None:
        """Stand before `app`."""
        self._app, self._key, self._limits, self._metrics = app, key, limits, metrics
        self._rate = RateLimitItemPerMinute(limits.per_minute)
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun, status = time.monotonic(), 500

        async def counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = int(message["status"])
            await send(message)

        try:
            refused = self._refused(Request(scope))
            if refused is not None:
                await refused(scope, receive, counted)
            else:
                most = most_bytes(Request(scope), self._limits)
                await self._app(scope, bounded(receive, most), counted)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.requests.labels(route, str(status)).inc()
            self._metrics.seconds.labels(route).observe(time.monotonic() - begun)

    def _refused(self, request: Request) -> JSONResponse | None:
        client = request.client.host if request.client else "local"
        if not self._limiter.hit(self._rate, client):
            reset = self._limiter.get_window_stats(self._rate, client).reset_time
            wait = max(1, round(reset - time.time()))
            return refusal(
                429, f"more than {self._limits.per_minute} requests a minute", retry_after=wait
            )
        if not self._knows_key(request):
            return refusal(401, "the key is missing or wrong: send Authorization: Bearer KEY")
        return too_long(request, self._limits)

    def _knows_key(self, request: Request) -> bool:
        kind, _, given = request.headers.get("authorization", "").partition(" ")
        if kind.lower() == "basic" and request.method == "GET":  # a browser asks for a password
            try:
                given = base64.b64decode(given, validate=True).decode().partition(":")[2]
            except (binascii.Error, UnicodeDecodeError):
                return False
        elif kind.lower() != "bearer":
            return False
        return hmac.compare_digest(given.strip().encode(), self._key.encode())


def too_long(request: Request, limits: Limits) -> JSONResponse | None:
    """Return the refusal of a body that is declared longer than is accepted."""
    declared, most = request.headers.get("content-length", "0"), most_bytes(request, limits)
    if not declared.isdecimal() or int(declared) > most:
        return refusal(413, f"the body is {declared} bytes, accepted are {most}")
    return None


def most_bytes(request: Request, limits: Limits) -> int:
    """Return how long a request's body may be."""
    upload = request.headers.get("content-type", "").lower().startswith(_ROUTINE)
    return limits.upload_bytes if upload else TELLING


def bounded(receive: Receive, most: int) -> Receive:
    """Return `receive` that stops a body which is longer than it was declared."""
    had = 0

    async def counting() -> Message:
        nonlocal had
        message = await receive()
        had += len(message.get("body", b""))
        if had > most:
            raise HTTPException(413, f"the body is longer than {most} bytes")
        return message

    return counting


def refusal(status: int, message: str, *, retry_after: int | None = None) -> JSONResponse:
    """Return an error answer in the one shape all errors have."""
    kinds = {401: "authentication", 413: "too_large", 429: "rate", 503: "unavailable"}
    headers = {}
    if retry_after is not None:
        headers["Retry-After"] = str(retry_after)
    if status == 401:
        headers["WWW-Authenticate"] = 'Basic realm="textualize", charset="UTF-8"'
    kind = kinds.get(status, "invalid_request" if status < 500 else "server")
    return JSONResponse({"error": {"message": message, "type": kind}}, status, headers)
