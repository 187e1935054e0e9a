#!/usr/bin/python
# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_bgsave
short_description: Have Redis save its data set in the background, and wait until that save has succeeded
version_added: 1.0.0
author:
  - The runbook.ops contributors (!UNKNOWN)
description:
  - Asks a Redis server for a background save (C(BGSAVE)) and returns when that very save is on the server's disk.
  - The save holds everything that was written before the task started. A save that was already in progress began earlier,
    so the module waits for its end and then has one made of its own.
  - While an AOF rewrite is in progress the save is scheduled to follow it.
  - A save that fails, that the server breaks off, or that is lost in a restart is never taken for a success. See the notes.
  - Nothing but a Redis connection is needed, so the task can run on any host that reaches the server.
requirements:
  - redis (Python library), 5.0 or later
  - Redis server 6.2 or later, or Valkey
options:
  login_host:
    description: Host of the Redis server.
    type: str
    default: localhost
  login_port:
    description: TCP port of the Redis server.
    type: int
    default: 6379
  login_user:
    description: ACL user to authenticate as. Without it, O(login_password) is the default user's.
    type: str
  login_password:
    description: Password to authenticate with.
    type: str
  tls:
    description: Whether the connection is encrypted.
    type: bool
    default: false
  validate_certs:
    description: Whether the server's certificate and its name must be valid. Only looked at when O(tls=true).
    type: bool
    default: true
  ca_certs:
    description: File of CA certificates to trust instead of the system's. Only looked at when O(tls=true).
    type: path
  client_cert_file:
    description: Client certificate for servers that demand one. Only looked at when O(tls=true).
    type: path
  client_key_file:
    description: Private key of O(client_cert_file). Only looked at when O(tls=true).
    type: path
  timeout:
    description:
      - How long to wait in all, such as V(90s), V(15m) or V(2h).
      - When it has passed the task fails. A save that is running is not stopped.
    type: str
    default: 1h
attributes:
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying target.
    support: full
    details:
      - The server is contacted, so a wrong address or password fails in check mode too. No save is made.
  diff_mode:
    description: Will return details on what has changed, or possibly needs changing, in check_mode, when in diff mode.
    support: full
    details:
      - The diff shows the time of the last successful save before and after.
  idempotent:
    description: When run twice in a row outside check mode, with the same arguments, the second invocation indicates no change.
    support: none
    details:
      - Every run makes a save.
notes:
  - C(LASTSAVE) alone does not tell when a save has ended. It has a resolution of one second, so two saves within one second
    look like one; and it is reset by a restart. This module never begins a save in the second of the last one, which may make
    it wait for up to a second, and watches the server's run id.
  - The least ACL is C(+bgsave +info). With C(+config|get) the module also returns RV(rdb_path), and errors name the directory.
  - A lost connection is tried again until O(timeout). The first one is not, so that a wrong address is told at once.
  - On Redis 6.2, which does not count its saves, one more save is asked for when a scheduled one does not show.
seealso:
  - name: BGSAVE
    description: The command in the Redis documentation.
    link: https://redis.io/docs/latest/commands/bgsave/
"""

EXAMPLES = r"""
- name: Save before the disk is snapshotted
  runbook.ops.redis_bgsave:
    login_password: "{{ redis_password }}"

- name: Save a large data set over TLS, as an ACL user
  runbook.ops.redis_bgsave:
    login_host: redis.example.com
    login_port: 6380
    login_user: backup
    login_password: "{{ redis_backup_password }}"
    tls: true
    ca_certs: /etc/ssl/redis-ca.pem
    timeout: 4h
  register: saved

- name: Fetch the file that was saved
  ansible.builtin.fetch:
    src: "{{ saved.rdb_path }}"
    dest: dumps/
"""

RETURN = r"""
actions:
  description: What was done, or would be done in check mode; the same in both.
  type: list
  elements: dict
  returned: success
  contains:
    action:
      description: Always V(bgsave).
      type: str
      sample: bgsave
    object:
      description: The server.
      type: str
      sample: redis localhost:6379
    reason:
      description: Why.
      type: str
      sample: every run saves
  sample:
    - action: bgsave
      object: redis localhost:6379
      reason: every run saves
