# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cipher contract, held by gpg and pysequoia alike, each opening what the other sealed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from ansible_collections.runbook.ops.plugins.module_utils._cipher import gpg as _cipher_gpg
from ansible_collections.runbook.ops.plugins.module_utils._cipher import program as _cipher_program
from ansible_collections.runbook.ops.plugins.module_utils._cipher.base import KeyUnusable
from ansible_collections.runbook.ops.plugins.module_utils._cipher.declared import decryptor, encryptor
from ansible_collections.runbook.ops.plugins.module_utils._cipher.program import Filter
from ansible_collections.runbook.ops.plugins.module_utils._description import require_known_recipients
from ansible_collections.runbook.ops.plugins.module_utils._errors import (
    CommandFailed,
    Damaged,
    InputError,
    MissingLibrary,
    TimedOut,
)

pytestmark = pytest.mark.skipif(not shutil.which("gpg"), reason="NOT RUN: no gpg to compare pysequoia with")

ABSENT = "gpg-is-not-on-this-host"
TOOLS = {"gpg": "gpg", "sequoia": ABSENT}
LAST_CENTURY = ["--faked-system-time", "20200101T000000"]
A_DAY_LATER = ["--faked-system-time", "20200102T000000"]
"""For what is added to a key: the clock of gpg goes on from the faked time, so on a busy machine the key is seconds younger."""


@dataclass
class Keyring:
    """A gpg home with keys good and bad, and each exported to files."""

    home: Path

    def gpg(self, *argv: str, stdin: bytes = b"") -> bytes:
        base = ["gpg", "--homedir", str(self.home), "--batch", "--no-tty", "--pinentry-mode", "loopback"]
        return subprocess.run([*base, *argv], input=stdin, capture_output=True, check=True).stdout

    def add(
        self, name: str, *argv: str, algo: tuple[str, ...] = ("future-default", "default", "0"), phrase: str = ""
    ) -> None:
        self.gpg("--passphrase", phrase, *argv, "--quick-gen-key", f"{name}@example.org", *algo)
        self.export(name, phrase)

    def export(self, name: str, phrase: str = "") -> None:
        (self.home / f"{name}.asc").write_bytes(self.gpg("--armor", "--export", f"{name}@example.org"))
        secret = self.gpg("--passphrase", phrase, "--armor", "--export-secret-keys", f"{name}@example.org")
        (self.home / f"{name}.secret").write_bytes(secret)

    def public(self, name: str) -> str:
        return str(self.home / f"{name}.asc")

    def secret(self, name: str) -> str:
        return str(self.home / f"{name}.secret")

    def fingerprint(self, name: str) -> str:
        listing = self.gpg("--with-colons", "--list-keys", f"{name}@example.org").decode()
        return next(line.split(":")[9] for line in listing.splitlines() if line.startswith("fpr"))

    def revoke(self, name: str) -> None:
        stored = self.home / "openpgp-revocs.d" / f"{self.fingerprint(name)}.rev"
        self.gpg("--import", stdin=stored.read_bytes().replace(b":-----BEGIN", b"-----BEGIN"))
        self.export(name)


@pytest.fixture(scope="session")
def keyring() -> Iterator[Keyring]:
    with tempfile.TemporaryDirectory(prefix="keys-") as home:  # short: an agent's socket has to fit in 108 bytes
        ring = Keyring(Path(home))
        ring.add("alice")
        ring.add("bob", algo=("default", "default", "0"))  # RSA
        ring.add("locked", phrase="s3cret")
        ring.add("signer", algo=("ed25519", "sign", "0"))
        ring.add("expired", *LAST_CENTURY, algo=("future-default", "default", "1y"))
        ring.add("stale", *LAST_CENTURY, algo=("ed25519", "default", "0"))
        fingerprint = ring.fingerprint("stale")
        ring.gpg("--passphrase", "", *A_DAY_LATER, "--quick-add-key", fingerprint, "cv25519", "encr", "1y")
        ring.export("stale")
        ring.add("renewed", *LAST_CENTURY, algo=("ed25519", "default", "0"))
        fingerprint = ring.fingerprint("renewed")
        ring.gpg("--passphrase", "", *A_DAY_LATER, "--quick-add-key", fingerprint, "cv25519", "encr", "1y")
        ring.gpg("--passphrase", "", "--quick-add-key", fingerprint, "cv25519", "encr", "0")
        ring.export("renewed")
        ring.add("revoked")
        ring.revoke("revoked")
        yield ring
        subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=True)


def seal(tool: str, recipients: list[str], chunks: list[bytes]) -> bytes:
    sealed: list[bytes] = []
    with encryptor(recipients, "recipients", gpg=TOOLS[tool]).seal(sealed.append) as sink:
        for chunk in chunks:
            sink(chunk)
    return b"".join(sealed)


