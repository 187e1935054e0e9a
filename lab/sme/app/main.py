# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ERP: users sign in, look at products and place orders. Two colours of it run side by side, each on a port of its own."""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import database
import prometheus_client
from fastapi import Depends, FastAPI, Header, HTTPException, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

PORT = os.environ.get("PORT", "8000")

app = FastAPI(title="SME ERP")
log = logging.getLogger("sme_erp")
requests = prometheus_client.Counter("http_requests", "Requests", ["method", "path", "status"])
seconds = prometheus_client.Histogram("http_request_duration_seconds", "Seconds to the first byte", ["path"])
started: list[float] = []

LIMIT = Query(20, ge=1, le=200)
AUTHORIZATION = Header("")


class SignIn(BaseModel):
    email: str


class Order(BaseModel):
    product: int
    quantity: int = Field(ge=1, le=1000)


@app.on_event("startup")
def start() -> None:
    path = os.path.join(database.DIRECTORY, "ops", f"app_port_{PORT}.log")
    logging.basicConfig(filename=path, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    database.prepare()
    started.append(time.time())
    log.info("started on port %s", PORT)


@app.on_event("shutdown")
def stop() -> None:
    log.info("stopped")


@app.middleware("http")
async def measure(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
    began = time.perf_counter()
    try:
        response = await answer(request)
    except sqlite3.Error as error:
        await run_in_threadpool(complain, f"{request.method} {request.url.path}: {error}")
        response = JSONResponse({"detail": "the database does not answer"}, 503)
    path = getattr(request.scope.get("route"), "path", "unknown")
    requests.labels(request.method, path, response.status_code).inc()
    seconds.labels(path).observe(time.perf_counter() - began)
    return response


def complain(what: str) -> None:
    """In the log; and among the alerts, where they can be written at all."""
    log.error(what)
    with suppress(sqlite3.Error):
        database.alert("high", what)


def user(authorization: str = AUTHORIZATION) -> int:
    scheme, _space, token = authorization.partition(" ")
    found = database.user_of(token) if scheme.lower() == "bearer" else None
    if found is None:
        raise HTTPException(401, "sign in first")
    return found


USER = Depends(user)


@app.get("/health/live")
def live() -> dict[str, str]:
    return {"status": "alive", "port": PORT}


@app.get("/health/startup")
def startup() -> JSONResponse:
    return JSONResponse({"status": "started" if started else "starting"}, 200 if started else 503)


@app.get("/health/ready")
def ready() -> JSONResponse:
    try:
        database.query("SELECT count(*) FROM users")
    except sqlite3.Error as error:
        return JSONResponse({"status": "not ready", "database": str(error)}, 503)
    return JSONResponse({"status": "ready", "port": PORT})


@app.get("/health/metrics")
def metrics() -> Response:
    return Response(prometheus_client.generate_latest(), media_type=prometheus_client.CONTENT_TYPE_LATEST)


@app.post("/auth/login")
def login(wanted: SignIn) -> dict[str, str]:
    token = database.sign_in(wanted.email)
    if token is None:
        raise HTTPException(401, "there is no such user")
    return {"access_token": token, "token_type": "bearer"}


@app.get("/products")
def products(limit: int = LIMIT) -> list[dict[str, Any]]:
    return database.query("SELECT id, sku, name, price_cents FROM products ORDER BY id LIMIT ?", limit)


@app.post("/orders", status_code=201)
def order(wanted: Order, who: int = USER) -> dict[str, int]:
    placed = database.place(who, wanted.product, wanted.quantity)
    if placed is None:
        raise HTTPException(404, "there is no such product")
    return {"id": placed}


@app.get("/orders/{number}")
def placed(number: int, who: int = USER) -> dict[str, Any]:
    found = database.query("SELECT * FROM orders WHERE id = ? AND user_id = ?", number, who)
    if not found:
        raise HTTPException(404, "there is no such order of yours")
    return found[0]
