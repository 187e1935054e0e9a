# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An error of a module that a role called names the operator's variable; what only looks like a parameter stays."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from ansible.plugins.action.normal import ActionModule as Normal
from ansible_collections.runbook.ops.plugins.action.backup_info import ActionModule, as_written
from ansible_collections.runbook.ops.plugins.module_utils._misspelt import roles_of_ours
from command_line import ROOT

INPUTS = ("databases", "stores", "policy", "mode", "archive", "wheels")


def variable_of(name: str) -> str | None:
    return f"runbook_{name}" if name in INPUTS else None


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("databases[0].rpo is '1 day'", "runbook_databases[0].rpo is '1 day'"),
        ("policy is empty, which", "runbook_policy is empty, which"),
        ("archive.sources[0] is local:/b", "runbook_archive.sources[0] is local:/b"),
        ("stores names local:/b twice", "runbook_stores names local:/b twice"),
        (
            "databases[0].user is 'x' but databases[0].password is not set",
            "runbook_databases[0].user is 'x' but runbook_databases[0].password is not set",
        ),
        ("value of mode must be one of: quick, deep, got: x", "value of runbook_mode must be one of: quick, deep, got: x"),
        ("value of type must be one of: local, s3, got: x found in stores",
         "value of type must be one of: local, s3, got: x found in runbook_stores"),
        ("missing required arguments: key found in archive -> columns",
         "missing required arguments: key found in runbook_archive -> columns"),
    ],
)  # fmt: skip
def test_a_parameter_is_named_as_it_was_written(said: str, shown: str) -> None:
    assert as_written(said, variable_of) == shown


@pytest.mark.parametrize(
    "said",
    [
        "database.service is 'db', which has no healthy container",
        "local:/srv/stores[0] cannot be written",
        "s3:backups: reaching the bucket was denied",
        "policy decides that",
        'column "stores[1]" is unknown',
        "column `stores[1]` is unknown (stores[1])",
        "Nothing is found in stores of others",
    ],
)
def test_what_is_no_parameter_stays(said: str) -> None:
    assert as_written(said, variable_of) == said


def test_only_roles_of_ours_have_such_variables() -> None:
    assert roles_of_ours(["backup", "theirs.backup.backup", "runbook.ops.backup_list", ""]) == ["backup_list"]


def test_every_module_that_reads_a_description_speaks_so() -> None:
    routed = yaml.safe_load((ROOT / "meta/runtime.yml").read_text())["plugin_routing"]["modules"]
    modules = {path.stem for path in (ROOT / "plugins/modules").glob("*.py")}
    assert set(routed) | {"backup_info"} == modules - {"redis_bgsave"}, "a playbook of one's own calls that one"
    assert all(entry == {"action_plugin": "runbook.ops.backup_info"} for entry in routed.values())


SAID = "stores[0].bucket is 'x'"
ROLE = {"ansible_role_name": "runbook.ops.backup"}


def unreadable(_value: Any) -> Any:
    raise ValueError("a lookup that fails")


@pytest.mark.parametrize(
    ("known", "template", "shown"),
    [
        ({"runbook_stores": ["b"], "backup_stores": ["b"]}, None, "runbook_stores[0].bucket is 'x'"),
        ({"runbook_stores": ["a", "b"], "backup_stores": ["b"]}, None, "backup_stores[0].bucket is 'x'"),
        (
            {"runbook_stores": ["a", "b"], "backup_stores": ["a", "b"]},
            None,
            SAID,
        ),  # the first here is not the first there
        ({"runbook_stores": ["b"]}, unreadable, SAID),
    ],
)
def test_only_a_variable_that_the_parameter_came_from_is_named(
    monkeypatch: pytest.MonkeyPatch, known: dict[str, Any], template: Any, shown: str
) -> None:
    result = {"failed": True, "msg": SAID, "checks": ["kept"], "errors": [SAID]}
    monkeypatch.setattr(Normal, "run", lambda *_: dict(result))
    action = ActionModule.__new__(ActionModule)
    action._task = SimpleNamespace(args={"stores": ["b"]})
    action._templar = SimpleNamespace(template=template or (lambda value: value))
    assert action.run(None, {**known, **ROLE}) == {**result, "msg": shown, "errors": [shown]}