def unseal(tool: str, key_file: str | None, sealed: bytes, piece: int = 1 << 20) -> bytes:
    source = (sealed[start : start + piece] for start in range(0, len(sealed), piece))
    return b"".join(decryptor(key_file, gpg=TOOLS[tool]).open(source))


@pytest.mark.parametrize("opener", TOOLS)
@pytest.mark.parametrize("sealer", TOOLS)
@pytest.mark.parametrize("size", [0, 1, 50_000_000], ids=["empty", "byte", "50MB"])
def test_each_opens_what_either_sealed(keyring: Keyring, sealer: str, opener: str, size: int) -> None:
    plain = os.urandom(size)
    chunks = [plain[start : start + 300_000] for start in range(0, size, 300_000)]
    sealed = seal(sealer, [keyring.public("alice"), keyring.public("bob")], chunks)
    assert plain[:16] not in sealed or size < 16
    for owner in ("alice", "bob")[: 1 if size > 1 else 2]:
        assert unseal(opener, keyring.secret(owner), sealed) == plain


@pytest.mark.parametrize("tool", TOOLS)
def test_recipients_are_blocks_or_files(keyring: Keyring, tool: str) -> None:
    block = Path(keyring.public("alice")).read_text()
    chosen = encryptor([block, keyring.public("bob"), keyring.public("alice")], "recipients", gpg=TOOLS[tool])
    assert list(chosen.fingerprints) == [keyring.fingerprint("alice"), keyring.fingerprint("bob")]


def test_recipients_of_the_accounts_keyring(keyring: Keyring, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GNUPGHOME", str(keyring.home))
    chosen = encryptor(["alice@example.org", keyring.fingerprint("bob")], "recipients")
    assert list(chosen.fingerprints) == [keyring.fingerprint("alice"), keyring.fingerprint("bob")]
    sealed: list[bytes] = []
    with chosen.seal(sealed.append) as sink:
        sink(b"by name")
    assert unseal("gpg", None, b"".join(sealed)) == b"by name"
    with pytest.raises(InputError, match=r"recipients\[0\] is nobody@example.org.*keyring does not have"):
        encryptor(["nobody@example.org"], "recipients")
    with pytest.raises(InputError, match=r"recipients\[0\] is 'alice@example.org'.*install gnupg"):
        encryptor(["alice@example.org"], "recipients", gpg=ABSENT)


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("expired", "has expired"),
        ("revoked", "was revoked"),
        ("signer", "no valid subkey for encryption"),
        ("stale", "no valid subkey for encryption"),
    ],
)
def test_an_unusable_key_is_refused_by_name(keyring: Keyring, tool: str, name: str, why: str) -> None:
    with pytest.raises(KeyUnusable, match=rf"recipients\[1\] is the key {keyring.fingerprint(name)}.*{why}"):
        encryptor([keyring.public("alice"), keyring.public(name)], "recipients", gpg=TOOLS[tool])


def test_a_key_that_expired_is_its_own_databases_trouble_and_an_unknown_one_everybodys(keyring: Keyring) -> None:
    database = {"engine": "files", "name": "env", "recipients": [keyring.public("expired")]}
    require_known_recipients("databases[0]", database)
    with pytest.raises(InputError, match=r"databases\[0\].recipients\[0\] is '/nowhere/key.asc'"):
        require_known_recipients("databases[0]", {**database, "recipients": ["/nowhere/key.asc"]})


@pytest.mark.parametrize("tool", TOOLS)
def test_a_fresh_subkey_serves_beside_an_expired_one(keyring: Keyring, tool: str) -> None:
    sealed = seal(tool, [keyring.public("renewed")], [b"fresh"])
    assert unseal("gpg", keyring.secret("renewed"), sealed) == b"fresh"


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("/nowhere/key.asc", r"recipients\[0\] is '/nowhere/key.asc'"),
        ("not a key at all", r"recipients\[0\]"),
        ("-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nnonsense\n", "holds no OpenPGP public key"),
    ],
)
def test_what_is_no_key_is_refused(keyring: Keyring, tool: str, text: str, why: str) -> None:
    with pytest.raises(InputError, match=why) as caught:
        encryptor([text], "recipients", gpg=TOOLS[tool])
    assert not isinstance(caught.value, KeyUnusable)


@pytest.mark.parametrize("tool", TOOLS)
def test_a_secret_key_is_no_recipient_and_is_not_shown(keyring: Keyring, tool: str) -> None:
    block = Path(keyring.secret("alice")).read_text()
    with pytest.raises(InputError, match="is a secret key") as caught:
        encryptor([block], "recipients", gpg=TOOLS[tool])
    assert block.splitlines()[5] not in str(caught.value)


