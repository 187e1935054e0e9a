# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad input gets one sentence that names the variable, the value's problem and the remedy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.runbook.ops.plugins.module_utils._checks import parse_checks
from ansible_collections.runbook.ops.plugins.module_utils._description import (
    encryptor_of,
    engine_of,
    objectives_of,
    policies_of,
    runtime_of,
    schedule_of,
    scope_of,
    stores_of,
)
from ansible_collections.runbook.ops.plugins.module_utils._durations import check_window, parse_duration
from ansible_collections.runbook.ops.plugins.module_utils._errors import InputError
from ansible_collections.runbook.ops.plugins.module_utils._policy import parse_max_delete, parse_policy, parse_rules
from ansible_collections.runbook.ops.plugins.modules import restore_verification
from support.fault_report import Fault

POLICY: dict[str, Any] = {"keep_last_good": 1, "keep_labelled": "30d", "max_delete": "50%"}


def rules(declared: Any) -> Callable[[], object]:
    return lambda: parse_rules("policy", declared)


def checks(engine: str, *declared: dict) -> Callable[[], object]:
    return lambda: parse_checks("databases[0].checks", list(declared), engine)


def name(value: str) -> Callable[[], object]:
    return lambda: scope_of("database", "erni", {"engine": "postgresql", "name": value})


def backup_id(value: str) -> Callable[[], object]:
    params = {
        "system": "erni", "runtime": {"type": "local"}, "stores": [{"type": "local", "path": "/backups"}],
        "database": {"engine": "sqlite", "name": "shop", "path": "/shop.db"}, "id": value, "schedule": None,
        "work_dir": "/tmp", "cache_dir": "/tmp", "decryption_key": None,
    }  # fmt: skip
    return lambda: restore_verification.build(params)


