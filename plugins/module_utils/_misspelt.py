# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names that nothing reads, so that a misspelt one is not ignored in silence: a sentence for each. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

PREFIX = "runbook_"
"""Of every variable that describes a system."""

_OURS = "runbook.ops."

_SLIP = 0.8
"""difflib's ratio (Ratcliff and Obershelp): one letter of three too many, one of four that is missing."""


def roles_of_ours(names: Iterable[str]) -> list[str]:
    """What the inputs of each of our roles among these begin with."""
    return [name.removeprefix(_OURS) for name in names if name.startswith(_OURS)]


def nearest(name: str, known: Collection[str]) -> str | None:
    """The known name that was probably meant."""
    return next(iter(difflib.get_close_matches(name, known, n=1)), None)


def unread_variables(found: Collection[str], known: Collection[str]) -> Iterator[str]:
    """Variables with our prefix that no role reads.

    Where nothing describes a system, the prefix may be a stranger's own: only what looks like a slip is told there.
    """
    described = any(name in known for name in found)
    for name in sorted(set(found) - set(known)):
        meant = nearest(name.removeprefix(PREFIX), [other.removeprefix(PREFIX) for other in known])
        if meant:
            yield f"{name} is read by nothing: write {PREFIX}{meant}, or a name that does not begin with {PREFIX}."
        elif described:
            yield (
                f"{name} is read by nothing: docs/describe_a_system.md has every variable that begins with {PREFIX}; "
                "give one of your own another beginning."
            )


def unread_inputs(
    found: Collection[str], inputs: Mapping[str, Collection[str]], switches: Collection[str]
) -> Iterator[str]:
    """Variables that begin as a role's inputs do and are a slip away from one: ``-e backup_lable=manual`` would be a run that does
    not what it was asked. So is one of the running role's ``switches`` without that role's first word, as in
    ``-e verify_now=true``. ``inputs``: those of each role. A name that is near to none may be somebody's own."""
    known = {name for names in inputs.values() for name in names}
    shortened = {name.partition("_")[2]: name for name in switches}
    for name in sorted(set(found) - known):
        if name in shortened:
            yield f"{name} is read by nothing: write {shortened[name]}, or another name."
            continue
        role = max((role for role in inputs if name.startswith(f"{role}_")), key=len, default=None)
        if role is None:
            continue
        ending, endings = name.removeprefix(f"{role}_"), [other.removeprefix(f"{role}_") for other in inputs[role]]
        swapped = [other for other in endings if sorted(other) == sorted(ending)]
        if meant := swapped or difflib.get_close_matches(ending, endings, n=1, cutoff=_SLIP):
            yield f"{name} is read by nothing: write {role}_{meant[0]}, or another name."


def unset(name: str, found: Collection[str], known: Collection[str]) -> str:
    """Why a variable that is required has no value: forgotten, or written otherwise."""
    slips = {other for other in found if other not in known}
    slip = nearest(name.removeprefix(PREFIX), [other.removeprefix(PREFIX) for other in slips])
    if slip:
        return f"{name} is not set, but {PREFIX}{slip} is: correct its name."
    return f"{name} is not set: describe the system as docs/describe_a_system.md says"


def unknown_words(variable: str, declared: Any, spec: Mapping[str, Any]) -> Iterator[str]:
    """Keys of a value that its argument specification does not have, and words that are none of its choices, in lists and below,
    too."""
    if isinstance(declared, Sequence) and not isinstance(declared, str):
        for number, element in enumerate(declared):
            yield from unknown_words(f"{variable}[{number}]", element, spec)
    elif isinstance(declared, Mapping) and "options" in spec:
        for key, value in declared.items():
            if key in spec["options"]:
                yield from unknown_words(f"{variable}.{key}", value, spec["options"][key])
            else:
                meant = nearest(str(key), spec["options"])
                remedy = f"write {meant}" if meant else f"it takes {', '.join(sorted(spec['options']))}"
                yield f"{variable} has the unknown key {str(key)!r}: {remedy}."
    elif isinstance(declared, str) and declared not in spec.get("choices", [declared]):
        meant = nearest(declared, spec["choices"])
        yield f"{variable} is {declared!r}: write {meant or 'one of ' + ', '.join(spec['choices'])}."
