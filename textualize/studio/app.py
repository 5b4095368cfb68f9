"""The studio's routes: the page, its pieces, files of clips, and what runs are asked."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from fastapi import APIRouter, FastAPI, Query, Request
from pydantic import Field
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response

from textualize.errors import TextualizeError
from textualize.files import Json
from textualize.prompt import Template, render_with
from textualize.serve.app import tell_errors
from textualize.serve.guard import Limits, refusal
from textualize.serve.schemas import Taken
from textualize.serve.upload import Uploads
from textualize.studio import view
from textualize.studio.door import Door
from textualize.studio.drafts import (
    EDITED,
    Desk,
    Draft,
    TakenNameError,
    line_of,
    named,
    wanted_settings,
)
from textualize.studio.jobs import Jobs, Progress
from textualize.studio.shelf import NoClipError, Shelf
from textualize.studio.trying import Read, TriedRun, compared
from textualize.types import Record

LISTED = 60  # clips shown at once; more are found by words
MOST_SAMPLE = 2000

Name = Annotated[str, Query(min_length=1, max_length=500)]


@dataclass(frozen=True, slots=True)
class Studio:
    """What the routes share."""

    shelf: Shelf
    desk: Desk
    runs: Mapping[str, TriedRun]
    uploads: Uploads
    jobs: Jobs = field(default_factory=Jobs)

    def run(self, name: str) -> TriedRun:
        """Return a run by name; 404 for an unknown one."""
        if name not in self.runs:
            raise HTTPException(404, f"no run called '{name[:100]}'")
        return self.runs[name]

    def chosen(self, choice: str, draft: Draft) -> Template:
        """Return the template a choice means: what is being edited, or one that can be opened."""
        return self.desk.template(draft if choice == EDITED else self.desk.opened(choice))

    def read(self, record: Record, template: Template, reader: str) -> Read:
        """Return the prompt as a run reads it, or as it is with all labels listed."""
        if reader:
            return self.run(reader).reads(record, template)
        labels = self.shelf.labels
        return Read(render_with(template, record, labels=labels.labels if labels else ()))


class Rendering(Taken):
    """A draft to be rendered for a clip; `reader` is a run, or empty for all labels listed."""

    clip: str = Field(max_length=500)
    draft: Draft
    reader: str = Field("", max_length=200)


class Saving(Taken):
    """A draft to be saved under a name."""

    name: str = Field(max_length=200)
    draft: Draft
    replace: bool = False


class Asking(Taken):
    """A run to be asked about a clip, by the draft or, without one, by its own template."""

    clip: str = Field(max_length=500)
    run: str = Field(max_length=200)
    draft: Draft | None = None
    explain: bool = False


class Comparing(Taken):
    """Two templates to be compared: "edited" is the draft, others as `Draft.origin` names them."""

    run: str = Field(max_length=200)
    a: str = Field(max_length=200)
    b: str = Field(max_length=200)
    draft: Draft
    sample: int = Field(100, ge=2, le=MOST_SAMPLE)


def studio_app(studio: Studio, token: str, limits: Limits) -> FastAPI:
    """Return the application; every path begins with the token."""
    app = FastAPI(title="textualize studio", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(Door, token=token, limits=limits)
    tell_errors(app)

    @app.exception_handler(NoClipError)
    async def nothing(request: Request, error: NoClipError) -> JSONResponse:
        return refusal(404, str(error))

    router = APIRouter(prefix=f"/{token}")
    _page(router, studio, limits)
    _clips(router, studio)
    _templates(router, studio)
    _runs(router, studio)
    app.include_router(router)
    return app


def _page(router: APIRouter, studio: Studio, limits: Limits) -> None:
    """Add the page and what it is made of."""

    @router.get("/")
    async def page() -> HTMLResponse:
        shelf = studio.shelf
        return HTMLResponse(
            view.page(
                {
                    "corpus": shelf.name,
                    "clips": shelf.clips,
                    "sealed": shelf.sealed,
                    "runs": list(studio.runs.values()),
                    "templates": studio.desk.names(),
                    "folder": str(studio.desk.folder),
                    "upload_mb": limits.upload_bytes >> 20,
                    "most_sample": MOST_SAMPLE,
                }
            )
        )

    @router.get("/studio.css")
    async def style() -> Response:
        return Response(view.style(), media_type="text/css")

    @router.get("/{name}.js")
    async def script(name: Literal["clips", "desk"]) -> FileResponse:
        return FileResponse(view.PAGE / f"{name}.js", media_type="text/javascript")


def _clips(router: APIRouter, studio: Studio) -> None:
    """Add clips: found, shown, played, dropped on the page, removed."""
    shelf = studio.shelf

    @router.get("/clips")
    async def clips(find: Annotated[str, Query(max_length=500)] = "") -> HTMLResponse:
        records, total = shelf.having(find, LISTED)
        return HTMLResponse(view.clip_list(records, total, shelf.uploads))

    @router.get("/clip")
    def clip(clip: Name, every: bool = False) -> Json:
        return view.clip(shelf.record(clip), every_unit=every)

    @router.get("/media")
    def media(clip: Name) -> FileResponse:
        return FileResponse(shelf.media(clip), content_disposition_type="inline")

    @router.post("/uploads")
    async def upload(request: Request) -> Json:
        async with request.form(max_files=1, max_fields=1, max_part_size=4096) as form:
            given = form.get("clip")
            if not isinstance(given, UploadFile):
                raise HTTPException(422, "the form has no file called clip")
            record = await studio.uploads.record(given)
        return {"clip": shelf.keep(record, given.filename or "")}

    @router.delete("/clip")
    async def remove(clip: Name) -> Json:
        shelf.drop(clip)
        return {"removed": clip}


def _templates(router: APIRouter, studio: Studio) -> None:
    """Add templates: listed, opened, rendered, saved."""
    desk = studio.desk

    @router.get("/templates")
    def templates() -> dict[str, list[str]]:
        return desk.names()

    @router.get("/template")
    def template(origin: Name) -> Draft:
        return desk.opened(origin)

    @router.post("/template")
    def save(asked: Saving) -> Json:
        try:
            path = desk.save(asked.name, asked.draft, replace=asked.replace)
        except TakenNameError as error:
            return {"taken": str(error)}
        settings = wanted_settings(asked.draft)
        train = f"--set template={path} {settings}".strip()
        return {"origin": f"own:{asked.name}", "path": str(path), "train": train}

    @router.post("/render")
    def render(asked: Rendering) -> Json:
        """Return the prompt, or the draft's error: half a template is no failed request."""
        record = studio.shelf.record(asked.clip)
        try:
            template = desk.template(asked.draft)
            read = studio.read(record, template, asked.reader)
            words = [run for run in studio.runs.values() if run.counter is not None]
            counts = {run.name: run.reads(record, template) for run in words}
        except TextualizeError as error:
            return {"error": str(error), "line": line_of(str(error))}
        return {
            "html": view.prompt(record, read),
            "characters": len(read.prompt.text),
            "digest": template.digest[:12],
            "tokens": [
                {"run": name, "tokens": r.tokens, "limit": r.limit, "lost": r.lost}
                for name, r in counts.items()
            ],
        }


