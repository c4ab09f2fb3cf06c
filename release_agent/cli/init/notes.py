"""Note the open points: the facts that init cannot know, and the steps that only a person can take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from release_agent.cli.init import revision, sections
from release_agent.cli.init.configuration import name_of
from release_agent.cli.init.seen import Note
from release_agent.cli.init.servers import port_of
from release_agent.variables import Variable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from release_agent.cli.init.seen import SeenContainer, SeenProgram

_PROGRAMS = "docs/guides/programs.md#let-supervisord-take-them"
_CONTROLLER = "supervisor.ctl_factory=release_agent.plugin:make_controller"


def of(container: SeenContainer) -> Iterator[Note]:
    """Yield the open points of a container."""
    if not container.is_there:
        yield from _of_configuration(container)
    yield from _of_supervisor(container)
    yield from _of_plugin(container)


def _of_configuration(container: SeenContainer) -> Iterator[Note]:
    yield Note("the name of this environment: the configuration says production", "if it is another, edit [app] environment")
    if len(container.repositories) > 1:
        name = name_of(container)
        yield Note(f"the name of the application: the configuration says {name}", "if it is another, edit [app] name")
        places = ", ".join(f"{container.root}/current/{repository.name}" for repository in container.repositories)
        yield Note(f"the place of each repository in a release: the configuration says {places}", "if it is another, edit into")
    yield from revision.notes(container.repositories)
    if not container.services_are_in_repository:
        for program in container.supervisor.programs:
            yield from _of_program(container, program)
        if not any(map(container.runs_from_root, container.supervisor.programs)):
            do = "add its section to supervisor, and a [[service]]: docs/guides/without-losing-a-request.md"
            yield Note(f"the program that runs from {container.root}/current: no section names it, so nothing restarts", do)


def _of_program(container: SeenContainer, program: SeenProgram) -> Iterator[Note]:
    current = f"{container.root}/current"
    code = f"{current}/NAME" if len(container.repositories) > 1 else current
    if not container.runs_from_root(program):
        do = f"set directory={code} and autostart=false in its section, and uncomment its [[service]]"
        yield Note(f"whether a deployment restarts {program.name}: its section does not name {current}", do)
        return
    if len(container.repositories) > 1 and not container.names_repository(program):
        what = f"the repository of {program.name}: its section names {current}, and each repository is in {code}"
        yield Note(what, f"let its section name {code}")
    if port := port_of(program):
        what = f"the health page of {program.name}: the probe only connects to port {port}"
        yield Note(what, "if it has one, use its http probe")
    else:
        yield Note(f"the port of {program.name}: without a probe, RUNNING counts as healthy", "edit its [[service.probe]]")


def _of_supervisor(container: SeenContainer) -> Iterator[Note]:
    seen, (place, ending) = container.supervisor, sections.place_of(container)
    if seen.unreadable:
        yield Note(f"the files that supervisord includes: {seen.unreadable}", f"let [include] read {place}/*{ending}")
    elif place not in [pattern.parent for pattern in seen.include]:
        do = f"add {place}/*{ending} to files= of its [include], or the section, before you go on"
        yield Note(f"a directory for new sections: {seen.file} has no [include] of a whole directory", do)
    if seen.file and "supervisorctl" not in seen.outer:
        do = f"add [supervisorctl] with serverurl={seen.url} to it, before you go on"
        yield Note(f"how supervisorctl reaches supervisord: {seen.file} has no [supervisorctl]", do)
    if not container.has_address:
        do = f'set url = "{seen.url}" in [supervisor], or export {Variable.SUPERVISOR_SERVER_URL}={seen.url}'
        yield Note(f"how a command in a shell finds supervisor: {container.config} has no address", do)
    for name in seen.taken:
        yield Note(f"whether the program {name} is the agent's: it has another command", "rename it, and run init again")
    if seen.has_login:
        do = "add SUPERVISOR_USERNAME and SUPERVISOR_PASSWORD to environment= of the sections, in a file that only root reads"
        yield Note("a place for the password of supervisor: none of the files has it", do)
    if not container.deployer.has_socket and seen.user:
        do = "set chown and chmod in [unix_http_server], and restart supervisord"
        yield Note(f"how {container.deployer.name} reaches supervisor: its socket does not admit this user", do)
    if seen.user:
        what = f"users of their own for the services: supervisord runs as {seen.user}, who owns the releases, and so do they"
        yield Note(what, "start supervisord as root, so that no service can change its own release")
    if not container.deployer.has_log:
        what = f"a place for the log of the agent: supervisord, as {seen.user}, may not open the container's log"
        do = f"`{seen.control} tail deploy stderr` shows it; for the container's log, start the container as {seen.user}"
        yield Note(what, f"{do}, without user= in [supervisord]")


def _of_plugin(container: SeenContainer) -> Iterator[Note]:
    seen = container.supervisor
    if not seen.can_load and not seen.has_plugin:
        do = "install release-agent into the Python of supervisord, and run init again"
        yield Note("whether supervisord can load the plugin: its Python does not find release-agent", do)
    elif not sections.will_have_plugin(container):
        do = f"when a restart of all programs suits, run `{seen.control} reload`; rehearsals need the plugin"
        yield Note("when supervisord may restart: it loads the plugin only at its start", do)
    if container.brings_programs and not seen.takes_programs:
        do = "set programs and program_users in [rpcinterface:release], let [include] read that file, and reload supervisord"
        yield Note("as which users the programs of release.toml may run: supervisord takes none yet", f"{do}: {_PROGRAMS}")
    if seen.file and "ctlplugin:release" not in seen.outer:
        do = f"add [ctlplugin:release] with {_CONTROLLER} to {seen.file}"
        yield Note("whether you want `supervisorctl release`: supervisorctl follows no [include]", do)
