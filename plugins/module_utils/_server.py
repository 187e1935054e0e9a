# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A database server as a child of this process: unprivileged, on loopback, gone with its parent.

Passwords reach the servers on stdin, so they are in no argv, no environment and no file.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import pwd
import resource
import signal
import socket
import subprocess  # nosec B404: argv lists only
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

from ._errors import Busy, CommandFailed, EngineError, InputError, TimedOut
from ._scratch import PREFIX, unusable

LOOPBACK = "127.0.0.1"
ACCOUNTS = ("nobody", "postgres")
"""Who runs a server that root asked for: the first that exists."""

FAST_POSTGRES: Mapping[str, str] = {
    "fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "wal_level": "minimal",
    "max_wal_senders": "0", "autovacuum": "off", "max_wal_size": "16GB", "checkpoint_timeout": "1d",
    "shared_buffers": "256MB", "maintenance_work_mem": "256MB", "jit": "off",
}  # fmt: skip
"""For a server whose data may be lost at any moment: loading fast is all it is for."""

_PR_SET_PDEATHSIG = 1
_LOG_LINES = 8
_LIBC = ctypes.CDLL(None, use_errno=True)  # loaded here: nothing may be imported between fork and exec


class Account(NamedTuple):
    """An existing unprivileged account."""

    uid: int
    gid: int
    name: str


def account(run_as: str | None, variable: str = "run_as") -> Account | None:
    """Whom a server has to run as: ``None`` unless we are root, which PostgreSQL refuses to run under.

    ``variable`` is where the operator names it.
    """
    if os.geteuid() != 0:
        return None
    for name in (run_as,) if run_as else ACCOUNTS:
        with suppress(KeyError):
            entry = pwd.getpwnam(name)
            if entry.pw_uid == 0:
                raise InputError(
                    f"{variable} is root, but a server must not run as root: name an unprivileged account."
                )
            return Account(entry.pw_uid, entry.pw_gid, name)
    if run_as:
        raise InputError(f"{variable} is {run_as!r}, but this host has no such account: name one that exists.")
    raise InputError(
        f"{variable} is not set and this host has none of the accounts {', '.join(ACCOUNTS)}: "
        "name an unprivileged account that exists, or run as an ordinary user."
    )


def give(directory: str, owner: Account | None) -> str:
    """Make ``directory`` (created 0700 when missing) the server's own; it must be able to get there.

    A scratch directory of ours around it is opened to pass through; other directories' modes are not ours to change.
    """
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
    except OSError as error:
        raise unusable(directory, error) from None
    if owner:
        os.chown(directory, owner.uid, owner.gid)
        parent = os.path.dirname(os.path.abspath(directory))
        if os.path.basename(parent).startswith(PREFIX) and os.stat(parent).st_uid == os.geteuid():
            os.chmod(parent, 0o711)  # noqa: S103 - to pass through and see nothing
        if not reachable(directory, owner):
            raise InputError(
                f"{directory} cannot be reached by the account {owner.name}, under which its server runs: "
                "name a directory whose parents everybody may pass, such as one in /var/tmp."
            )
    return directory


def reachable(path: str, who: Account | None) -> bool:
    """Whether ``who`` may pass every directory on the way to ``path``, and read and enter or run ``path`` itself."""
    if who is None:
        return os.access(path, os.R_OK | os.X_OK)
    path = os.path.realpath(path)
    parents = []
    parent = path
    while parent != os.path.dirname(parent):
        parent = os.path.dirname(parent)
        parents.append(parent)
    return _may(path, who, 0o5) and all(_may(parent, who, 0o1) for parent in parents)


def _may(path: str, who: Account, wanted: int) -> bool:
    try:
        status = os.stat(path)
    except OSError:
        return False
    shift = 6 if status.st_uid == who.uid else 3 if status.st_gid == who.gid else 0
    return (status.st_mode >> shift) & wanted == wanted