def _runs(router: APIRouter, studio: Studio) -> None:
    """Add what runs are asked; answers are told line by line, see `jobs`."""

    @router.post("/ask")
    async def ask(asked: Asking) -> Response:
        run, record = studio.run(asked.run), studio.shelf.record(asked.clip)
        template = None
        if asked.draft is not None:
            template = await asyncio.to_thread(studio.desk.template, asked.draft)

        def work(progress: Progress) -> str:
            told = run.asked(record, template, explained=asked.explain, progress=progress)
            return view.answer(told, record)

        return studio.jobs.told(work)

    @router.post("/compare")
    async def compare(asked: Comparing) -> Response:
        run, labels = studio.run(asked.run), studio.shelf.labels
        if labels is None:
            raise TextualizeError("the corpus has no labels, so nothing tells which is better")
        templates = {
            f"{key}: {named(choice)}": await asyncio.to_thread(studio.chosen, choice, asked.draft)
            for key, choice in (("A", asked.a), ("B", asked.b))
        }
        shelf = studio.shelf
        records = shelf.within(run.parts["validation"]) or shelf.within(shelf.validation)

        def work(progress: Progress) -> str:
            return view.comparison(
                compared(run, templates, records, asked.sample, labels, progress)
            )

        return studio.jobs.told(work)
