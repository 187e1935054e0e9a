# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventory of one system, as data: all that its jobs are told, credentials among it. Pure.

Written as YAML by hand, because a host that is being set up has no library for it: JSON, of which YAML is a superset,
with a tag before each text that Ansible would otherwise take for a template.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from .. import _arguments as arguments
from .._errors import InputError

Spec = Mapping[str, Any]

MASK = "********"
_DESCRIBED: Spec = {"databases": arguments.DATABASES, "stores": arguments.STORES}
_TEMPLATE = re.compile(r"\{[{%#]")
_UNPRINTABLE = re.compile(
    r"[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]"
)  # JSON writes them, YAML refuses them


def without_nothing(value: Any) -> Any:
    """What is not set is left out, as it was in the description."""
    if isinstance(value, Mapping):
        return {key: without_nothing(inner) for key, inner in value.items() if inner is not None}
    return [without_nothing(inner) for inner in value] if isinstance(value, list) else value


def masked(description: Mapping[str, Any]) -> dict[str, Any]:
    """The same with no secret in it, to be shown and compared."""
    return {key: _masked(value, _DESCRIBED.get(key, {})) for key, value in description.items()}


def _masked(value: Any, spec: Spec) -> Any:
    if spec.get("no_log"):
        return MASK
    if isinstance(value, list):
        return [_masked(inner, spec) for inner in value]
    if isinstance(value, Mapping) and "options" in spec:
        return {key: _masked(inner, spec["options"].get(key, {})) for key, inner in value.items()}
    return value


def require_credentials(description: Mapping[str, Any]) -> None:
    """A secret that was looked up and not found is empty; nobody is there at night to be asked for it."""
    for name, spec in _DESCRIBED.items():
        for variable in _empty(name, description.get(name), spec):
            raise InputError(
                f"{variable} is empty, and a scheduled job has nobody to ask: "
                "set what it is looked up from where you run this, or leave it out if none is needed."
            )


def _empty(variable: str, value: Any, spec: Spec) -> Iterator[str]:
    if spec.get("no_log") and value == "":
        yield variable
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _empty(f"{variable}[{number}]", inner, spec)
    elif isinstance(value, Mapping) and "options" in spec:
        for key, inner in value.items():
            yield from _empty(f"{variable}.{key}", inner, spec["options"].get(key, {}))


def inventory(system: str, python: str, description: Mapping[str, Any]) -> str:
    """The file's text; ``description`` is keyed as the variables are, without their prefix. ``python`` is empty where
    whoever runs Ansible says which."""
    host = {
        "ansible_connection": "local",
        **({"ansible_python_interpreter": python} if python else {}),
        **{f"runbook_{key}": value for key, value in description.items()},
    }
    return f"{_written({'all': {'hosts': {system: host}}})}\n"


def settings(collections: str, home: str) -> str:
    """Ansible's, as this collection has them; ``home`` is where it puts what it needs for a while."""
    passing = f"{home}/passing"
    return f"""\
[defaults]
collections_path = {collections}
home = {home}
remote_tmp = {passing}
gathering = explicit
nocolor = true
callback_result_format = yaml
display_skipped_hosts = false
[connection]
pipelining = true
"""


def shown(text: str) -> str:
    """An inventory's text with no secret in it; nothing of one that cannot be read."""
    try:
        (host,) = json.loads(text.replace("!unsafe ", ""))["all"]["hosts"].values()
    except (ValueError, KeyError, TypeError, AttributeError):
        return ""
    return _written(masked({name.removeprefix("runbook_"): value for name, value in host.items()}))


def _written(value: Any, indent: str = "") -> str:
    deeper = f"{indent}  "
    if isinstance(value, Mapping) and value:
        inner = ",\n".join(f"{deeper}{_text(str(key))}: {_written(entry, deeper)}" for key, entry in value.items())
        return f"{{\n{inner}\n{indent}}}"
    if isinstance(value, list) and value:
        inner = ",\n".join(f"{deeper}{_written(entry, deeper)}" for entry in value)
        return f"[\n{inner}\n{indent}]"
    if isinstance(value, str):
        return f"!unsafe {_text(value)}" if _TEMPLATE.search(value) else _text(value)
    return json.dumps(value)


def _text(value: str) -> str:
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(value, ensure_ascii=False))
