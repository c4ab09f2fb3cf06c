"""The programs of a release make services."""

from __future__ import annotations

import pytest

from release_agent.config.blueprint import combine
from release_agent.config.programs import ProgramFile, groups
from release_agent.errors import Code, Refused
from support.configuration import configuration

TOML = 'programs = "p/*.conf"\n'
WEB, WORKER = "[program:web]\ncommand=x\n", "[program:worker]\ncommand=x\n"
TWO = "".join(f'[[repository]]\nname = "{name}"\npath = "/repos/{name}"\ninto = "{name}"\n' for name in ("api", "web"))


def found(text: str) -> dict[str, bool]:
    return groups([ProgramFile("p/all.conf", text)])


def services(toml: str, text: str, extra: str = "") -> list[str]:
    made = combine(configuration(extra), {"api": TOML + toml}, lambda _repository, _pattern: {"p/all.conf": text})
    return [service.name for service in made.services]


def test_each_program_is_a_group_of_its_own_unless_a_group_has_it() -> None:
    assert found(WEB + WORKER + "[group:all]\nprograms=web, worker\n") == {"all": True}
    assert found(WEB + WORKER + "[group:web]\nprograms=web\n") == {"worker": True, "web": True}
    assert found("[fcgi-program:web]\ncommand=x\n" + WORKER) == {"web": True, "worker": True}


@pytest.mark.parametrize("word", ["false", "no", "OFF", "0"])
def test_a_program_that_is_not_started_makes_no_service(word: str) -> None:
    assert found(f"{WEB}autostart={word}\n{WORKER}") == {"web": False, "worker": True}
    assert services("", f"{WEB}autostart={word}\n{WORKER}") == ["worker"]
    assert services('[[service]]\nname = "web"\n', f"{WEB}autostart={word}\n{WORKER}") == ["web", "worker"]


def test_services_that_are_named_come_first_and_the_others_follow_in_the_order_of_the_files() -> None:
    assert services('[[service]]\nname = "worker"\n', WEB + WORKER) == ["worker", "web"]
    assert services('[[service]]\nname = "db"\n', WORKER + WEB) == ["db", "worker", "web"]


def test_the_containers_own_services_do_not_hide_programs_that_the_release_brings() -> None:
    assert services('[[service]]\nname = "web"\n', WEB + WORKER, '[[service]]\nname = "proxy"\n') == ["proxy", "web", "worker"]


def test_a_service_may_wait_for_one_that_only_a_program_makes_if_that_does_not_follow_it() -> None:
    waits, first = '[[service]]\nname = "web"\nafter = ["worker"]\n', '[[service]]\nname = "{}"\nafter = []\n'

    assert services(waits + first.format("db"), WEB + WORKER) == ["web", "db", "worker"]
    assert services(waits + first.format("worker"), WEB + WORKER) == ["web", "worker"]
    with pytest.raises(Refused, match="web waits for worker waits for web"):
        services(waits, WEB + WORKER)


@pytest.mark.parametrize("text", ["", "no section", "[program:web]\n[program:web]\n", "\0", "[", "[group:x]\nprograms=\n"])
def test_a_file_that_is_no_file_of_supervisors_makes_no_service(text: str) -> None:
    assert services("", text) == []


def test_a_pattern_is_looked_for_in_its_own_repository_and_its_files_have_their_path_in_the_release() -> None:
    asked = []

    def find(repository: str, pattern: str) -> dict[str, str]:
        asked.append((repository, pattern))
        return {"p/b.conf": WORKER, "p/a.conf": WEB}

    made = combine(configuration(repository=TWO), {"web": TOML, "api": ""}, find)

    assert asked == [("web", "p/*.conf")]
    assert [file.path for file in made.programs] == ["web/p/a.conf", "web/p/b.conf"]


@pytest.mark.parametrize("pattern", ["/etc/*.conf", "../*.conf", "*/x.conf", "p/[ab]/x", ".", "a\\u0000b", ".git/x"])
def test_a_pattern_that_leads_elsewhere_is_refused(pattern: str) -> None:
    with pytest.raises(Refused) as refused:
        combine(configuration(), {"api": f'programs = "{pattern}"\n'})

    assert refused.value.code is Code.RELEASE_TOML_INVALID


def test_a_service_section_beside_the_services_is_no_toml_and_the_message_says_so() -> None:
    with pytest.raises(Refused, match="is not TOML"):
        combine(configuration(), {"api": '[service]\nprograms = "p/*.conf"\n[[service]]\nname = "web"\n'})
    with pytest.raises(Refused, match="must be an array of tables"):
        combine(configuration(), {"api": '[service]\nprograms = "p/*.conf"\n'})