BAD: dict[str, tuple[Callable[[], object], str, str]] = {
    "empty policy": (rules({}), "policy is empty", "name at least one of"),
    "no policy": (rules(None), "policy is empty", "name at least one of"),
    "unknown rule": (rules({"dayly": {"within": "30d"}}), "unknown rule 'dayly'", "rules are"),
    "unknown key": (rules({"daily": {"whitin": "30d"}}), "policy.daily has the unknown key 'whitin'", "a rule takes"),
    "zero window": (rules({"daily": {"within": "0d"}}), "policy.daily.within is '0d'", "such as 30d"),
    "negative window": (rules({"daily": {"within": "-3d"}}), "policy.daily.within is '-3d'", "such as 30d"),
    "window without unit": (rules({"daily": {"within": 30}}), "policy.daily.within is 30", "such as 30d"),
    "zero count": (rules({"daily": {"count": 0}}), "policy.daily.count is 0", "at least 1"),
    "negative count": (rules({"daily": {"count": -1}}), "policy.daily.count is -1", "at least 1"),
    "true is no count": (rules({"daily": {"count": True}}), "policy.daily.count is True", "at least 1"),
    "rule says nothing": (rules({"daily": {}}), "policy.daily says neither", "give one"),
    "rule is no mapping": (rules({"daily": 30}), "policy.daily is 30", "write a mapping"),
    "select": (rules({"daily": {"count": 1, "select": "first"}}), "policy.daily.select is 'first'", "newest or oldest"),
    "keep_last_good": (
        lambda: parse_policy({"daily": {"count": 1}}, **{**POLICY, "keep_last_good": 0}), "keep_last_good is 0", "at least 1",
    ),
    "keep_labelled": (
        lambda: parse_policy({"daily": {"count": 1}}, **{**POLICY, "keep_labelled": "soon"}), "keep_labelled is 'soon'", "30d",
    ),
    "max_delete": (lambda: parse_max_delete("max_delete", "150%"), "max_delete is '150%'", "0% to 100%"),
    "store's own policy": (
        lambda: policies_of({**POLICY, "policy": {"daily": {"count": 1}}, "stores": [{}, {"policy": {"x": 1}}]}),
        "stores[1].policy has", "rules are",
    ),
    "name with slash": (name("a/b"), "database.name is 'a/b'", "use letters"),
    "name with dots": (name(".."), "database.name is '..'", "use letters"),
    "name with newline": (name("a\n"), "database.name is 'a\\n'", "use letters"),
    "system name": (
        lambda: scope_of("database", "../erni", {"engine": "redis", "name": "x"}), "system is '../erni'", "use letters",
    ),
    "id with slash": (backup_id("20260301T020000Z-5f3a9c1e/x"), "id is '20260301T020000Z-5f3a9c1e/x'", "take one"),
    "id with dots": (backup_id("../x"), "id is '../x'", "take one"),
    "id with newline": (backup_id("x\ny"), "id is 'x\\ny'", "take one"),
    "id with newline at its end": (backup_id("20260301T020000Z-5f3a9c1e\n"), "5f3a9c1e\\n'", "take one"),
    "duration": (lambda: parse_duration("database.rpo", "1 day"), "database.rpo is '1 day'", "such as 24h"),
    "duration zero": (lambda: objectives_of("databases[0]", {"rto": "0h"}), "databases[0].rto is '0h'", "such as 24h"),
    "duration beyond dates": (lambda: parse_duration("database.rpo", "36501d"), "database.rpo is '36501d'", "at most 36500d"),
    "duration beyond numbers": (lambda: parse_duration("database.rpo", "9" * 16 + "d"), "rpo is '9999", "at most 36500d"),
    "window": (lambda: check_window("keep_labelled", "10s"), "keep_labelled is '10s'", "h, d, w, m or y"),
    "schedule": (lambda: schedule_of("schedules.backup", "daily"), "schedules.backup is 'daily'", "0 2 * * *"),
    "schedule, six fields": (lambda: schedule_of("schedules.backup", "0 0 2 * * *"), "schedules.backup", "five-field"),
    "schedule, hour 25": (lambda: schedule_of("schedules.backup", "0 25 * * *"), "whose hour '25'", "numbers from 0 to 23"),
    "schedule, 31 February": (
        lambda: schedule_of("schedules.backup", "0 2 31 2 *"), "schedules.backup is '0 2 31 2 *'", "correct its day",
    ),
    "service": (
        lambda: engine_of("databases[0]", {"engine": "redis", "service": "db"}, runtime_of({"type": "local"})),
        "databases[0].service is 'db'", "remove service",
    ),
    "runtime": (lambda: runtime_of({"type": "nomad"}), "runtime.type is 'nomad'", "local"),
    "no store": (lambda: stores_of([]), "stores is empty", "name at least one"),
    "a store twice": (lambda: stores_of([{"type": "local", "path": "/b"}] * 2), "local:/b twice", "keep one"),
    "secrets unsealed": (
        lambda: encryptor_of("databases[1]", {"engine": "files", "name": "config", "recipients": []}),
        "databases[1].recipients is empty", "plaintext",
    ),
    "check of another engine": (checks("redis", {"table": "t", "rows": 1}), "databases[0].checks[0]", "keys"),
    "comparison with a space": (
        checks("sqlite", {"sql": "SELECT 1", "name": "n", "expect": "> =1"}), "[0].expect is '> =1', which is no comparison", "such as >=1",
    ),
    **{
        f"comparison {text!r}": (
            checks("postgresql", {"sql": "SELECT 1", "name": "n", "expect": text}), f"expect is {text!r}, which is no comparison",
            "such as >=1",
        )
        for text in ("!= 0", "=>1", ">=1,000", ">= 1e6", ">=.5", ">=+1", "≥1", ">=1 rows", " >=1")
    },
    "check without expectation": (checks("sqlite", {"table": "t"}), "databases[0].checks[0] has nothing", "rows or newest"),
    "check with too much": (checks("postgresql", {"role": "r", "rows": 1}), "has rows beside role", "nothing else"),
    "equal counts of keys": (
        checks("redis", {"keys": "*", "expect": "source"}), "databases[0].checks[0].expect is source", "give a number",
    ),
    "rows of a word": (checks("sqlite", {"table": "t", "rows": "sauce"}), "[0].rows is 'sauce'", "or source"),
    "keys of a word": (checks("redis", {"keys": "*", "expect": "many"}), "[0].expect is 'many'", "such as >=1"),
    "rows of a wrong comparison": (checks("postgresql", {"table": "t", "rows": "=>1"}), "[0].rows is '=>1'", "such as >=1"),
    "a query without a name": (
        checks("sqlite", {"sql": "SELECT 1", "expect": 1}), "databases[0].checks[0] has no name", "give the sql check one",
    ),
    "check twice": (checks("sqlite", *[{"table": "t", "rows": 1}] * 2), "declares table_rows:t twice", "keep one"),
    "freshness": (checks("sqlite", {"table": "t", "newest": "at", "within": "x"}), "[0].within is 'x'", "such as 24h"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case: str, fault: Fault) -> None:
    call, problem, remedy = BAD[case]
    with pytest.raises(InputError) as caught:
        call()
    sentence = str(caught.value)
    assert problem in sentence and remedy in sentence and sentence.endswith(".")
    assert "\n" not in sentence
    fault(f"bad input: {case}", sentence, "refused before anything is touched")


def test_good_input_of_every_kind() -> None:
    parsed = parse_rules("policy", {"monthly": {"within": "12m"}, "last": {"count": "3"}, "yearly": None})
    assert [rule.name for rule in parsed] == ["last", "monthly"]
    assert parse_max_delete("max_delete", "50%").allows(5, 10) and not parse_max_delete("max_delete", 4).allows(5, 10)
    assert schedule_of("s", None) is None and schedule_of("s", "*/15 2-4 * * 1") == "*/15 2-4 * * 1"
    assert schedule_of("s", "0 2 29 2 *") == "0 2 29 2 *"  # a rare date is a date
