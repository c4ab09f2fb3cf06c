from __future__ import annotations

import pytest

from release_agent.config import blueprint
from release_agent.config.blueprint import Blueprint, combine, fingerprint
from release_agent.errors import Code, Refused
from support.configuration import configuration

TWO = '[[repository]]\nname = "api"\npath = "/r/a"\ninto = "api"\n[[repository]]\nname = "web"\npath = "/r/w"\ninto = "web"\n'
COMMITS = {"api": "a" * 40, "web": "b" * 40}
FILE = """\
[shared]
directories = ["var/uploads"]
files = [".env"]
[hooks]
build = [{ run = "make" }]
before_publish = [{ run = "./migrate" }]
[[service]]
name = "api"
[[service.probe]]
exec = "./ready"
[health]
deadline = "10s"
stable_for = "1s"
"""


def refusal(**files: str) -> Refused:
    with pytest.raises(Refused) as refused:
        combine(configuration(repository=TWO), files)
    return refused.value


def test_without_release_toml_the_container_alone_decides() -> None:
    config = configuration('[[service]]\nname = "web"\n')

    assert combine(config, {}) == Blueprint(config.shared, config.hooks, config.services, config.health)


def test_a_lone_repositorys_file_is_read_as_it_stands() -> None:
    found = combine(configuration(), {"api": FILE})

    assert (found.shared.directories, found.shared.files) == (("var/uploads",), (".env",))
    assert [(hook.run, hook.cwd) for hook in found.hooks.build] == [("make", ".")]
    assert [service.name for service in found.services] == ["api"]
    assert (found.health.deadline, found.health.stable_for) == (10.0, 1.0)


def test_the_containers_sections_win_each_for_itself() -> None:
    config = configuration('[hooks]\nbuild = [{ run = "own" }]\n[health]\ndeadline = "99s"\n')

    found = combine(config, {"api": FILE})

    assert [hook.run for hook in found.hooks.build] == ["own"]
    assert found.hooks.before_publish == ()
    assert found.health.deadline == 99.0
    assert [service.name for service in found.services] == ["api"]
    assert found.shared.files == (".env",)


def test_an_empty_section_of_the_container_wins_too() -> None:
    assert combine(configuration("[shared]\n"), {"api": FILE}).shared.files == ()


def test_the_containers_services_and_shared_paths_win() -> None:
    found = combine(configuration('[shared]\nfiles = ["own"]\n[[service]]\nname = "own"\n'), {"api": FILE})

    assert found.shared.files == ("own",)
    assert [service.name for service in found.services] == ["own"]


def test_two_repositories_hooks_run_in_the_order_of_the_configuration_each_in_its_place() -> None:
    web = '[hooks]\nbuild = [{ run = "npm ci" }, { run = "npm run build", timeout = "5m" }]\n'

    found = combine(configuration(repository=TWO), {"web": web, "api": FILE})

    assert [(hook.run, hook.cwd) for hook in found.hooks.build] == [("make", "api"), ("npm ci", "web"), ("npm run build", "web")]
    assert found.hooks.build[2].timeout == 300.0


def test_two_repositories_shared_paths_and_probes_lie_in_their_places() -> None:
    web = '[shared]\nfiles = [".env"]\n[[service]]\nname = "web"\n'

    found = combine(configuration(repository=TWO), {"api": FILE, "web": web})

    assert found.shared.directories == ("api/var/uploads",)
    assert found.shared.files == ("api/.env", "web/.env")
    assert [(service.name, [probe.cwd for probe in service.probes]) for service in found.services] == [
        ("api", ["api"]),
        ("web", []),
    ]


def test_the_most_patient_health_of_several_repositories_counts() -> None:
    api = '[health]\ndeadline = "10s"\nstable_for = "9s"\n'
    web = '[health]\ndeadline = "70s"\nstable_for = "1s"\n'

    found = combine(configuration(repository=TWO), {"api": api, "web": web}).health

    assert (found.deadline, found.stable_for) == (70.0, 9.0)


