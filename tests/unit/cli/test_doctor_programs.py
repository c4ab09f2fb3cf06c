"""Doctor's findings about the agent's own programs in supervisor, and about the services."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from release_agent.cli.doctor import FAULT, OK, WARNING, Finding, examine
from release_agent.cli.doctor.supervised import Supervised
from release_agent.system.clock import SystemClock
from release_agent.wiring import Parts
from support.configuration import configuration
from support.privileges import NOBODY
from support.supervisors import own, process, program, started_as, supervising

if TYPE_CHECKING:
    from collections.abc import Sequence

    from support.repositories import Repository

DAEMON = 1
SERVICES = '[[service]]\nname = "web"\n[[service]]\nname = "worker"\n[[service]]\nname = "cron"\nrestart = "none"\n'


def examined(
    repo: Repository,
    *programs: dict[str, Any],
    extra: str = "",
    section: str = "autorestart=false",
    processes: Sequence[dict[str, Any]] = (),
) -> list[Finding]:
    """Return what doctor finds where supervisor has these programs and starts `deploy` as ``section`` says."""
    place = repo.path.parents[1]
    app = f'[app]\nname = "api"\nenvironment = "test"\nroot = "{place}/root"\n'
    repository = f'[[repository]]\nname = "api"\npath = "{repo.path}"\n'
    config = configuration(f"[consul]\nenabled = false\n{extra}", app=app, repository=repository)
    (place / "s.conf").write_text(f"[program:deploy]\n{section}\n[program:boot]\n{section}\n")
    with (
        started_as(place, "-c", place / "s.conf") as pid,
        supervising(programs, processes or [process(p["name"]) for p in programs], pid=pid) as url,
    ):
        parts = Parts(config, SystemClock(), {"SUPERVISOR_SERVER_URL": url})
        return examine(parts, place / "agent.toml", Supervised.ask(parts.services(), {}))


def about(found: list[Finding], check: str) -> list[tuple[str, str]]:
    return [(finding.level, finding.message) for finding in found if finding.check == check]


def test_who_looks_as_another_user_than_the_one_that_deploys_is_warned(repo: Repository) -> None:
    (found,) = [finding for finding in examined(repo, own("deploy", user=12345)) if finding.check == "user"]

    assert (found.level, found.message.partition(", but ")[2]) == (WARNING, "the program deploy runs as 12345")
    assert found.hint.startswith("run doctor as 12345")


def test_an_owner_who_runs_a_service_should_not_deploy(repo: Repository) -> None:
    root = repo.path.parents[1] / "root"
    root.mkdir()
    os.chown(root, DAEMON, DAEMON)

    (found,) = [f for f in examined(repo, own("deploy", user=NOBODY), program("web", user=DAEMON)) if f.check == "program deploy"]

    assert found.message == f"runs as nobody, and {root} belongs to daemon"
    assert found.hint == f"chown -R nobody {root}"


@pytest.mark.parametrize(
    ("owner", "hint"),
    [
        (DAEMON, "set user=daemon in [program:deploy]"),
        (0, "set user= in [program:deploy] to a user that exists and owns {root}"),
        (12346, "set user= in [program:deploy] to a user that exists and owns {root}"),
    ],
)
def test_a_deploy_program_of_a_user_that_was_removed_is_a_fault(repo: Repository, owner: int, hint: str) -> None:
    root = repo.path.parents[1] / "root"
    root.mkdir()
    os.chown(root, owner, owner)

    (found,) = [finding for finding in examined(repo, own("deploy", user=12345)) if finding.check == "program deploy"]

    assert (found.level, found.message) == (FAULT, "runs as 12345, a user that does not exist: supervisor cannot start it")
    assert found.hint == hint.format(root=root)


@pytest.mark.parametrize("user", ["nosuch", "12345", "9" * 30])
def test_a_user_that_supervisord_would_not_start_with_is_a_fault_while_it_runs(repo: Repository, user: str) -> None:
    root = repo.path.parents[1] / "root"
    root.mkdir()
    os.chown(root, DAEMON, DAEMON)
    section = f"autorestart=false\nuser={user}"

    found = [f for f in examined(repo, own("deploy", user=DAEMON), section=section) if f.check == "program deploy"]

    assert [(f.level, f.hint) for f in found] == [(FAULT, "set user=daemon in [program:deploy]")]
    assert found[0].message == f"[program:deploy] has user={user}, a user that does not exist: supervisord does not start with it"


@pytest.mark.parametrize("user", ["daemon", "1", "%(ENV_AGENT_USER)s"])
def test_a_user_by_name_by_number_or_by_variable_is_fine(repo: Repository, user: str) -> None:
    found = examined(repo, own("deploy", user=DAEMON), section=f"autorestart=false\nuser={user}")

    assert about(found, "program deploy")[0][0] == OK


def test_programs_as_they_are_shipped_have_no_fault(repo: Repository) -> None:
    found = examined(repo, own("deploy"), own("boot"), own("monitor"))

    assert about(found, "program deploy") == [(OK, "runs once per request, and supervisor never restarts it")]
    assert about(found, "program boot") == [(OK, "runs once, when the container starts")]
    assert about(found, "monitor") == [(OK, "supervisor has it, as monitor")]


@pytest.mark.parametrize(
    ("section", "value"), [("autorestart=true", "true"), ("", "unexpected"), ("autorestart=unexpected", "unexpected")]
)
def test_a_deploy_program_that_supervisor_would_run_again_is_a_fault(repo: Repository, section: str, value: str) -> None:
    found = examined(repo, own("deploy"), own("boot"), section=section)

    for check in ("program deploy", "program boot"):
        assert about(found, check) == [(FAULT, f"autorestart is {value}: supervisor would run it again after each end")]


def test_where_autorestart_cannot_be_read_doctor_says_so(repo: Repository) -> None:
    ((level, message),) = about(examined(repo, own("deploy"), section="autorestart=%(ENV_X)s"), "program deploy")

    assert level == WARNING
    assert message.startswith("cannot tell whether supervisor restarts it: [program:deploy] autorestart=")


def test_stopwaitsecs_has_to_be_above_what_every_service_takes_to_stop(repo: Repository) -> None:
    slow = [program("web", stopwaitsecs=100), program("worker", stopwaitsecs=90), program("cron", stopwaitsecs=1000)]

    found = examined(repo, own("deploy", stopwaitsecs=433), *slow, extra=SERVICES)

    # 100 + 90 to stop what is restarted; 60 for each of the three services and for all together, 3 to stay healthy.
    assert about(found, "program deploy") == [(WARNING, "stopwaitsecs is 433; a rollback may take 433 s")]
    assert about(examined(repo, own("deploy", stopwaitsecs=434), *slow, extra=SERVICES), "program deploy")[0][0] == OK


def test_services_side_by_side_stop_and_drain_in_the_time_of_the_slowest(repo: Repository) -> None:
    services = '[[service]]\nname = "web"\ndrain = "30s"\n[[service]]\nname = "worker"\nafter = []\n'

    found = examined(repo, own("deploy"), program("web", stopwaitsecs=20), program("worker", stopwaitsecs=300), extra=services)

    # 300 to stop, 60 for both and for all together, 3 to stay healthy.
    assert about(found, "program deploy") == [(WARNING, "stopwaitsecs is 300; a rollback may take 423 s")]


def test_each_process_of_a_rolling_service_has_the_time_to_drain_stop_and_become_healthy(repo: Repository) -> None:
    services = '[[service]]\nname = "web"\nrestart = "rolling"\ndrain = "30s"\n'
    two = [program(f"web_{number}", group="web", stopwaitsecs=100) for number in (0, 1)]

    found = examined(repo, own("deploy"), *two, extra=services)

    # 2 * (30 + 100 + 60), 60 at the end, 3 to stay healthy.
    assert about(found, "program deploy") == [(WARNING, "stopwaitsecs is 300; a rollback may take 443 s")]


def test_stopwaitsecs_has_to_be_above_what_release_toml_asks_for(repo: Repository) -> None:
    wants = '[health]\ndeadline = "2m"\n[[service]]\nname = "web"\n'
    repo.commit({"release.toml": wants}, tag="v2.0.0")

    found = examined(repo, own("deploy", stopwaitsecs=200), program("web", stopwaitsecs=20))

    assert about(found, "program deploy") == [(WARNING, "stopwaitsecs is 200; a rollback may take 263 s")]


def test_before_anything_is_live_a_service_that_was_never_started_is_no_fault(repo: Repository) -> None:
    never = [process("web", "STOPPED", start=0)]

    found = examined(repo, own("deploy"), program("web", user=1), extra='[[service]]\nname = "web"\n', processes=never)

    assert about(found, "service web") == [(OK, "known to supervisor")]


def test_without_a_monitor_doctor_says_what_has_no_effect(repo: Repository) -> None:
    (nothing,) = about(examined(repo, own("deploy")), "monitor")
    (watch,) = about(examined(repo, own("deploy"), extra='[health]\nwatch = "10m"\n'), "monitor")

    assert (nothing[0], watch[0]) == (OK, WARNING)
    assert "[health] watch" in watch[1]


def test_a_watch_that_release_toml_sets_needs_a_monitor(repo: Repository) -> None:
    repo.commit({"release.toml": '[health]\nwatch = "10m"\n'}, tag="v2.0.0")

    (watch,) = about(examined(repo, own("deploy")), "monitor")

    assert watch[0] == WARNING
    assert "[health] watch" in watch[1]


def test_a_boot_that_does_not_run_at_the_start_of_the_container_is_a_warning(repo: Repository) -> None:
    (found,) = about(examined(repo, own("deploy"), own("boot", autostart=False)), "program boot")

    assert found == (WARNING, "autostart is false: nothing starts the services when the container starts")


@pytest.mark.parametrize(("verb", "check"), [("deploy", "program deploy"), ("boot", "program boot"), ("monitor", "monitor")])
def test_a_program_of_the_agent_that_supervisor_has_given_up_is_a_fault(repo: Repository, verb: str, check: str) -> None:
    why = f"unknown error making dispatchers for '{verb}': EACCES"
    programs = [own(each) for each in ("deploy", "boot", "monitor")]
    states = [process(each["name"], spawnerr=why, **{"state": "FATAL"} if each["name"] == verb else {}) for each in programs]

    found = examined(repo, *programs, processes=states)

    assert about(found, check) == [(FAULT, f"is FATAL: {why}")]
    assert sum("is FATAL" in finding.message for finding in found) == 1
