#!/usr/bin/python
# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: system_status_info
short_description: Look at a system from all sides, and judge it
version_added: 1.0.0
description:
  - Looks at services, endpoints and disks at once, each for a limited time, and judges them together with what
    M(runbook.ops.backup_info) said about backups.
  - What cannot be seen is a finding like any other. The worst finding is the verdict.
author: The runbook.ops contributors (!UNKNOWN)
extends_documentation_fragment:
  - runbook.ops.attributes.info
  - runbook.ops.system
  - runbook.ops.system.runtime
options:
  services:
    description:
      - Names of the services that must run. Others are shown, and count for nothing.
      - Without any, all that the platform knows of the system must run.
    type: list
    elements: str
    default: []
  endpoints:
    description: Addresses that must answer, asked from the system's host.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: What reports call it.
        type: str
        required: true
      url:
        description: An address with V(http), V(https) or V(tcp); with the last, accepting a connection is an answer.
        type: str
        required: true
      expect:
        description: The HTTP status that is right. Redirects are not followed.
        type: int
        default: 200
      timeout:
        description: How long each wait for it may take, at most V(60s). What takes more than two seconds is slow.
        type: str
        default: 5s
      ca_file:
        description: Certificates to trust instead of the host's own, in a file on the host.
        type: path
  directories:
    description: Directories whose file systems must have room; each file system is told once.
    type: list
    elements: path
    default: [/]
  databases:
    description: RV(runbook.ops.backup_info#module:databases).
    type: list
    elements: dict
    default: []
  schedules:
    description: When the system's jobs run, as for M(runbook.ops.backup_info).
    type: dict
    default: {}
    suboptions:
      backup:
        description: Backups.
        type: str
      copy:
        description: Copies to the other stores.
        type: str
      verify:
        description: Restore verifications.
        type: str
      prune:
        description: Pruning.
        type: str
seealso:
  - module: runbook.ops.backup_info
"""

EXAMPLES = r"""
- name: How is it?
  runbook.ops.system_status_info:
    system: erni
    runtime: {type: local}
    endpoints:
      - {name: backend, url: "http://localhost:8000/health"}
      - {name: postgresql, url: "tcp://localhost:5432"}
    directories: [/, /backups]
  register: status
"""

RETURN = r"""
verdict:
  description: The worst of all findings, with every reason and what to do about it.
  returned: success
  type: dict
  sample:
    level: red
    reasons: ["backend: has been stopped for 2m (exit code 137)"]
    next: ["backend: its log says why; start it again, and roll back what was deployed last if it does not stay up"]
releases:
  description:
    - One finding for each Helm release, with its C(revision), C(status) and C(age_seconds); none where the platform has no Helm.
  returned: success
  type: list
  elements: dict
events:
  description: One finding for each of the newest warnings of the platform, with C(event), C(message), C(count) and C(age_seconds).
  returned: success
  type: list
  elements: dict
services:
  description: One finding for each service, with its replicas. Every finding has C(object), C(level), C(reason), C(remedy).
  returned: success
  type: list
  elements: dict
endpoints:
  description: One finding for each endpoint, with C(url), C(status) and C(milliseconds).
  returned: success
  type: list
  elements: dict
disks:
  description: One finding for each file system, with C(used_percent), C(used_bytes) and C(available_bytes).
  returned: success
  type: list
  elements: dict
backups:
  description: One finding for each database, with its newest good backup, C(age_seconds) and C(size); C(verified) is when one last was,
    C(proved) whether the newest was itself.
  returned: success
  type: list
  elements: dict
stores:
  description: One finding for each store, with how much of the system lies there.
  returned: success
  type: list
  elements: dict
schedules:
  description:
    - One finding for each job, with its C(next) slot, what is C(due), and C(last_success), since when every database has what the job
      leaves behind.
    - C(last_run) and C(state) are those of the schedule that is installed on the host or in the cluster, where one is.
  returned: success
  type: list
  elements: dict
system:
  description: The system's name.
  returned: success
  type: str
now:
  description: The moment that ages refer to.
  returned: success
  type: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.runbook.ops.plugins.module_utils import _arguments as arguments
from ansible_collections.runbook.ops.plugins.module_utils._description import runtime_of, schedule_of
from ansible_collections.runbook.ops.plugins.module_utils._errors import RunbookError
from ansible_collections.runbook.ops.plugins.module_utils._records import check_name, format_time, utc_now
from ansible_collections.runbook.ops.plugins.module_utils._scheduling.declared import runs_of
from ansible_collections.runbook.ops.plugins.module_utils._status.backups import (
    judge_database,
    judge_schedules,
    judge_stores,
)
from ansible_collections.runbook.ops.plugins.module_utils._status.endpoints import endpoints_of
from ansible_collections.runbook.ops.plugins.module_utils._status.finding import verdict
from ansible_collections.runbook.ops.plugins.module_utils._status.look import (
    Look,
    events,
    file_systems,
    jobs,
    one_endpoint,
    releases,
    services,
    take,
)

ARGUMENT_SPEC = {
    "system": arguments.SYSTEM,
    "runtime": arguments.RUNTIME,
    "services": {"type": "list", "elements": "str", "default": []},
    "endpoints": arguments.ENDPOINTS,
    "directories": {"type": "list", "elements": "path", "default": ["/"]},
    "databases": {"type": "list", "elements": "dict", "default": []},
    "schedules": arguments.SCHEDULES,
}


def build(params: dict[str, Any]) -> dict[str, Look]:
    """Parse all of it before anything is looked at."""
    for job, schedule in params["schedules"].items():
        schedule_of(f"schedules.{job}", schedule)
    runtime, now, databases = runtime_of(params["runtime"]), utc_now(), params["databases"]
    system, schedules = check_name("system", params["system"]), params["schedules"]
    return {
        **({"services": services(runtime, params["services"])} if runtime.services else {}),
        "releases": releases(runtime),
        "events": events(runtime),
        **{f"endpoint {endpoint.name}": one_endpoint(endpoint) for endpoint in endpoints_of(params["endpoints"])},
        "disks": file_systems(runtime, params["directories"]),
        "schedules": jobs(lambda: judge_schedules(databases, schedules, runs_of(system, params["runtime"]), now)),
    }


def judged(params: dict[str, Any], sides: dict[str, Look]) -> dict[str, Any]:
    """Every finding in its section, and the verdict over all of them."""
    seen = take(sides)
    databases = params["databases"]
    sections = {
        "releases": seen["releases"],
        "services": seen.get("services", []),
        "endpoints": [found for name in seen if name.startswith("endpoint ") for found in seen[name]],
        "events": seen["events"],
        "disks": seen["disks"],
        "backups": [judge_database(database) for database in databases],
        "stores": judge_stores(databases),
        "schedules": seen["schedules"],
    }
    return {
        "system": params["system"],
        "now": format_time(utc_now()),
        "verdict": verdict(found for findings in sections.values() for found in findings),
        **{name: [found.to_dict() for found in findings] for name, findings in sections.items()},
    }


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        status = judged(module.params, build(module.params))
    except RunbookError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, **status)


if __name__ == "__main__":
    main()
