"""Recognise the server of a program, and find the recipe for its restarts and its rehearsal."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING

from release_agent.cli.init.seen import roots_in

if TYPE_CHECKING:
    from release_agent.cli.init.seen import SeenProgram

_ADDRESS_OPTION = re.compile(
    r"(?:^|\s)(?:--bind|--port|--listen|--http|--http-socket|-b|-p|-S)[ =]\s*(?P<host>(?:[\w.*\[\]:-]*:)?)(?P<port>\d{2,5})\b"
)
_HOST_OPTION = re.compile(r"\s--host[ =]\s*(?P<host>[\w.*\[\]:-]+)")
_ADDRESS_OF_SOCKET = re.compile(r"tcp://(?P<host>.*:)(?P<port>\d+)$")
_ANY_HOST = ("", "*", "0.0.0.0", "[::]", "::", "localhost")  # noqa: S104 - only compared
_MOVES = '{ PORT = "{port}" }'
_PAGE = "docs/guides/without-losing-a-request.md"


@dataclass(frozen=True)
class Recipe:
    """The keys for a service. ``title``: of its section in the docs. ``doubt``: the reason why the keys may not fit."""

    title: str
    restart: str = ""
    rehearsal: str = ""
    rehearse: bool = True
    doubt: str = ""
    advice: str = ""

    @property
    def page(self) -> str:
        """Return the address of its section in the docs."""
        anchor = re.sub(r"[^a-z0-9 -]", "", self.title.lower()).replace(" ", "-")
        return f"{_PAGE}#{anchor}"


def address_of(program: SeenProgram) -> str:
    """Return HOST:PORT to connect to a program, empty if its port is unknown."""
    found = _ADDRESS_OF_SOCKET.search(program.socket) or _ADDRESS_OPTION.search(program.command)
    if not found:
        port = program.environment.get("PORT", "")
        return f"127.0.0.1:{port}" if port.isdigit() else ""
    named = _HOST_OPTION.search(program.command)
    host = found["host"].removesuffix(":") or (named["host"] if named else "")
    return f"{'127.0.0.1' if host in _ANY_HOST else host}:{found['port']}"


def port_of(program: SeenProgram) -> str:
    """Return the port that a program listens on, empty if unknown."""
    return address_of(program).rpartition(":")[2]


def recognise(program: SeenProgram) -> Recipe:
    """Return the recipe that fits a program."""
    names = [PurePath(word).name for word in program.command.split()[:4]]
    server = next((known for name in names for known in _SERVERS if name.startswith(known)), "")
    if program.socket:
        return _on_held_socket(program, server)
    if "%(process_num)" in program.environment.get("PORT", ""):
        advice = 'a restart loses requests: set before_stop, after_start and restart = "rolling", as the recipe shows'
        return Recipe("Behind HAProxy", rehearsal=_MOVES, doubt=_control_socket(program, server), advice=advice)
    return _SERVERS[server](program) if server else _plain(program)


def _on_held_socket(program: SeenProgram, server: str) -> Recipe:
    if server == "uvicorn":
        advice = "`uvicorn --fd 0` resets connections when it stops; start serve.py of the recipe instead"
        return Recipe("uvicorn", advice=advice)
    if server == "gunicorn":
        return Recipe("gunicorn on a held socket", doubt=_control_socket(program, server))
    # The recipe of uvicorn starts a server in Python.
    return Recipe("uvicorn" if program.command.startswith("python") else "Node")


def _control_socket(program: SeenProgram, server: str = "gunicorn") -> str:
    if server != "gunicorn" or "control-socket" in program.command:
        return ""
    return "gunicorn 25.1 and later needs --no-control-socket in its command first"


def _gunicorn(program: SeenProgram) -> Recipe:
    reloads = "--chdir" in program.command and "/current" in program.command and not _stays(program)
    moves = _moves(program)
    if reloads and "--preload" not in program.command:
        doubt = _control_socket(program) or _immovable(moves)
        return Recipe("gunicorn that reloads on HUP", restart="signal:HUP", rehearsal=moves, doubt=doubt)
    advice = "a restart loses requests: make its section an [fcgi-program], as the recipe shows"
    doubt = _control_socket(program) or _immovable(moves)
    return Recipe("gunicorn on a held socket", rehearsal=moves, doubt=doubt, advice=advice)


def _uvicorn(program: SeenProgram) -> Recipe:
    return _losing(program, "uvicorn")


def _node(program: SeenProgram) -> Recipe:
    return _losing(program, "Node")


def _nginx(program: SeenProgram) -> Recipe:
    return _reloading(program, Recipe("nginx", restart="signal:HUP", rehearse=False))


def _php_fpm(program: SeenProgram) -> Recipe:
    return _reloading(program, Recipe("PHP-FPM", restart="signal:USR2", rehearse=False))


def _reloading(program: SeenProgram, recipe: Recipe) -> Recipe:
    if not _stays(program):
        return recipe
    advice = "a restart loses requests: start it from outside the release, without directory=, "
    advice += f'then set restart = "{recipe.restart}"'
    return Recipe(recipe.title, rehearse=False, advice=advice)


def _stays(program: SeenProgram) -> bool:
    """Return whether a server stays in its release when it reloads: its directory or its executable is there."""
    return bool(roots_in(f"{program.directory} {program.command.partition(' -')[0]}"))


def _worker(_program: SeenProgram) -> Recipe:
    doubt = "the copy must not take jobs: let it check RELEASE_REHEARSAL first"
    return Recipe("A queue worker", doubt=doubt, advice="set stopwaitsecs above the time of its longest job")


def _plain(program: SeenProgram) -> Recipe:
    return _losing(program, "A program with PORT") if port_of(program) or _moves(program) else _worker(program)


def _losing(program: SeenProgram, title: str) -> Recipe:
    moves = _moves(program)
    advice = "a restart loses requests: make its section an [fcgi-program], as the recipe shows"
    return Recipe(title, rehearsal=moves, doubt=_immovable(moves), advice=advice)


def _moves(program: SeenProgram) -> str:
    """Return the variables that make a copy listen elsewhere, empty if unknown."""
    return _MOVES if "PORT" in program.environment else ""


def _immovable(moves: str) -> str:
    return "" if moves else "the live process has the usual port, so the copy must listen at {port}: pass it to the copy"


_SERVERS = {
    "gunicorn": _gunicorn,
    "uvicorn": _uvicorn,
    "node": _node,
    "npm": _node,
    "yarn": _node,
    "nginx": _nginx,
    "php-fpm": _php_fpm,
    "celery": _worker,
    "rq": _worker,
}
