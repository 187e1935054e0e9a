# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A witness is heard whatever the shell, the program and the pieces of the stream around its words."""

from __future__ import annotations

import pytest
from ansible_collections.runbook.ops.plugins.module_utils._runtime._witness import DATA, HELD, PACKED, TAKEN, Witness

NOISE = "sh: warning: setlocale: LC_ALL: cannot change locale (xx_XX)\n"


@pytest.mark.parametrize("size", [1, 7, 10_000])
@pytest.mark.parametrize("noise", ["", NOISE])
@pytest.mark.parametrize("way", [DATA, HELD, PACKED, TAKEN])
def test_it_is_heard(way: str, noise: str, size: int) -> None:
    witness = Witness(way)
    outlet = f"{witness.nonce} 12\n" if way == TAKEN else ""
    digest = "" if way == TAKEN else " 4294967295 0"
    packed = f"{witness.nonce} packed\n" if way == PACKED else ""
    told = f"{noise}{packed}{outlet}{noise}{witness.nonce} 34\nthe reason\n{witness.nonce} 137{digest}\n".encode()
    for start in range(0, len(told), size):
        assert witness.testimony is None
        witness.hear(told[start : start + size])
    assert (witness.outlet, witness.pid, witness.packed) == (12 if way == TAKEN else None, 34, way == PACKED)
    assert witness.testimony is not None
    assert witness.testimony.returncode == -9
    assert witness.testimony.digest == (None if way == TAKEN else (4294967295, 0))
    assert (
        "packed" not in witness.said
        and witness.said.endswith("the reason")
        and (NOISE.strip() in witness.said) == bool(noise)
    )


def test_one_that_was_silenced_tells_nothing() -> None:
    witness = Witness(HELD)
    witness.hear(f"{witness.nonce} 34\nhalf a sen".encode())
    assert (witness.pid, witness.testimony, witness.said) == (34, None, "half a sen")


@pytest.mark.parametrize("told", ["packing 0 42 7", "0 packing 42 7", "0 42 7 packing"])
def test_what_failed_behind_the_program_is_told_whenever_it_did(told: str) -> None:
    witness = Witness(PACKED)
    witness.hear(f"{witness.nonce} packed\n{witness.nonce} 34\nkilled\n{witness.nonce} {told}\n".encode())
    testimony = witness.testimony
    assert testimony and (testimony.returncode, testimony.digest, testimony.failed) == (0, (42, 7), "packing")
    assert witness.said == "killed"
