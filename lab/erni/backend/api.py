# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ERNI system's backend: conversations of customers with agents, the company's projects, and jobs done in the background."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import prometheus_client
import psycopg
import redis
from database import Database
from fastapi import Depends, FastAPI, Header, HTTPException, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, StreamingResponse
from guard import TOKEN_SECONDS, Guard
from psycopg_pool import PoolTimeout
from pydantic import BaseModel, Field

AGENTS = ("Triage", "Project", "Appointment", "FAQ", "Cost")
WORD_SECONDS = 0.05
IDLE_SECONDS = 0.25

app = FastAPI(title="ERNI Building Agents")
database = Database()
guard = Guard()
requests = prometheus_client.Counter("http_requests", "Requests", ["method", "path", "status"])
seconds = prometheus_client.Histogram("http_request_duration_seconds", "Seconds to the first byte", ["path"])
blocked = prometheus_client.Counter("guardrail_triggers", "Questions that were turned away", ["kind"])
background: list[asyncio.Task[None]] = []

LIMIT = Query(20, ge=1, le=200)
AUTHORIZATION = Header("")


class Visitor(BaseModel):
    name: str = Field(min_length=1, max_length=200)
    email: str = Field(regex=r"^[^@\s]+@[^@\s]+$")


class Question(BaseModel):
    content: str = Field(min_length=1, max_length=4000)


class Work(BaseModel):
    conversation: int
    kind: str = Field(regex="^(estimate|summary)$")


@app.on_event("startup")
async def start() -> None:
    await run_in_threadpool(database.open)
    background.append(asyncio.create_task(work()))


@app.on_event("shutdown")
async def stop() -> None:
    for task in background:
        task.cancel()
    await asyncio.gather(*background, return_exceptions=True)
    await run_in_threadpool(database.pool.close)


async def work() -> None:
    """Do what is queued; a database that is away is waited for."""
    while True:
        try:
            found = await run_in_threadpool(database.work)
        except (psycopg.Error, PoolTimeout):
            found = False
        if not found:
            await asyncio.sleep(IDLE_SECONDS)


@app.middleware("http")
async def measure(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
    started = time.perf_counter()
    try:
        response = await answer(request)
    except (psycopg.OperationalError, PoolTimeout, redis.RedisError):
        response = JSONResponse({"detail": "a service behind this one does not answer"}, 503)
    path = getattr(request.scope.get("route"), "path", "unknown")
    requests.labels(request.method, path, response.status_code).inc()
    seconds.labels(path).observe(time.perf_counter() - started)
    return response


def customer(authorization: str = AUTHORIZATION) -> str:
    scheme, _space, token = authorization.partition(" ")
    found = guard.customer(token) if scheme.lower() == "bearer" else None
    if not found:
        raise HTTPException(401, "the token is missing, forged or too old: ask for one at /auth/token")
    return found


CUSTOMER = Depends(customer)


def require_own(conversation: int, who: str) -> None:
    if database.owner(conversation) != who:
        raise HTTPException(404, "there is no such conversation of yours")


@app.get("/health")
def health() -> dict[str, str]:
    return {"status": "healthy"}


@app.get("/readiness")
def readiness() -> JSONResponse:
    state = {"database": "ok", "cache": "ok"}
    try:
        database.check()
    except (psycopg.Error, PoolTimeout):
        state["database"] = "unreachable"
    try:
        guard.cache.ping()
    except redis.RedisError:
        state["cache"] = "unreachable"
    ready = set(state.values()) == {"ok"}
    return JSONResponse({"status": "ready" if ready else "not ready", **state}, 200 if ready else 503)


@app.get("/metrics")
def metrics() -> Response:
    return Response(prometheus_client.generate_latest(), media_type=prometheus_client.CONTENT_TYPE_LATEST)


@app.post("/auth/token")
def token(visitor: Visitor) -> dict[str, Any]:
    return {"access_token": guard.token(visitor.email), "token_type": "bearer", "expires_in": TOKEN_SECONDS}


@app.get("/conversations", dependencies=[CUSTOMER])
def conversations(limit: int = LIMIT) -> list[dict[str, Any]]:
    return database.page("conversations", limit)


@app.get("/projects")
def projects(limit: int = LIMIT) -> list[dict[str, Any]]:
    return database.page("projects", limit)


@app.get("/consultations", dependencies=[CUSTOMER])
def consultations(limit: int = LIMIT) -> list[dict[str, Any]]:
    return database.page("consultations", limit)


@app.post("/conversations", status_code=201)
def begin(visitor: Visitor, who: str = CUSTOMER) -> dict[str, int]:
    return {"id": database.begin(visitor.name, who)}


@app.get("/conversations/{conversation}/messages")
def messages(conversation: int, who: str = CUSTOMER, limit: int = LIMIT) -> list[dict[str, Any]]:
    require_own(conversation, who)
    return database.messages(conversation, limit)


@app.post("/conversations/{conversation}/messages", status_code=201)
def say(conversation: int, question: Question, who: str = CUSTOMER) -> dict[str, Any]:
    require_own(conversation, who)
    relevant, known = guard.relevant(question.content)
    if relevant:
        agent, reply = (
            AGENTS[len(question.content) % len(AGENTS)],
            f"You asked: {question.content} A specialist has it.",
        )
    else:
        blocked.labels("relevance").inc()
        agent, reply = "Triage", "That is not something a builder of timber houses can answer."
    asked, answered = database.say(conversation, question.content, agent, reply)
    return {"id": asked, "reply_id": answered, "agent": agent, "relevant": relevant, "cached": known}


@app.get("/conversations/{conversation}/stream")
def stream(conversation: int, who: str = CUSTOMER) -> StreamingResponse:
    """The newest answer word by word, as server-sent events; the last one says how many there were."""
    require_own(conversation, who)
    words = (database.answer(conversation) or "").split()

    async def events() -> AsyncIterator[str]:
        for number, word in enumerate(words, 1):
            yield f"id: {number}\nevent: word\ndata: {word}\n\n"
            await asyncio.sleep(WORD_SECONDS)
        yield f"event: done\ndata: {len(words)}\n\n"

    return StreamingResponse(events(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})


@app.post("/jobs", status_code=202)
def enqueue(wanted: Work, who: str = CUSTOMER) -> dict[str, int]:
    require_own(wanted.conversation, who)
    return {"id": database.enqueue(wanted.conversation, wanted.kind)}


@app.get("/jobs/{number}", dependencies=[CUSTOMER])
def job(number: int) -> dict[str, Any]:
    found = database.job(number)
    if not found:
        raise HTTPException(404, "there is no such job")
    return found