def test_no_recipient_is_refused() -> None:
    with pytest.raises(InputError, match="recipients is empty"):
        encryptor([], "recipients")


def test_a_key_whose_messages_gnupg_could_not_read_is_refused(tmp_path: Path) -> None:
    import pysequoia

    (tmp_path / "new.asc").write_text(str(pysequoia.Tsk.generate("new@example.org").extract_certificate()))
    with pytest.raises(InputError, match="RFC 9580"):
        encryptor([str(tmp_path / "new.asc")], "recipients", gpg=ABSENT)


@pytest.mark.parametrize("opener", TOOLS)
@pytest.mark.parametrize("sealer", TOOLS)
@pytest.mark.parametrize("fault", ["flipped", "cut", "no end", "empty"])
def test_altered_ciphertext_is_damaged(keyring: Keyring, sealer: str, opener: str, fault: str) -> None:
    sealed = bytearray(seal(sealer, [keyring.public("alice")], [os.urandom(3_000_000)]))
    if fault == "flipped":
        sealed[2_000_000] ^= 1
    else:
        del sealed[{"cut": 1_000_000, "no end": -1, "empty": 0}[fault] :]
    with pytest.raises(Damaged, match=r"^The encrypted bytes were altered or cut off"):
        unseal(opener, keyring.secret("alice"), bytes(sealed))


@pytest.mark.parametrize("tool", TOOLS)
def test_what_digests_say_outranks_the_program(keyring: Keyring, tool: str) -> None:
    """The stored bytes' own proof comes at the end of the source, so the source is always read to its end."""

    def source() -> Iterator[bytes]:
        yield b"no OpenPGP at all"
        for _number in range(64):
            yield bytes(1 << 20)
        raise Damaged("its bytes changed.")

    with pytest.raises(Damaged, match=r"^its bytes changed"):
        b"".join(decryptor(keyring.secret("alice"), gpg=TOOLS[tool]).open(source()))


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize(
    ("owner", "why"), [("bob", "none of those"), ("locked", "passphrase"), (None, "decryption_key is '/nowhere'")]
)
def test_a_wrong_key_is_told_from_damage(keyring: Keyring, tool: str, owner: str | None, why: str) -> None:
    recipients = ["alice"] if owner != "locked" else ["locked"]
    sealed = seal("gpg", [keyring.public(name) for name in recipients], [b"for alice only"])
    with pytest.raises(InputError, match=why):
        unseal(tool, keyring.secret(owner) if owner else "/nowhere", sealed)


def dearmored(path: str) -> bytes:
    return subprocess.run(["gpg", "--dearmor"], input=Path(path).read_bytes(), capture_output=True, check=True).stdout


@pytest.mark.parametrize("tool", TOOLS)
def test_a_public_key_is_refused_before_anything_is_read(keyring: Keyring, tool: str) -> None:
    with pytest.raises(InputError, match=r"decryption_key is .*alice.asc, a public key, which decrypts nothing"):
        decryptor(keyring.public("alice"), gpg=TOOLS[tool])


@pytest.mark.parametrize("tool", TOOLS)
def test_a_public_key_that_is_not_armored_is_refused_as_early(tmp_path: Path, keyring: Keyring, tool: str) -> None:
    key = tmp_path / "key"
    key.write_bytes(dearmored(keyring.public("alice")))
    with pytest.raises(InputError, match=r"decryption_key is .*key, a public key, which decrypts nothing"):
        decryptor(str(key), gpg=TOOLS[tool])


@pytest.mark.parametrize(("tool", "before"), [("gpg", False), ("sequoia", False), ("gpg", True)])
def test_a_secret_key_that_is_not_armored_opens(tmp_path: Path, keyring: Keyring, tool: str, before: bool) -> None:
    """gpg takes a keyring, in which a public key may come ``before``; no recipient is one that holds a secret."""
    key = tmp_path / "key"
    key.write_bytes(dearmored(keyring.public("bob")) * before + dearmored(keyring.secret("alice")))
    sealed = seal("gpg", [keyring.public("alice")], [b"for alice only"])
    assert unseal(tool, str(key), sealed) == b"for alice only"
    with pytest.raises(InputError, match="is a secret key"):
        encryptor([str(key)], "recipients", gpg=TOOLS[tool])


@pytest.mark.parametrize("tool", TOOLS)
def test_what_is_no_secret_key_does_not_open(tmp_path: Path, keyring: Keyring, tool: str) -> None:
    (tmp_path / "key").write_bytes(b"no key")
    sealed = seal("gpg", [keyring.public("alice")], [b"for alice only"])
    with pytest.raises(InputError, match="holds no OpenPGP secret key"):
        unseal(tool, str(tmp_path / "key"), sealed)