def free_port() -> int:
    """A port that was free a moment ago; whoever uses it must cope with losing the race."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def follow(parent: int) -> None:
    """Have the kernel end this process together with ``parent``; a later change of account undoes it."""
    # SIGQUIT is PostgreSQL's immediate shutdown, which frees its shared memory; other servers just end. Who was started in the
    # background by a script has it ignored, and so would they.
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT, 0, 0, 0)
    if os.getppid() != parent:  # it ended in between
        os._exit(1)


def spawn(
    argv: Sequence[str], *, account: Account | None, env: Mapping[str, str] | None = None, cwd: str = "/",
    stderr_path: str, stdin: bytes = b"", die_with_parent: bool = True, pid_file: str | None = None,
) -> subprocess.Popen[bytes]:  # fmt: skip
    """Start a server in a session of its own; both its output streams are appended to ``stderr_path``.

    The environment is ``env`` and the bare minimum, never ours. With ``die_with_parent`` the kernel ends it when the
    *thread* that started it ends, however that happens: start it from the thread that will use it. ``pid_file`` is
    locked by the server and its children for as long as one of them lives: ``running`` finds it again.
    """
    if account and not reachable(argv[0], account):
        raise InputError(
            f"{argv[0]} cannot be run by the account {account.name}, under which its server runs: "
            "install it where everybody may read it, or set run_as to an account that may."
        )
    parent = os.getpid()

    def prepare() -> None:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if die_with_parent:
            follow(parent)
        if held is not None:
            os.truncate(held, 0)
            os.write(held, b"%d\n" % os.getpid())

    opened: list[int] = []
    held = None
    try:
        source, sink = os.pipe()
        opened += source, sink
        log = os.open(stderr_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        opened.append(log)
        if pid_file:
            held = os.open(pid_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            opened.append(held)
            _lock(held, pid_file)
        if account:
            os.fchown(source, account.uid, account.gid)  # so that the child may open /dev/stdin by name
        process = subprocess.Popen(  # pylint: disable=ansible-bad-function  # an argv list, no shell
            list(argv), stdin=source, stdout=log, stderr=log, cwd=cwd, start_new_session=True,
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC", **(env or {})},
            preexec_fn=prepare,  # noqa: PLW1509 - nothing in it takes a lock
user=account.uid if account else None, group=account.gid if account else None,
            extra_groups=[] if account else None, pass_fds=() if held is None else (held,),
        )  # fmt: skip
        with suppress(BrokenPipeError):  # it ended at once: its log says why
            os.write(sink, stdin)
    except (OSError, subprocess.SubprocessError) as error:
        raise CommandFailed(f"{argv[0]} could not be started: {error}.") from None
    finally:
        for fd in opened:
            os.close(fd)
    return process


def _lock(fd: int, path: str) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise Busy(f"The server of {path} is running already: stop it first.") from None


def running(pid_file: str) -> int | None:
    """The process that ``spawn`` started with this ``pid_file``, while it or a child of it lives."""
    try:
        with open(pid_file, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return None
    except BlockingIOError:
        with open(pid_file, "rb") as file:
            return int(file.read() or 0)
    return None


def end(process: subprocess.Popen[bytes], first: int = signal.SIGQUIT, timeout: float = 10.0) -> None:
    """Stop a server: politely with the signal ``first``, then by killing its whole session."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            process.send_signal(first)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def log_end(path: str) -> str:
    """The last lines of a server's log, for an error message."""
    try:
        with open(path, "rb") as log:
            log.seek(max(os.path.getsize(path) - 4096, 0))
            lines = log.read().decode(errors="replace").splitlines()
    except OSError:
        lines = []
    return " | ".join(line.strip() for line in lines[-_LOG_LINES:] if line.strip()) or "nothing in its log"


def await_ready(
    process: subprocess.Popen[bytes], ready: Callable[[], bool], *, what: str, stderr_path: str, timeout: float
) -> None:
    """Return once ``ready()``; an error with the end of the log when the server ends or the time is up first."""
    deadline = time.monotonic() + timeout
    while not ready():
        if process.poll() is not None:
            raise EngineError(f"{what} did not start (it ended with {process.returncode}): {log_end(stderr_path)}.")
        if time.monotonic() > deadline:
            raise TimedOut(f"{what} was not ready within {timeout:g} s: {log_end(stderr_path)}.")
        time.sleep(0.02)


@dataclass(frozen=True)
class Server:
    """A running server on loopback. ``stop`` is safe to call twice."""

    process: subprocess.Popen[bytes]
    port: int
    stderr_path: str
    host: str = LOOPBACK

    def stop(self) -> None:
        """End it at once; what it held in memory only is lost."""
        end(self.process)


def initdb(bin_dir: str, data_dir: str, *, account: Account | None, user: str, password: str, timeout: float) -> None:
    """Make an empty cluster in ``data_dir``, UTF-8, whose superuser is ``user``; every login needs a password."""
    give(data_dir, account)
    log = f"{data_dir}.initdb.log"
    argv = initdb_argv(os.path.join(bin_dir, "initdb"), data_dir, user)
    process = spawn(argv, account=account, stderr_path=log, stdin=f"{password}\n".encode())
    try:
        returncode = process.wait(timeout)
    except subprocess.TimeoutExpired:
        raise TimedOut(f"initdb did not finish within {timeout:g} s in {data_dir}: {log_end(log)}.") from None
    finally:
        end(process)
    if returncode != 0:
        raise EngineError(f"initdb failed in {data_dir}: {log_end(log)}.")
    os.unlink(log)


def initdb_argv(program: str, data_dir: str, user: str) -> list[str]:
    """The command that makes such a cluster; the password comes on stdin."""
    return [
        program, "--pgdata", data_dir, "--username", user, "--pwfile", "/dev/stdin",
        "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C", "--no-sync", "--no-instructions",
    ]  # fmt: skip


