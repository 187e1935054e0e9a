# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs tiers of the test suite in order; closes with a table of results, times and what was not run and why.

usage: tiers.py TIER...    with LAB=required, what could not run here has failed
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

import yaml
from lint import lint
from outcome import Outcome

ROOT = Path(__file__).resolve().parent.parent
REPORTS = ROOT / ".cache" / "tiers"
PARTS = ("engine", "kubernetes")
OF_ALL = "tests/lab/test_lab.py"
"""About all systems of the laboratory together, so nothing else may use them meanwhile where it needs every one."""
FAR_FROM_SLOTS = "tests/inventories/far_from_slots"
PYTEST_RAN = (0, 1)  # all passed, some failed; anything else, "no tests collected" among it, is no run at all


def pytest_tier(name: str) -> Outcome:
    """The tests in tests/``name`` that need no laboratory, on all cores, one file's tests in one worker: they share its servers."""
    return pytest(name, f"tests/{name}", "-m", "not lab", "-n", "auto", "--dist", "loadfile")


def pytest(name: str, *arguments: str, output: IO[str] | None = None) -> Outcome:
    report = REPORTS / f"{name}.xml"
    report.unlink(missing_ok=True)
    argv = [sys.executable, "-m", "pytest", *arguments, f"--junitxml={report}"]
    ended = subprocess.run(argv, cwd=ROOT, stdout=output, stderr=output, check=False)
    outcome = counted(ET.parse(report)) if report.exists() else Outcome()
    if ended.returncode not in PYTEST_RAN:
        outcome.count("pytest", good=False, why=f"ended with code {ended.returncode}")
    return outcome


def counted(report: ET.ElementTree) -> Outcome:
    outcome = Outcome()
    for case in report.iter("testcase"):
        skipped = case.find("skipped")
        wrong = next((found for found in (case.find("failure"), case.find("error")) if found is not None), None)
        if skipped is None or wrong is not None:
            why = "" if wrong is None else told_wrong(wrong)
            outcome.count(f"{case.get('classname')}::{case.get('name')}", good=wrong is None, why=why)
        else:
            outcome.skipped += 1
            reason = skipped.get("message", "")
            if reason.startswith("NOT RUN"):
                outcome.not_run.append(f"{case.get('name')}: {reason.removeprefix('NOT RUN').lstrip(': ')}")
    return outcome


def told_wrong(wrong: ET.Element) -> str:
    """What an assertion or an error said, and the end of the traceback, which has the line."""
    *_before, last = (wrong.text or "").strip().rpartition("\n\n")
    return f"{wrong.get('message', '')[:1500]}\n{last[-1500:]}".strip().replace("\n", "\n    ")


def labs(output: IO[str] | None = None) -> Outcome:
    """What needs a Docker Engine or a cluster, and Molecule's scenarios on them, in two ways that share the Engine and a store,
    and no system.

    What is on the cluster and MinIO waits for them to be built, which takes longest; what is about all systems comes last.
    """
    missing = brought_up("engine")
    with ThreadPoolExecutor(1) as pool:
        beside = pool.submit(on_the_cluster, missing)
        outcome = on_the_engine(missing, output)
        told, log = beside.result()
    print(log.read_text(encoding="utf-8", errors="replace"), file=output, flush=True)
    outcome.add(told)
    if not missing:
        outcome.add(pytest("labs-all", OF_ALL, "-m", "lab and built", output=output))
    return outcome


def on_the_engine(missing: str, output: IO[str] | None) -> Outcome:
    outcome = Outcome()
    if missing:
        outcome.leave_out(f"tests/contract and tests/lab on an Engine: {missing}")
    else:
        outcome = pytest("labs", "tests/contract", "tests/lab", "-m", "lab and not built", output=output)
    scenarios_of("engine", missing, outcome, output)
    return outcome


def on_the_cluster(missing: str) -> tuple[Outcome, Path]:
    """The outcome, and where it is told at length. Tests say themselves where there is no cluster."""
    log = REPORTS / "cluster.log"
    outcome = Outcome()
    with log.open("w", encoding="utf-8") as output:
        if not missing:
            missing = brought_up("kubernetes")
            outcome = pytest(
                "cluster", "tests/contract", "tests/lab", f"--ignore={OF_ALL}", "-m", "lab and built", output=output
            )
        scenarios_of("kubernetes", missing, outcome, output)
    return outcome, log


def scenarios_of(part: str, missing: str, outcome: Outcome, output: IO[str] | None) -> None:
    for scenario in scenarios(part):
        if missing:
            outcome.leave_out(f"molecule {scenario}: {missing}")
        else:
            molecule(scenario, outcome, output)


def roles() -> Outcome:
    """Molecule's scenarios on the embedded servers."""
    outcome = Outcome()
    for scenario in scenarios(None):
        molecule(scenario, outcome)
    return outcome


