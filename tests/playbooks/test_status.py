# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``status.yml``: each thing that is wrong turns the verdict for its own reason, and none keeps another from being told.

Every state is a host of one inventory, so that one run shows them all.
"""

from __future__ import annotations

import http.server
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.playbook import Demo, Run, play, tree, write_inventory
from support.s3_proxy import S3Proxy, Silence
from support.slots import DAILY

POLICY = {"daily": {"within": "30d"}}


class Failing(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_error(500 if self.path == "/broken" else 200)

    def log_message(self, *arguments: Any) -> None:
        pass


def system(place: Path, name: str, **values: Any) -> dict[str, Any]:
    """One small database in a place of its own."""
    data = place / "data"
    data.mkdir(exist_ok=True)
    (data / "settings").write_text("colour = blue\n")
    return {
        "runbook_system": name,
        "runbook_databases": [{"engine": "files", "name": "settings", "paths": [str(data)], "plaintext": True}],
        "runbook_stores": [{"type": "local", "path": str(place / f"{name}.store")}],
        "runbook_schedules": {"backup": DAILY},
        "runbook_policy": POLICY,
        "runbook_work_dir": str(place / "work"),
        "runbook_cache_dir": str(place / f"{name}.cache"),
        **values,
    }


@dataclass(frozen=True)
class Looked:
    run: Run
    reports: Path
    seconds: float

    def report(self, name: str) -> dict[str, Any]:
        return json.loads((self.reports / f"{name}.json").read_text())


@pytest.fixture(scope="module")
def looked(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Looked]:
    place = tmp_path_factory.mktemp("status")
    (place / "work").mkdir()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Failing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    with (
        closing(socket.create_server(("127.0.0.1", 0))) as silent,
        closing(socket.socket()) as closed,
        S3Proxy(demo.state["s3"]["endpoint_url"]) as proxy,
    ):
        closed.bind(("127.0.0.1", 0))
        proxy.inject("*", Silence())
        hanging = {"name": "hangs", "url": f"http://127.0.0.1:{silent.getsockname()[1]}/", "timeout": "1s"}
        refused = closed.getsockname()[1]
        hosts = {
            "well": {"runbook_endpoints": [{"name": "front", "url": url}]},
            "broken": {"runbook_endpoints": [{"name": "front", "url": url}, {"name": "back", "url": f"{url}/broken"}]},
            "hanging": {"runbook_endpoints": [hanging, {"name": "front", "url": url}]},
            "old": {},
            "away": {},
            "no_engine": {},
            "endpoint_key": {},
            "endpoint_url": {},
            "bare": {},
        }
        described = {name: system(place, name, **values) for name, values in hosts.items()}
        inventory = write_inventory(place / "inventory", {name: described[name] for name in hosts if name != "bare"})
        backed_up = play("backup.yml", inventory=inventory)
        assert backed_up.returncode == 0, backed_up.failures()

        described["old"]["runbook_databases"][0]["rpo"] = "1s"
        described["away"]["runbook_stores"].append({**demo.store("s3"), "endpoint_url": proxy.endpoint_url})
        described["no_engine"]["runbook_runtime"] = {
            "type": "compose", "project": "x", "docker_host": f"unix://{place}/nobody.sock",
        }  # fmt: skip
        described["endpoint_key"]["runbook_endpoints"] = [{"name": "a", "url": url, "expected": 200}]
        described["endpoint_url"]["runbook_endpoints"] = [{"name": "a", "url": "front"}]
        described["bare"]["runbook_databases"].append(
            {"engine": "redis", "name": "cache", "host": "127.0.0.1", "port": refused, "password": "x"}
        )
        reports = place / "reports"
        reports.mkdir()
        before = tree(place / "well.store")
        began = time.monotonic()
        run = play(
            "status.yml", "-e", f"status_report_file={reports}/{{{{ inventory_hostname }}}}.json", "--forks", "10",
            inventory=write_inventory(place / "inventory", described),
        )  # fmt: skip
        seconds = time.monotonic() - began
        assert tree(place / "well.store") == before
        yield Looked(run, reports, seconds)
        server.shutdown()


VERDICTS = {
    "well": ("green", []),
    "broken": ("red", ["back: answers 500, not 200"]),
    "hanging": ("red", ["hangs: no answer in 1 s"]),
    "old": ("red", ["files/settings: the newest good backup is "]),
    "away": ("amber", ["s3:erni-agents-backups: cannot be reached: "]),
    "no_engine": ("red", ["services: cannot be seen: There is no Docker Engine at "]),
    "bare": ("red", ["files/settings, redis/cache: there is no good backup", "redis/cache: connection refused", "backup: is due"]),
}  # fmt: skip


@pytest.mark.parametrize("name", VERDICTS)
def test_what_is_wrong_turns_the_verdict_for_its_own_reason(looked: Looked, name: str) -> None:
    level, reasons = VERDICTS[name]
    report = looked.report(name)
    assert report["verdict"]["level"] == level and len(report["verdict"]["reasons"]) == len(reasons)
    for reason in reasons:
        assert any(told.startswith(reason) for told in report["verdict"]["reasons"]), report["verdict"]
    (screen,) = looked.run.named("| screen", name)
    assert screen["msg"].startswith(f"{name} is {level.upper()}")
    assert screen["status_headline"].startswith({"green": "🟢", "amber": "🟠", "red": "🔴"}[level])
    failures = looked.run.failures(name)
    assert failures == ([screen["status_headline"]] if level == "red" else [])
    assert looked.run.counts(name)["changed"] == 0


def test_what_is_well_is_told_beside_what_is_not(looked: Looked) -> None:
    report = looked.report("hanging")
    assert [(found["object"], found["level"]) for found in report["endpoints"]] == [
        ("hangs", "red"),
        ("front", "green"),
    ]
    away = looked.report("away")
    assert [found["level"] for found in (*away["backups"], *away["disks"])].count("green") >= 2


def test_nothing_that_hangs_is_waited_for(looked: Looked) -> None:
    """Nine systems side by side on a busy machine, a store and an endpoint of which never answer."""
    assert looked.seconds < 120


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("endpoint_key", "runbook_endpoints[0] has the unknown key 'expected': write expect."),
        ("endpoint_url", "runbook_endpoints[0].url is 'front': write an address such as"),
    ],
)
def test_a_mistake_is_one_sentence(looked: Looked, name: str, sentence: str) -> None:
    (told,) = looked.run.failures(name)
    assert told.startswith(sentence) and "\n" not in told
    assert not (looked.reports / f"{name}.json").exists()


def test_red_can_be_told_without_failing(demo: Demo, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    inventory = write_inventory(tmp_path / "inventory", {"new": system(tmp_path, "new")})
    run = play("status.yml", "-e", "status_fail=false", inventory=inventory)
    (screen,) = run.named("| screen")
    assert run.returncode == 0 and screen["msg"].startswith("new is RED")


def test_the_demo_is_seen_without_naming_anything(demo: Demo) -> None:
    """Its servers' ports are looked at because they are described."""
    run = demo.play("status.yml", "-e", "status_fail=false")
    (screen,) = run.named("| screen")
    assert "tcp://127.0.0.1:" in screen["msg"] and "SERVICES" not in screen["msg"]
    assert demo.state["postgres"]["password"] not in json.dumps(run.told)
