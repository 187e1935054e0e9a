# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SME's database, backed up while orders come in, opens by hand, whole."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path

import yaml
from command_line import ROOT
from support.laboratory import Load, layer, protect, told

from lab.system import System


def orders(path: Path) -> int:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return int(connection.execute("SELECT count(*) FROM orders").fetchone()[0])


def test_a_backup_under_load_opens_by_hand_and_is_of_one_moment(sme: System, load: Load, tmp_path: Path) -> None:
    declared = yaml.safe_load((ROOT / "inventories/sme/group_vars/all/system.yml").read_text())
    business = declared["runbook_databases"][0]
    business["checks"] = [{"table": "orders", "rows": "source"}, {"table": "audit", "rows": "source"}]
    values = {
        "runbook_system": "sme-by-hand", "runbook_databases": [business],
        "runbook_stores": [{"type": "local", "path": str(tmp_path / "store")}], "runbook_metrics_file": "",
    }  # fmt: skip
    live = Path(sme.directory, "backend/sme_erp_dev.db")
    writing = load(sme, seconds=60)
    time.sleep(1)
    earlier = orders(live)
    run = protect(sme, "backup.yml", layers=(layer(tmp_path / "inventory", "sme-production", values),))
    assert run.returncode == 0, run.failures()
    later = orders(live)
    writing.terminate()
    assert told(writing)[1] == []

    (manifest,) = tmp_path.glob("store/*/sqlite/sme_erp/*/manifest.json")
    copy = tmp_path / "by-hand.db"
    subprocess.run(["zstd", "-q", "-d", manifest.parent / "data.sqlite.zst", "-o", copy], check=True)
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        (unpaired,) = connection.execute(
            "SELECT count(*) FROM orders LEFT JOIN audit ON audit.order_id = orders.id WHERE audit.id IS NULL"
        ).fetchone()
    observed = {entry["name"]: entry["value"] for entry in json.loads(manifest.read_text())["observed"]}
    assert unpaired == 0
    assert earlier <= orders(copy) == observed["table_rows:orders"] < later