last_save_before:
  description: When the last successful save before this one ended, by the server's clock. A server that never saved gives its start.
  type: str
  returned: success
  sample: "2026-03-01T03:00:02Z"
rdb_path:
  description: The RDB file, as the server's host calls it. V(null) when the user may not run C(CONFIG GET).
  type: str
  returned: success
  sample: /data/dump.rdb
server_version:
  description: Version of the server.
  type: str
  returned: success
  sample: 7.4.2
save:
  description: The save that was made; V(null) in check mode.
  type: dict
  returned: success
  contains:
    requested_at:
      description: When the save was asked for, by the server's clock. It holds everything written before.
      type: str
      sample: "2026-03-02T03:00:00Z"
    finished_at:
      description: When it was complete, by the server's clock.
      type: str
      sample: "2026-03-02T03:00:04Z"
    waited_for_another:
      description: Whether a save that began before the request had to end first.
      type: bool
      sample: false
"""

from contextlib import closing
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.runbook.ops.plugins.module_utils._durations import parse_duration
from ansible_collections.runbook.ops.plugins.module_utils._errors import RunbookError
from ansible_collections.runbook.ops.plugins.module_utils._records import format_time
from ansible_collections.runbook.ops.plugins.module_utils._redis.connection import ANSWER, Login, NotPermitted, Redis
from ansible_collections.runbook.ops.plugins.module_utils._redis.save import BackgroundSave, State
from ansible_collections.runbook.ops.plugins.module_utils._result import Action, result_of

ARGUMENT_SPEC: dict[str, Any] = {
    "login_host": {"type": "str", "default": "localhost"},
    "login_port": {"type": "int", "default": 6379},
    "login_user": {"type": "str"},
    "login_password": {"type": "str", "no_log": True},
    "tls": {"type": "bool", "default": False},
    "validate_certs": {"type": "bool", "default": True},
    "ca_certs": {"type": "path"},
    "client_cert_file": {"type": "path"},
    "client_key_file": {"type": "path"},
    "timeout": {"type": "str", "default": "1h"},
}


def run(module: AnsibleModule) -> dict[str, Any]:
    params = module.params
    timeout = parse_duration("timeout", params["timeout"]).total_seconds()
    login = Login(
        host=params["login_host"], port=params["login_port"], user=params["login_user"],
        password=params["login_password"], tls=params["tls"], validate_certs=params["validate_certs"],
        ca_certs=params["ca_certs"], client_cert=params["client_cert_file"], client_key=params["client_key_file"],
    )  # fmt: skip
    with closing(Redis(login, answer_within=min(ANSWER, timeout))) as server:
        before = State.of(server)
        found = {
            "last_save_before": format_time(before.last_save_at),
            "rdb_path": _path(server),  # as "path", Ansible would add what it finds there on this host
            "server_version": before.version,
        }
        save = None if module.check_mode else _save(server, timeout)
        after = save["finished_at"] if save else "now"
        return result_of(
            [Action("bgsave", str(server), "every run saves")],
            diff={
                "before_header": str(server), "before": f"last save: {found['last_save_before']}\n",
                "after_header": str(server), "after": f"last save: {after}\n",
            },
            save=save, **found,
        )  # fmt: skip


def _save(server: Redis, timeout: float) -> dict[str, Any]:
    request = BackgroundSave(server, timeout)
    request.begin()
    saved = request.wait()
    return {
        "requested_at": format_time(saved.requested_at),
        "finished_at": format_time(saved.finished_at),
        "waited_for_another": saved.waited_for_another,
    }


def _path(server: Redis) -> str | None:
    try:
        return server.rdb_path()
    except NotPermitted:
        return None


def main() -> None:
    module = AnsibleModule(
        argument_spec=ARGUMENT_SPEC, supports_check_mode=True, required_by={"client_key_file": ("client_cert_file",)}
    )
    try:
        result = run(module)
    except RunbookError as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