def test_a_repository_that_says_nothing_of_health_has_no_say_in_it() -> None:
    found = combine(configuration(repository=TWO), {"api": '[health]\ndeadline = "10s"\n', "web": ""}).health

    assert found.deadline == 10.0


def test_services_of_one_name_in_two_repositories_are_refused() -> None:
    service = '[[service]]\nname = "web"\n'

    error = refusal(api=service, web=service)

    assert error.code is Code.RELEASE_TOML_INVALID
    assert "the release.toml files together" in error.message
    assert 'service.name: "web" is used twice' in error.message


def test_services_of_one_name_do_not_matter_where_the_container_has_its_own() -> None:
    service = '[[service]]\nname = "web"\n'
    config = configuration('[[service]]\nname = "own"\n', repository=TWO)

    assert [found.name for found in combine(config, {"api": service, "web": service}).services] == ["own"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[hook]\nbuild = []\n", 'hook: is not a key here; did you mean "hooks"?'),
        ('[app]\nname = "x"\n', "app: is not a key here"),
        ('[[service]]\nname = "web"\nrestart = "reload"\n', "service[0].restart: must be"),
        ('[[service]]\nname = "web"\n[[service.probe]]\n', "service[0].probe[0]: must have exactly one of http, tcp and exec"),
        ('[shared]\nfiles = ["../x"]\n', "shared.files: must be a relative path"),
        ('[shared]\ndirectories = ["a"]\nfiles = ["a/b"]\n', 'shared: "a" and "a/b" overlap'),
        ('[shared]\nfiles = ["release.toml"]\n', 'shared: "release.toml" would replace release.toml'),
        ("[hooks\n", "is not TOML"),
        ('[hooks]\nbuild = [{ run = "\udcff" }]\n', "release.toml of repository web"),
    ],
)
def test_a_wrong_release_toml_refuses_the_revision_and_names_the_repository(text: str, problem: str) -> None:
    error = refusal(api="", web=text)

    assert error.code is Code.RELEASE_TOML_INVALID
    assert "release.toml of repository web" in error.message
    assert problem in error.message


@pytest.mark.parametrize("shared", ['files = ["api/release.toml"]', 'directories = ["api"]'])
def test_a_shared_path_of_the_container_that_would_replace_a_release_toml_is_refused(shared: str) -> None:
    config = configuration(f"[shared]\n{shared}\n", repository=TWO)

    with pytest.raises(Refused, match=r'shared: "api(/release\.toml)?" would replace api/release\.toml'):
        combine(config, {"api": FILE})

    assert combine(config, {"web": ""}).shared == config.shared, "the repository has no release.toml"


def identity(extra: str = "", commits: dict[str, str] = COMMITS, repository: str = TWO, **files: str) -> str:
    config = configuration(extra, repository=repository)
    return fingerprint(config, commits, combine(config, files))


BASE = '[hooks]\nbuild = [{ run = "make" }]\n[shared]\ndirectories = ["api/var"]\nfiles = ["api/.env"]\n'


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"make"', '"make all"'),
        ('[{ run = "make" }]', '[{ run = "make" }, { run = "make" }]'),
        ('"api/.env"', '"api/.envrc"'),
        ('["api/.env"]', "[]"),
        ('["api/var"]', '["api/var", "web/var"]'),
        ('directories = ["api/var"]\nfiles = ["api/.env"]', 'directories = ["api/.env"]\nfiles = ["api/var"]'),
    ],
)
def test_another_build_hook_or_shared_link_makes_another_release(before: str, after: str) -> None:
    assert before in BASE

    assert identity(BASE.replace(before, after)) != identity(BASE)


@pytest.mark.parametrize("commits", [{**COMMITS, "web": "c" * 40}, {"api": COMMITS["web"], "web": COMMITS["api"]}])
def test_other_commits_make_another_release(commits: dict[str, str]) -> None:
    assert identity(BASE, commits) != identity(BASE)


