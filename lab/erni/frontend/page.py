# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ERNI system's frontend: one page with the company's projects, as the backend has them."""

from __future__ import annotations

import html
import os
from typing import Any

import httpx
from fastapi import FastAPI, Response
from fastapi.responses import HTMLResponse

API = os.environ.get("NEXT_PUBLIC_API_URL", "http://backend:8000")
COLUMNS = ("project_number", "project_type", "status", "progress", "current_stage")
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>ERNI Building Agents</title></head>
<body><h1>Projects</h1><table><tr>{head}</tr>{rows}</table></body></html>
"""

app = FastAPI(title="ERNI frontend")
client = httpx.AsyncClient(base_url=API, timeout=5)


@app.get("/")
async def projects() -> Response:
    try:
        answer = await client.get("/projects", params={"limit": 10})
        answer.raise_for_status()
    except httpx.HTTPError:
        return HTMLResponse(PAGE.format(head="<th>The backend does not answer.</th>", rows=""), 502)
    rows = "".join(f"<tr>{_cells(project)}</tr>" for project in answer.json())
    head = "".join(f"<th>{column.replace('_', ' ')}</th>" for column in COLUMNS)
    return HTMLResponse(PAGE.format(head=head, rows=rows))


def _cells(project: dict[str, Any]) -> str:
    return "".join(f"<td>{html.escape(str(project[column]))}</td>" for column in COLUMNS)