def test_without_gpg_there_is_no_keyring() -> None:
    with pytest.raises(MissingLibrary, match="install gnupg"):
        decryptor(None, gpg=ABSENT)


def test_without_either_the_remedy_is_named(keyring: Keyring, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pysequoia", None)
    for attempt in (
        lambda: encryptor([keyring.public("alice")], "recipients", gpg=ABSENT),
        lambda: decryptor(keyring.secret("alice"), gpg=ABSENT),
    ):
        with pytest.raises(MissingLibrary, match=r"neither gpg nor .*pysequoia.*: install gnupg"):
            attempt()


@pytest.mark.parametrize("tool", TOOLS)
def test_a_failing_sink_ends_the_program_and_leaves_nothing(
    keyring: Keyring, tool: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(data: bytes) -> None:
        raise OSError(28, "No space left on device")

    with tempfile.TemporaryDirectory(prefix="own-") as own:
        monkeypatch.setattr(tempfile, "tempdir", own)
        monkeypatch.setattr(_cipher_gpg, "_MEMORY", own)
        with (
            pytest.raises(OSError, match="No space"),
            encryptor([keyring.public("alice")], "recipients", gpg=TOOLS[tool]).seal(full) as sink,
        ):
            for _number in range(64):
                sink(os.urandom(1 << 20))
        assert os.listdir(own) == []
        sealed = seal(tool, [keyring.public("alice")], [os.urandom(40_000_000)])
        stream = decryptor(keyring.secret("alice"), gpg=TOOLS[tool]).open(iter([sealed]))
        next(stream)
        stream.close()  # type: ignore[attr-defined] # a reader that loses interest
        assert os.listdir(own) == []


def test_a_program_killed_while_it_seals_fails_the_artefact(keyring: Keyring) -> None:
    chosen = encryptor([keyring.public("alice")], "recipients")
    running: list[Filter] = []
    original = _cipher_program.Filter

    class Watched(original):  # type: ignore[misc, valid-type]
        def __enter__(self) -> Filter:
            running.append(self)
            return self

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_cipher_program, "Filter", Watched)
        with pytest.raises(CommandFailed, match="gpg could not encrypt"), chosen.seal(lambda data: None) as sink:
            sink(b"begun")
            os.kill(running[0]._process.pid, signal.SIGKILL)
            for _number in range(64):
                sink(bytes(1 << 20))


def test_a_hung_program_is_ended() -> None:
    with (
        pytest.raises(TimedOut, match=r"sleep neither took nor gave a byte for 0.2 s"),
        Filter(["sleep", "600"], stall=0.2) as program,
    ):
        for _number in range(64):
            list(program.through(bytes(1 << 20)))
    assert program._process.returncode == -signal.SIGKILL


def test_a_talkative_program_cannot_block() -> None:
    shout = "import sys; sys.stderr.write('x' * 5_000_000); sys.stdout.buffer.write(sys.stdin.buffer.read())"
    with Filter([sys.executable, "-c", shout]) as program:
        seen = sum(len(data) for _number in range(20) for data in program.through(bytes(1 << 20)))
        seen += sum(len(data) for data in program.end())
    assert (seen, program.returncode, len(program.stderr)) == (20 << 20, 0, 16 * 1024)


@pytest.mark.parametrize("tool", TOOLS)
def test_memory_is_bounded(keyring: Keyring, tool: str) -> None:
    chunk = os.urandom(1 << 20)
    chosen = encryptor([keyring.public("alice")], "recipients", gpg=TOOLS[tool])
    tracemalloc.start()
    try:
        with chosen.seal(lambda data: None) as sink:
            for _number in range(100):
                sink(chunk)
        _now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 << 20


@pytest.mark.parametrize("tool", TOOLS)
def test_no_secret_on_a_command_line(keyring: Keyring, tool: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []
    original = subprocess.Popen.__init__

    def watched(self: object, args: list[str], *rest: object, **named: object) -> None:
        seen.append(list(args))
        original(self, args, *rest, **named)  # type: ignore[call-overload]

    sealed = seal(tool, [keyring.public("alice")], [b"canary"])
    monkeypatch.setattr(subprocess.Popen, "__init__", watched)
    assert unseal(tool, keyring.secret("alice"), sealed) == b"canary"
    body = "".join(Path(keyring.secret("alice")).read_text().split("\n\n", 1)[1].split())
    assert seen
    assert not any(body[:40] in "".join(word.split()) for argv in seen for word in argv)
