# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the description of a database."""

from __future__ import annotations

_SUBOPTIONS = r"""
engine:
  description: What kind of database it is; V(files) are configuration files and directories.
  type: str
  required: true
  choices: [postgresql, redis, sqlite, files]
name:
  description:
    - The PostgreSQL database's name; for other engines the name its backups go by.
    - Letters, digits, C(_), C(.) and C(-) only, because it names a directory in the stores.
  type: str
  required: true
service:
  description: The service of the runtime that it runs in; empty for the runtime V(local).
  type: str
  default: ""
host:
  description: Where the server listens (V(postgresql), V(redis)).
  type: str
port:
  description: The server's TCP port.
  type: int
user:
  description: The account to connect as.
  type: str
password:
  description: Its password.
  type: str
bin_dir:
  description: The directory of the client and server programs; without it they are looked up in E(PATH).
  type: path
path:
  description: The database file (V(sqlite)).
  type: path
paths:
  description: The files and directories to keep (V(files)).
  type: list
  elements: path
objects:
  description:
    - Secrets and config maps of the runtime's namespace to keep beside the files (V(files) on C(kubernetes)), such as
      C(secret/db-creds). Each is kept as the manifest C(kubernetes/secret/db-creds.json), which C(kubectl apply) takes back.
  type: list
  elements: str
  default: []
exclude:
  description: Glob patterns of what to leave out (V(files)).
  type: list
  elements: str
  default: []
recipients:
  description:
    - Who may decrypt the backups, each an armored OpenPGP public key, the path of a key file on the host, or a fingerprint
      or e-mail address in the keyring of C(gpg) on the host.
    - With none, backups are not encrypted; V(files) then refuse unless O(ignore:plaintext) is true.
  type: list
  elements: str
  default: []
plaintext:
  description: Allows V(files) to be stored without encryption.
  type: bool
  default: false
checks:
  description:
    - What must be true of a restored backup, each one of C({table, rows}), C({table, newest, within}), C({sql, name, expect}),
      C({extension}), C({role}), C({keys, expect}), C({file}).
    - C(rows) and C(expect) take a value, a comparison such as V(>=1), or V(source), which demands what was observed in the
      very snapshot that was backed up. C(keys) do not take V(source), because Redis drops expired keys while it loads a backup.
  type: list
  elements: dict
  default: []
schedule:
  description: When it is backed up, a five-field cron expression in UTC, in place of the system's.
  type: str
policy:
  description: Retention rules for this database, in place of the system's.
  type: dict
rpo:
  description: The recovery point objective, such as V(24h). A newest good backup that is older is reported.
  type: str
rto:
  description: The recovery time objective, such as V(4h). A measured restore that took longer is reported.
  type: str
lock_timeout:
  description: How long to wait for a lock in the database.
  type: str
  default: 30s
timeout:
  description: How long one backup or restore may take.
  type: str
  default: 4h
scratch:
  description:
    - What a verification may use. By default it restores into a throw-away server, which is started with the programs of
      O(ignore:bin_dir) on the host, or in a container of the image that the service's own has, where it runs in one.
    - With C(host), into a database of its own in a PostgreSQL server that is named, which must not be production's; no role
      is ever created there.
  type: dict
  suboptions:
    memory_mib:
      description: What a throw-away container may take of the host's memory, in MiB.
      type: int
      default: 2048
    cpus:
      description: How many cores a throw-away container may use.
      type: float
      default: 2
    host:
      description: Where the named server listens.
      type: str
    port:
      description: Its TCP port.
      type: int
      default: 5432
    user:
      description: An account of it that may create databases.
      type: str
    password:
      description: Its password.
      type: str
run_as:
  description:
    - The account that throw-away servers run under. On the host, where the module runs as root, it is V(nobody) or V(postgres)
      by default; in a container, V(postgres) or V(redis), as their images have it.
  type: str
"""


def _option(head: str) -> str:
    return "options:\n" + head + "".join(f"      {line}\n" for line in _SUBOPTIONS.strip().splitlines())


class ModuleDocFragment:
    """C(DOCUMENTATION) for one, C(MANY) for a list of them."""

    DOCUMENTATION: str = _option(r"""  database:
    description: The database to protect, one entry of an inventory's C(runbook_databases).
    type: dict
    required: true
    suboptions:
""")

    MANY: str = _option(r"""  databases:
    description: The databases to protect, an inventory's C(runbook_databases).
    type: list
    elements: dict
    required: true
    suboptions:
""")
