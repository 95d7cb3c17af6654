"""The routes: the page, questions, work that takes long, the course of a training, and exports."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from itertools import count
from threading import Event
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from gateflow.errors import ConfigError, GateflowError
from gateflow.inspector.export import Recorded, exported
from gateflow.inspector.jobs import Jobs
from gateflow.inspector.page import FILES, html, resource
from gateflow.inspector.schema import schema
from gateflow.inspector.server.guard import Keys
from gateflow.inspector.session import Session
from gateflow.inspector.views import VIEWS

__all__ = ["FREE", "Application"]

FREE = ("/", "/session", *(f"/{name}" for name in FILES))
"""Paths without anything of a run: the page, its parts, and where the token is exchanged."""

# Seconds between two looks at what goes on, and questions that wait: a page asks some at once, and no more.
PULSE, WAITING = 0.25, 32


class _Token(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    token: str = Field(max_length=200)


class Application:
    """The page of a session, as an ASGI application.

    Args:
        session: answers questions, one after the other, on a thread of its own.
        keys: of the server.
        ending: set when the server is to end: streams, which have no end of their own, end then.
    """

    def __init__(self, session: Session, keys: Keys, ending: Event):
        self.session, self.keys, self.jobs, self.ending = session, keys, Jobs(session), ending
        self.thread, self.waiting = ThreadPoolExecutor(1, thread_name_prefix="gateflow-answers"), 0
        routes = [
            Route("/", self.page),
            Route("/session", self.open, methods=["POST"]),
            Route("/about", self.about, methods=["POST"]),
            Route("/schema", self.schema),
            Route("/ask/{view:str}", self.ask, methods=["POST"]),
            Route("/work/{view:str}", self.start, methods=["POST"]),
            Route("/work/{number:int}", self.follow),
            Route("/work/{number:int}/cancel", self.cancel, methods=["POST"]),
            Route("/course", self.course),
            Route("/export", self.export, methods=["POST"]),
            Route("/{name:str}", self.file),
        ]
        self.routes = Starlette(routes=routes, lifespan=self._life, exception_handlers={GateflowError: _told})

    @asynccontextmanager
    async def _life(self, _: Starlette) -> AsyncIterator[None]:
        yield
        self.jobs.close()
        self.thread.shutdown(wait=False, cancel_futures=True)

    async def page(self, _: Request) -> Response:
        """The page, which holds nothing of a run."""
        return Response(html(), media_type="text/html")

    async def file(self, request: Request) -> Response:
        """A part of the page, by its name in a list: no path is made of what was asked for."""
        name = request.path_params["name"]
        if name not in FILES:
            return JSONResponse({"error": "there is no such file."}, 404)
        return Response(resource(name), media_type=FILES[name])

    async def open(self, request: Request) -> Response:
        """The cookie for the token of the link."""
        try:
            given = _Token.model_validate_json(await request.body()).token
        except ValidationError:
            return JSONResponse({"error": "a token is asked for."}, 400)
        cookie = self.keys.exchange(given)
        if cookie is None:
            return JSONResponse({"error": "this link has been used; start gateflow again for another."}, 403)
        answer = JSONResponse({"ok": True})
        answer.set_cookie(self.keys.name, cookie, httponly=True, samesite="strict", path="/")
        return answer

    async def about(self, _: Request) -> Response:
        """What there is to be asked."""
        return _json(await self._in_turn(self.session.about))

    async def schema(self, _: Request) -> Response:
        """JSON schemas of all questions and answers."""
        return JSONResponse(schema())

    async def ask(self, request: Request) -> Response:
        """An answer."""
        view, question = request.path_params["view"], await request.body()
        _refuse_heavy(view)
        return _json(await self._in_turn(lambda: self.session.ask(view, question)))

    async def start(self, request: Request) -> Response:
        """Work that takes long; its number."""
        return JSONResponse({"work": self.jobs.start(request.path_params["view"], await request.body())})

    async def follow(self, request: Request) -> Response:
        """How far work has come, as it does, and then its answer."""
        job = self.jobs.job(request.path_params["number"])

        async def events() -> AsyncIterator[str]:
            while not job.ended.is_set():
                if self.ending.is_set():
                    return
                yield _event("progress", json.dumps({"done": job.done, "total": job.total}))
                await asyncio.sleep(PULSE)
            if job.answer is not None:
                yield _event("answer", job.answer.model_dump_json())
            else:
                yield _event("failed", json.dumps({"error": job.error}))

        return _stream(events())

    async def cancel(self, request: Request) -> Response:
        """End some work."""
        self.jobs.job(request.path_params["number"]).stop.set()
        return JSONResponse({"ok": True})

    async def course(self, _: Request) -> Response:
        """The course of each training: what there is, and what comes. One stream, for a browser opens few of them."""
        known = {run: -1 for run, subject in enumerate(self.session.subjects) if subject.run is not None}

        async def news(run: int) -> AsyncIterator[str]:
            after = known[run]
            try:
                answer = await self._in_turn(partial(self.session.ask, "course", {"run": run, "after": after}))
            except GateflowError as error:
                # Told once: nothing of this run comes any more.
                del known[run]
                yield _event("failed", json.dumps({"error": str(error)}))
                return
            records = answer.model_dump(mode="json")
            steps = [record["step"] for kind in records.values() for record in kind]
            if steps or after < 0:
                yield _event("records", json.dumps({"run": run, "records": records}))
            known[run] = max([after, 0, *steps])

        async def events() -> AsyncIterator[str]:
            for pulse in count():
                if self.ending.is_set():
                    return
                for run in list(known) if pulse % 4 == 0 else []:
                    async for event in news(run):
                        yield event
                await asyncio.sleep(PULSE)

        return _stream(events())

    async def export(self, request: Request) -> Response:
        """What a page shows, as one file that asks nobody."""
        try:
            asked = Recorded.model_validate_json(await request.body())
        except ValidationError:
            return JSONResponse({"error": "this is no view that could be exported."}, 400)
        found = await self._in_turn(lambda: exported(self.session, asked))
        headers = {"content-disposition": 'attachment; filename="gateflow-inspect.html"'}
        return Response(found, media_type="text/html", headers=headers)

    async def _in_turn(self, work: Callable[[], Any]) -> Any:
        """The result of some work on the models, when it is its turn."""
        if self.waiting >= WAITING:
            raise ConfigError("too many questions at once; ask again in a moment.")
        self.waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self.thread, work)
        finally:
            self.waiting -= 1


def _refuse_heavy(view: str) -> None:
    if view in VIEWS and VIEWS[view].heavy:
        raise ConfigError(f"{view} takes long: it is work.")


def _json(answer: Any) -> Response:
    return Response(answer.model_dump_json(), media_type="application/json")


def _event(name: str, data: str) -> str:
    return f"event: {name}\ndata: {data}\n\n"


def _stream(events: AsyncIterator[str]) -> Response:
    return StreamingResponse(events, media_type="text/event-stream")


async def _told(_: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, 400)