def scenarios(part: str | None) -> list[str]:
    """Those of Molecule's that need this part of the laboratory; ``None``: no part that there is."""
    described = {
        path.parent.name: yaml.safe_load(path.read_text()) for path in sorted(ROOT.glob("molecule/*/molecule.yml"))
    }
    needed = {name: one["ansible"].get("env", {}).get("RUNBOOK_LAB") for name, one in described.items()}
    return [name for name, lab in needed.items() if part == (lab if lab in PARTS else None)]


def molecule(scenario: str, outcome: Outcome, output: IO[str] | None = None) -> None:
    argv = ["molecule", "test", "--scenario-name", scenario]
    log = REPORTS / f"molecule-{scenario}.log"
    with log.open("wb") as written:
        ended = subprocess.run(argv, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=written, stderr=written, check=False)
    told = log.read_text(encoding="utf-8", errors="replace")
    print(told, file=output, flush=True)
    outcome.count(f"molecule {scenario}", good=ended.returncode == 0, why=where_it_broke(told))


def where_it_broke(told: str) -> str:
    """The end of what Molecule's first failed action printed: a record that keeps the table alone still says what happened."""
    lines = re.sub(r"\x1b\[[0-9;]*m", "", told).splitlines()
    end = next((number + 5 for number, line in enumerate(lines) if line.startswith("CRITICAL")), len(lines))
    return "\n    ".join(line[:500].rstrip() for line in lines[max(0, end - 40) : end])


def brought_up(part: str) -> str:
    """Why this part of the laboratory does not stand; nothing where it does."""
    argv = [sys.executable, "-m", "lab", "up", part]
    ended = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    return ended.stderr.strip() if ended.returncode else ""


def demo() -> Outcome:
    """`make demo` from nothing, then again, which must find nothing to do; in a place of its own."""
    outcome = Outcome()
    with tempfile.TemporaryDirectory(prefix="runbook-demo-test-", dir="/var/tmp") as directory:
        os.chmod(directory, 0o711)  # as root, the servers run under another account, which must get through
        environment = {**os.environ, "RUNBOOK_DEMO_DIR": f"{directory}/demo"}
        for target, expected in (("demo", ""), ("demo", "changed=0"), ("demo-clean", "")):
            started = time.monotonic()
            ended = subprocess.run(
                ["make", target, f"DEMO_INVENTORIES=inventories/demo {FAR_FROM_SLOTS}"],
                cwd=ROOT, env=environment, stdout=subprocess.PIPE, encoding="utf-8", check=False,
            )  # fmt: skip
            good = ended.returncode == 0 and all(
                expected in line for line in ended.stdout.splitlines() if "changed=" in line
            )
            print(
                f"{ended.stdout}{target}: {'ok' if good else 'FAILED'}, {time.monotonic() - started:.1f} s", flush=True
            )
            outcome.count(f"make {target}", good=good)
    return outcome


TIERS = {
    "unit": lambda: pytest_tier("unit"),
    "contract": lambda: pytest_tier("contract"),
    "integration": lambda: pytest_tier("integration"),
    "playbooks": lambda: pytest_tier("playbooks"),
    "roles": roles,
    "lint": lint,
    "labs": labs,
    "demo": demo,
}


def beside(pool: ThreadPoolExecutor) -> Callable[[], Outcome]:
    """The labs, begun now: they wait more than they work, so the other tiers run meanwhile, and theirs is told at its turn."""
    log = REPORTS / "labs.log"

    def run() -> Outcome:
        with log.open("w", encoding="utf-8") as output:
            return labs(output)

    running = pool.submit(run)

    def ended() -> Outcome:
        outcome = running.result()
        print(log.read_text(encoding="utf-8", errors="replace"), flush=True)
        return outcome

    return ended


def main(names: list[str]) -> int:
    with ThreadPoolExecutor(1) as pool:
        return told(names, pool)


def told(names: list[str], pool: ThreadPoolExecutor) -> int:
    REPORTS.mkdir(parents=True, exist_ok=True)
    tiers = {**TIERS, "labs": beside(pool)} if "labs" in names[1:] else TIERS
    rows = []
    for name in names:
        print(f"\n=== {name}", flush=True)
        started = time.monotonic()
        outcome = tiers[name]()
        if os.environ.get("LAB") == "required":
            outcome.require()
        rows.append((name, outcome, time.monotonic() - started))

    print(f"\n{'tier':<14}{'result':<10}{'seconds':>8}  tests")
    for name, outcome, seconds in rows:
        print(f"{name:<14}{outcome.verdict:<10}{seconds:>8.1f}  {outcome}")
    for name, outcome, _seconds in rows:
        for line in outcome.not_run:
            print(f"NOT RUN  {name}: {line}")
        for line in outcome.failures:
            print(f"FAILED   {name}: {line}")
    passed, failed, skipped = (
        sum(getattr(outcome, kind) for _name, outcome, _seconds in rows) for kind in ("passed", "failed", "skipped")
    )
    print(f"\n{passed} passed, {failed} failed, {skipped} skipped", flush=True)
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
