# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What schedules come to: jobs, inventories without a shown secret, crontabs, verdicts on runs, the packed collection."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.runbook.ops.plugins.module_utils._errors import InputError
from ansible_collections.runbook.ops.plugins.module_utils._scheduling import inventory, units
from ansible_collections.runbook.ops.plugins.module_utils._scheduling.collection import digest_of, pack, unpack
from ansible_collections.runbook.ops.plugins.module_utils._scheduling.jobs import jobs_of
from ansible_collections.runbook.ops.plugins.module_utils._scheduling.layout import Layout
from ansible_collections.runbook.ops.plugins.module_utils._scheduling.records import Run, gauges
from command_line import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

NOW = datetime(2026, 3, 2, 12, tzinfo=timezone.utc)
SECRET = "{{ of' \"erni\\ }} # ü"


def described(**changes: Any) -> dict[str, Any]:
    return {
        "databases": [
            {"engine": "postgresql", "name": "shop", "password": SECRET, "scratch": {"password": "of-scratch"}},
            {"engine": "redis", "name": "cache", "schedule": "0 3 * * *"},
        ],
        "stores": [{"type": "s3", "bucket": "b", "access_key": "known", "secret_key": "of-s3"}],
        "schedules": {"backup": "0 2 * * *", "verify": "0 4 1 * *", "prune": None},
        **changes,
    }


def test_one_run_serves_every_slot_of_backups_and_copies() -> None:
    schedules = {"backup": "0  2 * * *", "copy": "0 3 * * 0-6", "verify": "0 4 1 * *"}
    assert jobs_of(described(schedules=schedules)) == {"backup": ["0 2 * * *", "0 3 * * *"], "verify": ["0 4 1 * *"]}