def postgres_argv(bin_dir: str, data_dir: str, *, port: int, settings: Mapping[str, str]) -> list[str]:
    """The command of a PostgreSQL server that listens on loopback TCP only: socket paths have a length limit."""
    fixed = {
        "listen_addresses": LOOPBACK, "port": str(port), "unix_socket_directories": "", "logging_collector": "off",
        "log_destination": "stderr",
    }  # fmt: skip
    argv = [os.path.join(bin_dir, "postgres"), "-D", data_dir]
    for name, value in {**settings, **fixed}.items():
        argv += ["-c", f"{name}={value}"]
    return argv


def start_postgres(
    bin_dir: str, data_dir: str, *, account: Account | None, settings: Mapping[str, str], stderr_path: str,
    port: int = 0, timeout: float = 60.0, die_with_parent: bool = True, pid_file: str | None = None,
) -> Server:  # fmt: skip
    """Start a server on the cluster in ``data_dir`` and return once it takes connections. ``port`` 0: any free one."""
    status_file = os.path.join(data_dir, "postmaster.pid")

    def start(chosen: int) -> Server:
        process = spawn(
            postgres_argv(bin_dir, data_dir, port=chosen, settings=settings), account=account,
            stderr_path=stderr_path, die_with_parent=die_with_parent, pid_file=pid_file,
        )  # fmt: skip
        return Server(process, chosen, stderr_path)

    def ready(server: Server) -> bool:
        # The server itself says so in its pid file; asking by connection would need a password and a library.
        try:
            with open(status_file, encoding="utf-8") as file:
                lines = file.read().split("\n")
        except OSError:
            return False
        return lines[0] == str(server.process.pid) and len(lines) > 7 and lines[7].strip() == "ready"

    return launch("PostgreSQL", start, ready, port=port, timeout=timeout)


def redis_config(settings: Mapping[str, str], *, port: int, password: str, directory: str) -> bytes:
    """What a Redis server reads on stdin. A setting's value is one argument, except ``save``: as in its manual."""
    fixed = {
        "bind": LOOPBACK, "port": str(port), "requirepass": password, "dir": directory, "daemonize": "no",
        "logfile": "",
    }  # fmt: skip
    lines = []
    for name, value in {**fixed, **settings}.items():
        quoted = value.replace("\\", "\\\\").replace('"', '\\"')
        lines.append(f"save {value}" if name == "save" and value else f'{name} "{quoted}"')
    return ("\n".join(lines) + "\n").encode()


def redis_argv(binary: str) -> list[str]:
    """The command of a Redis server that reads its configuration on stdin."""
    return [binary, "-"]


def start_redis(
    binary: str, directory: str, *, account: Account | None, password: str, settings: Mapping[str, str],
    stderr_path: str, port: int = 0, timeout: float = 60.0, die_with_parent: bool = True, pid_file: str | None = None,
) -> Server:  # fmt: skip
    """Start a Redis server in ``directory`` and return once it has loaded its data. ``port`` 0: any free one."""
    give(directory, account)

    def start(chosen: int) -> Server:
        config = redis_config(settings, port=chosen, password=password, directory=directory)
        process = spawn(
            redis_argv(binary), account=account, cwd=directory, stderr_path=stderr_path, stdin=config,
            die_with_parent=die_with_parent, pid_file=pid_file,
        )  # fmt: skip
        return Server(process, chosen, stderr_path)

    secret = password.encode()
    login = b"*2\r\n$4\r\nAUTH\r\n$%d\r\n%s\r\n" % (len(secret), secret) if secret else b""

    def ready(server: Server) -> bool:
        # Asked in its own words, because a client library would have to be loaded first. It says -LOADING until done.
        with suppress(OSError), socket.create_connection((LOOPBACK, server.port), timeout=1) as connection:
            connection.sendall(login + b"*1\r\n$4\r\nPING\r\n")
            with connection.makefile("rb") as replies:
                return (not login or replies.readline(512) == b"+OK\r\n") and replies.readline(512) == b"+PONG\r\n"
        return False

    return launch("Redis", start, ready, port=port, timeout=timeout)


def launch(
    what: str, start: Callable[[int], Server], ready: Callable[[Server], bool], *, port: int, timeout: float
) -> Server:
    """``start`` on ``port``, or (0) on a free one, and return once ``ready``; whatever happens, nothing is left behind.

    Somebody may take a free port before the server does, so that is tried again.
    """
    attempts = 1 if port else 3
    while True:
        attempts -= 1
        server = start(port or free_port())
        try:
            await_ready(
                server.process, lambda running=server: ready(running),  # type: ignore[misc]
                what=what, stderr_path=server.stderr_path, timeout=timeout,
            )  # fmt: skip
        except EngineError:
            if not attempts or "in use" not in log_end(server.stderr_path):
                raise
        except BaseException:
            end(server.process)
            raise
        else:
            return server
