"""Long work for the page: one at a time in a thread, told line by line, given up if nobody waits.

An answer is lines of JSON: {"done": 3, "of": 40} as often as there is progress, and last
{"html": …} or {"error": …}.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from starlette.responses import StreamingResponse

from textualize.errors import TextualizeError

logger = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
Work = Callable[[Progress], str]  # is given where to tell progress, returns HTML


class GivenUpError(Exception):
    """Nobody waits for the answer any more."""


class Jobs:
    """One thread for the models: what is asked meanwhile waits its turn."""

    def __init__(self) -> None:
        """Start with nothing to do."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="studio")

    def told(self, work: Work) -> StreamingResponse:
        """Return the answer that tells of this work while it is done."""
        return StreamingResponse(self._lines(work), media_type="application/x-ndjson")

    def close(self) -> None:
        """Let go of what waits."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _lines(self, work: Work) -> AsyncIterator[str]:
        loop, gone = asyncio.get_running_loop(), threading.Event()
        lines: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

        def tell(line: dict[str, Any]) -> None:
            loop.call_soon_threadsafe(lines.put_nowait, line)

        def progress(done: int, of: int) -> None:
            if gone.is_set():
                raise GivenUpError
            tell({"done": done, "of": of})

        def finish() -> None:
            try:
                progress(0, 0)
                tell({"html": work(progress)})
            except GivenUpError:
                return
            except TextualizeError as error:
                tell({"error": str(error)})
            except Exception as error:  # a defect must not leave the page waiting
                logger.exception("the studio failed")
                tell({"error": f"the studio failed: {type(error).__name__}"})

        waiting = self._thread.submit(finish)
        try:
            while True:
                line = await lines.get()
                yield json.dumps(line, ensure_ascii=False) + "\n"
                if "done" not in line:
                    return
        finally:
            gone.set()
            waiting.cancel()