def test_a_schedule_nothing_uses_is_no_slot() -> None:
    declared = described()
    declared["databases"][0]["schedule"] = "0 1 * * *"
    assert jobs_of(declared)["backup"] == ["0 1 * * *", "0 3 * * *"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"schedules": {}}, "schedules.backup is not set"),
        ({"databases": []}, "databases or stores is empty"),
        ({"schedules": {"backup": "0 2 L * *"}}, "schedules.backup is '0 2 L * *', whose day 'l'"),
        ({"schedules": {"backup": "0 2 * * *", "prune": "daily"}}, "schedules.prune is 'daily'"),
    ],
)
def test_what_cannot_be_scheduled_is_told(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as refused:
        jobs_of(described(**changes))
    assert said in str(refused.value)


@pytest.mark.parametrize("variable", ["databases[0].password", "databases[0].scratch.password", "stores[0].secret_key"])
def test_an_empty_credential_is_missed_before_night(variable: str) -> None:
    declared = described()
    inventory.require_credentials(declared)
    holder = declared["stores"][0] if variable.startswith("stores") else declared["databases"][0]
    *path, key = variable.split(".")[1:]
    for name in path:
        holder = holder[name]
    holder[key] = ""
    with pytest.raises(InputError, match="is empty, and a scheduled job has nobody to ask") as refused:
        inventory.require_credentials(declared)
    assert str(refused.value).startswith(f"{variable} ")


class Unsafe(yaml.SafeLoader):
    """Reads the tag of Ansible's as Ansible does: the text is kept from templating."""


Unsafe.add_constructor("!unsafe", lambda loader, node: loader.construct_scalar(node))

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.sampled_from([SECRET, "{% x %}", "yes", "1:2", "\u2028"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(VALUES)
def test_an_inventory_says_what_it_was_told(value: Any) -> None:
    text = inventory.inventory("shop", "/python", {"databases": value})
    host = yaml.load(text, Unsafe)["all"]["hosts"]["shop"]
    assert host["runbook_databases"] == value


def test_what_is_shown_of_an_inventory_has_no_secret() -> None:
    text = inventory.inventory("shop", "/python", described())
    shown = inventory.shown(text)
    assert "known" in shown and "0 2 * * *" in shown
    assert not any(secret in shown for secret in ("erni", "of-scratch", "of-s3"))
    assert "erni" in text and f"!unsafe {inventory._text(SECRET)}" in text
    assert inventory.shown("secret: not ours") == ""


LINES = "*/15 * * * * env x\n"


@pytest.mark.parametrize(
    "found",
    ["", "# mine\n0 0 * * * true\n", "no end of line", "# BEGIN runbook.ops other\nx\n# END runbook.ops other\n"],
)
def test_a_crontab_keeps_what_is_not_ours(found: str) -> None:
    written = units.in_crontab(found, "notes", LINES)
    assert written.startswith(found) and written.count(LINES) == 1
    assert units.in_crontab(written, "notes", LINES) == written
    assert units.in_crontab(written, "notes", "new\n").count("new") == 1
    assert units.in_crontab(written, "notes", "").rstrip("\n") == found.rstrip("\n")


def test_a_unit_names_no_secret_and_quotes_paths() -> None:
    layout = Layout.inside("shop", "/elsewhere")
    text = units.service(layout, "shop", "backup", "d1gest", ["/etc/a b%"])
    assert 'ReadWritePaths="-/etc/a b%%"' in text and "/elsewhere" not in text and "SuccessExitStatus=75" in text
    assert units.timer("shop", "backup", ["0 2 * * *", "0 3 * * *"]).count("OnCalendar=") == 2


RUN = Run("shop", "backup", ("0 2 * * *",), since=NOW - timedelta(days=9))
SLOT = NOW.replace(hour=2)


@pytest.mark.parametrize(
    ("run", "state"),
    [
        (replace(RUN, since=NOW), "waiting"),
        (RUN, "missed"),
        (replace(RUN, started_at=SLOT, finished_at=SLOT, exit_code=0), "ok"),
        (replace(RUN, started_at=SLOT, finished_at=SLOT, exit_code=2), "failed"),
        (replace(RUN, started_at=SLOT), "interrupted"),
        (replace(RUN, started_at=SLOT, running=True), "running"),
        (replace(RUN, started_at=SLOT - timedelta(days=1), finished_at=SLOT, exit_code=0), "missed"),
    ],
)
def test_a_verdict_on_a_run(run: Run, state: str) -> None:
    assert run.verdict(NOW).state == state
    assert run.verdict(NOW).good == (state in ("ok", "waiting", "running"))


def test_a_slot_is_due_once_and_missed_an_hour_later() -> None:
    served = replace(RUN, started_at=SLOT - timedelta(days=1), finished_at=SLOT - timedelta(days=1), exit_code=0)
    assert not served.due(SLOT - timedelta(seconds=1)) and served.due(SLOT)
    assert served.verdict(SLOT + timedelta(minutes=59)).state == "ok"
    assert not replace(served, started_at=SLOT).due(SLOT + timedelta(hours=23))


def test_gauges() -> None:
    text = gauges([replace(RUN, started_at=SLOT, exit_code=2)], NOW)
    labels = '{system="shop",job="backup"}'
    assert f"runbook_schedule_last_run_timestamp_seconds{labels} {int(SLOT.timestamp())}\n" in text
    assert f"runbook_schedule_last_exit_code{labels} 2\n" in text
    assert (
        f"runbook_schedule_next_run_timestamp_seconds{labels} {int((SLOT + timedelta(days=1)).timestamp())}\n" in text
    )
    assert "exit_code{" not in gauges([RUN], NOW)


def test_the_packed_collection_is_whole_and_named_after_what_is_in_it(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for name in (
        "plugins/modules/one.py",
        "plugins/__pycache__/one.pyc",
        "roles/r/tasks/main.yml",
        "tests/no.py",
        "galaxy.yml",
    ):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(name)
    packed = pack(str(source))
    unpack(packed, str(tmp_path / "there"))
    placed = tmp_path / "there/ansible_collections/runbook/ops"
    found = sorted(str(path.relative_to(placed)) for path in placed.rglob("*") if path.is_file())
    assert found == ["galaxy.yml", "plugins/modules/one.py", "roles/r/tasks/main.yml"]
    assert digest_of(pack(str(source))) == digest_of(packed)
    (source / "galaxy.yml").write_text("other")
    assert digest_of(pack(str(source))) != digest_of(packed)


def test_the_lock_has_what_the_modules_need() -> None:
    lock = (ROOT / "roles/host/files/requirements.lock").read_text()
    needed = [line.partition("#")[0].strip() for line in (ROOT / "requirements.txt").read_text().splitlines()]
    for line in filter(None, needed):
        name = line.partition(">")[0].partition("[")[0]
        assert f"\n{name}==" in lock or lock.startswith(f"{name}=="), f"{line}: make lock"
    assert "\nansible-core==" in lock
