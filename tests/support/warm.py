"""Start the installed programs without their imports: a process that has imported everything forks for each start.

Python's imports are most of the cost of a command, and the tests start thousands. The fork runs the program's own entry
point in a process of its own, with its own arguments, environment, user and signals.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from support.environment import BIN, clean_environment

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ENTRIES = {
    "release-agent": "release_agent.cli.main:main",
    "supervisord": "supervisor.supervisord:main",
    "supervisorctl": "supervisor.supervisorctl:main",
    "scene": "support.terminal_scenes:play",
}
# Modules that the programs import besides the agent, at their start or later.
_IMPORTED = ("structlog", "git", "requests", "consul", "rich.live", "supervisor.supervisord", "supervisor.supervisorctl")
_LONGEST, _MOST = 1 << 20, 8  # bytes and descriptors of a request
_HIGH = 500  # above every descriptor of the server
_STARTED = "started"  # file that lists the agents that a supervisord has started


class Program:
    """A started program, with the methods of subprocess.Popen."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._told = connection.makefile("r")
        self.pid = int(self._told.readline())
        self.returncode: int | None = None

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code, negative for a signal; raises subprocess.TimeoutExpired."""
        if self.returncode is None:
            if not select.select([self._connection], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
            self.returncode = int(self._told.readline())
            self._told.close()
            self._connection.close()
        return self.returncode

    def poll(self) -> int | None:
        """Return the exit code if the program has ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):  # it has ended since, and its parent has reaped it
                os.kill(self.pid, number)

    def kill(self) -> None:
        """Send KILL."""
        self.send_signal(signal.SIGKILL)


def start(
    command: Sequence[object], environment: Mapping[str, str], descriptors: Sequence[int], *, stopped: bool = False
) -> Program:
    """Start one of the programs; ``descriptors``: its own from 0 on. ``stopped``: it first waits for SIGCONT."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(_server())
    words = [str(word) for word in command]
    argv = [str(BIN / words[0]), *words[1:]]
    request = json.dumps({"argv": argv, "environ": dict(environment), "cwd": str(Path.cwd()), "stopped": stopped})
    socket.send_fds(connection, [request.encode() + b"\n"], list(descriptors))
    return Program(connection)


def run(command: Sequence[object], environment: Mapping[str, str], timeout: float) -> tuple[int, str, str]:
    """Run one of the programs to its end, without input; returns its exit code and its output."""
    with Path(os.devnull).open() as nothing, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        code = start(command, environment, [nothing.fileno(), out.fileno(), err.fileno()]).wait(timeout)
        printed = []
        for file in (out, err):
            file.seek(0)
            printed.append(file.read().decode())
    return code, *printed


@cache
def _server() -> str:
    """Start the server that forks; returns its address. The server ends with this process."""
    place = Path(tempfile.mkdtemp(prefix="ra-warm-"))
    environment = clean_environment() | {"PYTHONPATH": str(Path(__file__).parents[1])}
    command = [BIN / "python", "-P", "-c", "import sys; from support.warm import serve; serve(sys.argv[1])", place / "socket"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
    assert process.stdout
    assert process.stdout.readline() == b"ready\n"
    atexit.register(_end, process)
    return str(place / "socket")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the server; running programs continue."""
    assert process.stdin
    process.stdin.close()
    process.wait()


def serve(place: str) -> None:
    """Fork a program for each connection, until the input ends."""
    for module in (*_of_the_agent(), "support.terminal_scenes", *_IMPORTED):
        importlib.import_module(module)
    # These variables belong to the tests, not to the programs.
    sys.path[:] = [path for path in sys.path if path != os.environ["PYTHONPATH"]]
    gc.collect()
    gc.freeze()
    running: dict[int, tuple[int, socket.socket]] = {}  # by pidfd: the pid of a program, and the client that waits for its end
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(place)
        listening.listen(64)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while True:
            ready, _, _ = select.select([listening, sys.stdin, *running], [], [])
            if sys.stdin in ready:
                break
            for ended in running.keys() & set(ready):
                _tell_end(*running.pop(ended))
                os.close(ended)
            if listening in ready:
                connection, _ = listening.accept()
                pid = _fork(connection)
                running[os.pidfd_open(pid)] = pid, connection
    Path(place).unlink()
    Path(place).parent.rmdir()