def test_another_place_makes_another_release() -> None:
    assert identity(BASE, repository=TWO.replace('into = "web"', 'into = "www"')) != identity(BASE)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("[shared]", '[[service]]\nname = "web"\n[shared]'),
        ("[shared]", '[health]\ndeadline = "5s"\n[shared]'),
        ("[shared]", 'after_deploy = [{ run = "true" }]\nbefore_publish = [{ run = "./migrate" }]\n[shared]'),
        ('run = "make"', 'run = "make", timeout = "1m"'),
        ('["api/var"]', '["./api/var/"]'),
    ],
)
def test_service_health_timeout_and_other_hooks_make_the_same_release(before: str, after: str) -> None:
    assert before in BASE

    assert identity(BASE.replace(before, after)) == identity(BASE)


def test_the_same_repository_mounted_elsewhere_makes_the_same_release() -> None:
    assert identity(BASE, repository=TWO.replace("/r/a", "/elsewhere")) == identity(BASE)


def test_the_order_of_shared_paths_makes_the_same_release() -> None:
    assert identity('[shared]\nfiles = ["a", "b"]\n') == identity('[shared]\nfiles = ["b", "a"]\n')


def test_the_order_of_build_hooks_makes_another_release() -> None:
    hooks = '[hooks]\nbuild = [{{ run = "{}" }}, {{ run = "{}" }}]\n'

    assert identity(hooks.format("a", "b")) != identity(hooks.format("b", "a"))


def test_a_build_hook_in_another_repositorys_place_makes_another_release() -> None:
    hook = '[hooks]\nbuild = [{ run = "make" }]\n'

    assert identity(api=hook) != identity(web=hook)


def test_a_fingerprint_is_64_hex_digits() -> None:
    assert len(bytes.fromhex(identity())) == 32


def test_the_file_lies_at_the_root_of_a_repository() -> None:
    assert blueprint.FILE == "release.toml"


def test_another_umask_of_a_build_hook_makes_another_release() -> None:
    hook = '[hooks]\nbuild = [{{ run = "make", umask = "{}" }}]\n'

    assert len({identity(hook.format(umask)) for umask in ("", "002", "022")}) == 3
    assert identity(hook.format("")) == identity('[hooks]\nbuild = [{ run = "make" }]\n')


def test_a_service_may_wait_for_one_of_another_repository_and_not_for_an_unknown_one() -> None:
    web = '[[service]]\nname = "web"\nafter = ["api"]\n'

    assert [service.after for service in combine(configuration(repository=TWO), {"api": FILE, "web": web}).services] == [
        None,
        ("api",),
    ]
    error = refusal(web=web)
    assert error.code is Code.RELEASE_TOML_INVALID
    assert 'service[0].after: "api" is not the name of a service' in error.message


def test_a_circle_in_one_of_several_files_is_told_with_the_name_of_its_repository() -> None:
    message = refusal(web='[[service]]\nname = "web"\nafter = ["db"]\n[[service]]\nname = "db"\n').message

    assert "release.toml of repository web" in message
    assert "web waits for db waits for web" in message


def test_a_circle_is_told_with_everything_else_that_is_wrong_in_a_lone_repositorys_file() -> None:
    text = '[[service]]\nname = "web"\nafter = ["db"]\n[[service]]\nname = "db"\nrestart = "never"\n'

    with pytest.raises(Refused) as refused:
        combine(configuration(), {"api": text})

    assert refused.value.code is Code.RELEASE_TOML_INVALID
    assert "2 problems" in refused.value.message
    assert "web waits for db waits for web" in refused.value.message


def test_a_services_commands_run_in_the_place_of_its_repository() -> None:
    text = '[[service]]\nname = "web"\nbefore_stop = "./leave"\ndrain = "5s"\n'

    (service,) = combine(configuration(repository=TWO), {"web": text}).services

    assert (service.before_stop, service.after_start, service.drain, service.cwd) == ("./leave", "", 5.0, "web")
