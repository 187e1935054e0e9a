# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ERP's API: workflows that move from state to state, documents in an archive, and who did what."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import botocore.exceptions
import prometheus_client
import psycopg
from fastapi import Depends, FastAPI, Header, HTTPException, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, StreamingResponse
from psycopg_pool import PoolTimeout
from pydantic import BaseModel, Field

from . import database, tokens
from .core.database_pg import engine
from .services.archive_service import archive

LOOK_SECONDS = 0.25

logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
log = logging.getLogger("valeo")
app = FastAPI(title="VALEO NeuroERP")
requests = prometheus_client.Counter("api_requests", "Requests", ["method", "path", "status"])
seconds = prometheus_client.Histogram("api_request_duration_seconds", "Seconds to the first byte", ["path"])
streams = prometheus_client.Gauge("sse_connections_active", "Listeners to the workflow's stream")
every_stream = prometheus_client.Counter("sse_connections", "Listeners to the workflow's stream, ever")
connections = prometheus_client.Gauge("db_connections", "Connections in the pool", ["state"])

LIMIT = Query(20, ge=1, le=200)
AUTHORIZATION = Header("")


class User(BaseModel):
    email: str = Field(regex=r"^[^@\s]+@[^@\s]+$")


class Workflow(BaseModel):
    title: str = Field(min_length=1, max_length=200)


class Document(BaseModel):
    title: str = Field(min_length=1, max_length=200)
    content: str = Field(min_length=1, max_length=100_000)


@app.on_event("startup")
async def start() -> None:
    engine.pool.open()  # a database that is away is waited for: until then this pod is not ready


@app.on_event("shutdown")
async def stop() -> None:
    await run_in_threadpool(engine.pool.close)


@app.middleware("http")
async def measure(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
    began = time.perf_counter()
    try:
        response = await answer(request)
    except (psycopg.Error, PoolTimeout, botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
        log.error("%s %s: %s", request.method, request.url.path, error)
        response = JSONResponse({"detail": "a service behind this one does not answer"}, 503)
    path = getattr(request.scope.get("route"), "path", "unknown")
    requests.labels(request.method, path, response.status_code).inc()
    seconds.labels(path).observe(time.perf_counter() - began)
    return response


def user(authorization: str = AUTHORIZATION) -> str:
    scheme, _space, token = authorization.partition(" ")
    found = tokens.subject(token) if scheme.lower() == "bearer" else None
    if not found:
        raise HTTPException(401, "the token is missing, forged or too old: ask for one at /auth/token")
    return found


USER = Depends(user)


@app.get("/healthz")
def alive() -> dict[str, str]:
    return {"status": "alive"}


@app.get("/readyz")
@app.get("/health")
def ready() -> JSONResponse:
    try:
        database.check()
    except (psycopg.Error, PoolTimeout):
        return JSONResponse({"status": "unhealthy", "database": "unreachable"}, 503)
    return JSONResponse({"status": "healthy", "database": "ok"})


@app.get("/metrics")
def metrics() -> Response:
    told = engine.pool.get_stats()
    connections.labels("open").set(told.get("pool_size", 0))
    connections.labels("idle").set(told.get("pool_available", 0))
    return Response(prometheus_client.generate_latest(), media_type=prometheus_client.CONTENT_TYPE_LATEST)


@app.get("/api/v1/metrics/business", dependencies=[USER])
def business() -> dict[str, Any]:
    states = database.rows("SELECT state, count(*) FROM workflows GROUP BY state")
    return {"pool": engine.pool.get_stats(), "workflows": {row["state"]: row["count"] for row in states}}


@app.post("/auth/token")
def token(wanted: User) -> dict[str, Any]:
    return {"access_token": tokens.issue(wanted.email), "token_type": "bearer", "expires_in": tokens.TOKEN_SECONDS}


@app.post("/api/v1/workflows", status_code=201)
def begin(wanted: Workflow, who: str = USER) -> dict[str, int]:
    return {"id": database.begin(wanted.title, who)}


@app.get("/api/v1/workflows/{number}", dependencies=[USER])
def workflow(number: int) -> dict[str, Any]:
    found = database.rows("SELECT id, title, state FROM workflows WHERE id = %s", number)
    if not found:
        raise HTTPException(404, "there is no such workflow")
    return found[0]


@app.post("/api/v1/workflows/{number}/transitions", status_code=201)
def advance(number: int, who: str = USER) -> dict[str, str]:
    state = database.advance(number, who)
    if not state:
        raise HTTPException(409, "there is no such workflow, or it is in its last state")
    return {"state": state}


@app.get("/api/v1/audit/logs", dependencies=[USER])
def audit(action: str = "workflow_transition", limit: int = LIMIT) -> list[dict[str, Any]]:
    return database.rows("SELECT * FROM audit_logs WHERE action = %s ORDER BY id DESC LIMIT %s", action, limit)


@app.get("/api/v1/documents", dependencies=[USER])
def documents(limit: int = LIMIT) -> list[dict[str, Any]]:
    return database.rows("SELECT * FROM archive_index ORDER BY archived_at DESC, object_key LIMIT %s", limit)


@app.post("/api/v1/documents", status_code=201, dependencies=[USER])
def store(wanted: Document) -> dict[str, str]:
    return {"key": archive.store(wanted.title, wanted.content.encode())}


@app.get("/api/v1/documents/{key:path}", dependencies=[USER])
def document(key: str) -> Response:
    found = database.rows("SELECT sha256 FROM archive_index WHERE object_key = %s", key)
    if not found:
        raise HTTPException(404, "there is no such document")
    content = archive.read(key)
    if hashlib.sha256(content).hexdigest() != found[0]["sha256"]:
        log.error("document %s is damaged", key)
        raise HTTPException(500, "the document is damaged")
    return Response(content, media_type="text/plain")


@app.get("/stream/workflow", dependencies=[USER])
async def stream(for_seconds: float = Query(3600, gt=0, le=86_400)) -> StreamingResponse:
    """Every transition from now on, as server-sent events; the last event says how many there were."""
    after = await run_in_threadpool(database.last_transition)

    async def events() -> AsyncIterator[str]:
        until, number, last = time.monotonic() + for_seconds, 0, after
        every_stream.inc()
        with streams.track_inprogress():
            yield ": connected\n\n"
            while time.monotonic() < until:
                for row in await run_in_threadpool(database.transitions, last):
                    last, number = row["id"], number + 1
                    yield f"id: {last}\nevent: transition\ndata: {row['workflow_id']} {row['to_state']}\n\n"
                await asyncio.sleep(LOOK_SECONDS)
            yield f"event: done\ndata: {number}\n\n"

    return StreamingResponse(events(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})