def _of_the_agent() -> Iterator[str]:
    """Name the agent's modules, except the plugin, which supervisord imports itself."""
    package = importlib.import_module("release_agent")
    for module in pkgutil.walk_packages(package.__path__, "release_agent."):
        if not module.name.startswith(("release_agent.plugin", "release_agent.__main__")):
            yield module.name


def _fork(connection: socket.socket) -> int:
    """Start the requested program, and send its pid."""
    text, descriptors, _, _ = socket.recv_fds(connection, _LONGEST, _MOST)
    while not text.endswith(b"\n"):
        text += connection.recv(_LONGEST)
    pid = os.fork()
    if pid == 0:
        _become(json.loads(text), *descriptors)
    for descriptor in descriptors:
        os.close(descriptor)
    connection.sendall(f"{pid}\n".encode())
    return pid


def _tell_end(pid: int, connection: socket.socket) -> None:
    """Send the exit code of a program."""
    _, status = os.waitpid(pid, 0)
    with connection, contextlib.suppress(OSError):  # the client no longer waits
        connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())


def _become(request: dict[str, object], *descriptors: int) -> NoReturn:
    """Become the program."""
    # Move the descriptors away first, so that none overwrites another.
    moved = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, _HIGH) for descriptor in descriptors]
    os.closerange(3, _HIGH)
    for number, descriptor in enumerate(moved):
        os.dup2(descriptor, number)
        os.close(descriptor)
    code = 1
    try:
        argv, environ, cwd = request["argv"], request["environ"], request["cwd"]
        assert isinstance(argv, list)
        assert isinstance(environ, dict)
        os.environ.clear()
        os.environ.update(environ)
        os.chdir(str(cwd))
        sys.path[:0] = [path for path in environ.get("PYTHONPATH", "").split(":") if path]
        sys.argv = argv
        if request["stopped"]:
            os.kill(os.getpid(), signal.SIGSTOP)
        if Path(argv[0]).name == "supervisord":
            _fork_what_it_starts()
        code = _call(Path(argv[0]).name, environ)
    except BaseException:  # noqa: BLE001 - as Python has it
        traceback.print_exc()
    finally:
        os._exit(code)


def _call(program: str, environ: Mapping[str, str]) -> int:
    """Call a program's entry point; returns its exit code."""
    code = 1
    try:
        _open_streams(environ.get("PYTHONIOENCODING", "utf-8"))
        module, _, name = ENTRIES[program].partition(":")
        getattr(importlib.import_module(module), name)()
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:  # noqa: BLE001 - as Python has it
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
    return code


def _fork_what_it_starts() -> None:
    """Let supervisord's child become the agent without execve(2), because its modules are already imported."""
    execute = os.execve

    def become(file: str, argv: list[str], environ: dict[str, str]) -> NoReturn:
        if Path(file) != BIN / "release-agent":
            execute(file, argv, environ)
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            with contextlib.suppress(OSError, ValueError):
                if callable(signal.getsignal(number)):
                    signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.environ.clear()
        os.environ.update(environ)
        sys.argv = argv
        _note_start(environ)
        os._exit(_call("release-agent", environ))

    os.execve = become  # type: ignore[assignment]


def _note_start(environ: Mapping[str, str]) -> None:
    """Note the process for :func:`kill_started`, because its command line is not the agent's."""
    with (Path(environ["RELEASE_AGENT_CONFIG"]).parent / _STARTED).open("a") as file:
        file.write(f"{os.getpid()} {_started_at(os.getpid())}\n")


def expect_starts(place: Path) -> None:
    """Make the file in which any user notes the agents that a supervisord starts for the configuration in a directory."""
    (place / _STARTED).touch()
    (place / _STARTED).chmod(0o666)


def kill_started(place: Path) -> None:
    """Kill every agent that a supervisord has started for the configuration in a directory."""
    started = place / _STARTED
    for line in started.read_text().splitlines() if started.exists() else ():
        pid, at = line.split()
        with contextlib.suppress(OSError):
            if _started_at(int(pid)) == at:
                os.kill(int(pid), signal.SIGKILL)


def _started_at(pid: int) -> str:
    """Return the start of a process, which distinguishes it from a later one with the same pid (proc(5))."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]


def _open_streams(encoding: str) -> None:
    """Open Python's standard streams; to replace them closes no descriptor of supervisord's."""
    sys.stdin = os.fdopen(0, encoding=encoding, closefd=False)
    sys.stdout = os.fdopen(1, "w", encoding=encoding, closefd=False)
    sys.stderr = os.fdopen(2, "w", encoding=encoding, errors="backslashreplace", closefd=False)
