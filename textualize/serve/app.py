"""The service: what is asked over HTTP, answered by one engine.

Every route needs the key; every error has one shape; every label is one of a run's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel, ValidationError
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, JSONResponse

from textualize.errors import TextualizeError
from textualize.serve import openai
from textualize.serve.asking import Asker, Said, said
from textualize.serve.docs import CSP, page_of
from textualize.serve.engine import Engine, EngineDownError
from textualize.serve.guard import Guard, Limits, Metrics, refusal
from textualize.serve.runs import ServedRun, run_named
from textualize.serve.schemas import (
    Asks,
    BatchAnswer,
    BatchRequest,
    EmotionAnswer,
    EmotionRequest,
    ErrorBody,
    Health,
    ItemError,
)
from textualize.serve.upload import Uploads

T = TypeVar("T", bound=BaseModel)
AGAIN_S = 5  # what a client is told to wait where the engine is down
ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorBody} for status in (400, 401, 404, 413, 415, 422, 429, 503)
}


@dataclass(frozen=True, slots=True)
class Service:
    """What the routes share."""

    engine: Engine
    runs: Mapping[str, ServedRun]
    uploads: Uploads
    metrics: Metrics = field(default_factory=Metrics)

    def asker(self, name: str | None) -> Asker:
        """Return the run asked for with its engine; 404 for an unknown one."""
        try:
            return Asker(run_named(self.runs, name), self.engine)
        except TextualizeError as error:
            raise HTTPException(404, str(error)) from None

    async def emotion(self, request: EmotionRequest) -> EmotionAnswer:
        """Return the answer to one clip in words."""
        asker = self.asker(request.model)
        given = await asyncio.to_thread(said, request, asker.run)
        return await self.answered(asker, given, request)

    async def answered(self, asker: Asker, given: Said, asks: Asks) -> EmotionAnswer:
        """Return the answer to a record, counted."""
        answer = await asker.answer(given, explained=asks.explain, tokens=asks.tokens)
        self.metrics.answers.labels(answer.model, answer.label).inc()
        return answer


def service_app(service: Service, key: str, limits: Limits) -> FastAPI:
    """Return the application; its engine is the caller's to start and stop."""
    app = FastAPI(
        title="textualize",
        summary="Emotions expressed in clips, from words a language model reads.",
        docs_url=None,  # those pages load their scripts from elsewhere
        redoc_url=None,
        responses=ERRORS,
        separate_input_output_schemas=False,
    )
    app.add_middleware(Guard, key=key, limits=limits, metrics=service.metrics)
    tell_errors(app)
    _watch(app, service)
    _emotions(app, service)
    openai.add_routes(app, service)
    return app


def tell_errors(app: FastAPI) -> None:
    """Give every error of an application the one shape."""

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        return refusal(422, _first(error.errors()))

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> JSONResponse:
        told = refusal(error.status_code, str(error.detail))
        told.headers.update(error.headers or {})
        return told

    @app.exception_handler(EngineDownError)
    async def down(request: Request, error: EngineDownError) -> JSONResponse:
        return refusal(503, str(error), retry_after=AGAIN_S)

    @app.exception_handler(TextualizeError)
    async def unusable(request: Request, error: TextualizeError) -> JSONResponse:
        return refusal(422, str(error))

    @app.exception_handler(Exception)
    async def defect(request: Request, error: Exception) -> JSONResponse:
        return refusal(500, f"the service failed: {type(error).__name__}")


def _first(errors: Any) -> str:
    first = dict(errors[0])
    place = ".".join(str(p) for p in first["loc"] if p != "body")
    return f"{place or 'body'}: {str(first['msg']).removeprefix('Value error, ')}"


def _watch(app: FastAPI, service: Service) -> None:
    """Add what a probe asks for, and the page that tells what else can be asked."""

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(page_of(app.openapi()), headers={"Content-Security-Policy": CSP})

    @app.get("/healthz", responses={503: {"model": Health}})
    async def healthz(response: Response) -> Health:
        """Tell whether a prompt would be scored now; 503 where not."""
        up = await service.engine.ready()
        response.status_code = 200 if up else 503
        return Health(
            status="ok" if up else "down", engine=service.engine.name, models=list(service.runs)
        )

    @app.get(
        "/metrics", response_class=Response, responses={200: {"content": {CONTENT_TYPE_LATEST: {}}}}
    )
    async def metrics() -> Response:
        """Return counters for Prometheus."""
        service.metrics.up.set(await service.engine.ready())
        text = generate_latest(service.metrics.registry)
        return Response(text, media_type=CONTENT_TYPE_LATEST)


_UPLOAD = {
    "type": "object",
    "required": ["clip"],
    "additionalProperties": False,
    "properties": {
        "clip": {"type": "string", "format": "binary"},
        "id": {"type": "string", "maxLength": 200},
        "model": {"type": "string", "minLength": 1, "maxLength": 200},
        "explain": {"type": "string", "enum": ["true", "false"]},
        "tokens": {"type": "string", "enum": ["true", "false"]},
    },
}
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/EmotionRequest"}},
            "multipart/form-data": {"schema": _UPLOAD},
        },
    }
}


class _UploadAsks(Asks):
    """The fields beside an uploaded clip."""

    id: str = ""


def _emotions(app: FastAPI, service: Service) -> None:
    """Add the product's own routes."""

    @app.post("/v1/emotions", openapi_extra=_BODY)
    async def emotions(request: Request) -> EmotionAnswer:
        """Return the emotion of one clip: its words as JSON, or the clip itself as a form."""
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == "multipart/form-data":
            return await _uploaded(request, service)
        if kind != "application/json":
            raise HTTPException(415, "send application/json, or a clip as multipart/form-data")
        return await service.emotion(_valid(EmotionRequest, await request.body()))

    @app.post("/v1/emotions/batch")
    async def batch(request: BatchRequest) -> BatchAnswer:
        """Return the emotions of several clips; one that fails takes nothing from the others."""
        found = await asyncio.gather(*(_one(service, item) for item in request.items))
        return BatchAnswer(answers=found)


async def _one(service: Service, item: EmotionRequest) -> EmotionAnswer | ItemError:
    try:
        return await service.emotion(item)
    except EngineDownError:
        raise  # the whole batch can be asked again
    except (HTTPException, TextualizeError) as error:
        message = error.detail if isinstance(error, HTTPException) else str(error)
        return ItemError.model_validate(
            {"id": item.id, "error": {"message": message, "type": "invalid_request"}}
        )


def _valid(kind: type[T], body: bytes) -> T:
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        raise RequestValidationError(error.errors(include_url=False)) from None


async def _uploaded(request: Request, service: Service) -> EmotionAnswer:
    async with request.form(max_files=1, max_fields=8, max_part_size=4096) as form:
        values = {name: value for name, value in form.multi_items() if name != "clip"}
        try:
            asks = _UploadAsks.model_validate(values)
        except ValidationError as error:
            raise RequestValidationError(error.errors(include_url=False)) from None
        clip = form.get("clip")
        if not isinstance(clip, UploadFile):
            raise HTTPException(422, "the form has no file called clip")
        asker = service.asker(asks.model)
        record = await service.uploads.record(clip)
    answer = await service.answered(asker, Said(record), asks)
    answer.id = asks.id
    return answer
