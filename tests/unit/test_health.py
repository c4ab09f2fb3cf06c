from __future__ import annotations

import pytest

from release_agent.health import Look, Process, ServiceLook


def test_a_look_at_which_nothing_is_wrong_is_well() -> None:
    well = ServiceLook((Process("web", "web", "RUNNING", 7),))

    assert Look({}).well
    assert Look({"web": well}).well
    assert not Look({"web": well, "jobs": ServiceLook((), ("jobs is down",))}).well


def test_a_look_says_of_each_service_what_is_wrong_and_of_all_together() -> None:
    web = ServiceLook(
        (Process("web", "one", "RUNNING", 7), Process("web", "two", "RUNNING", 8)), ("no connection",), failing=True
    )
    jobs = ServiceLook((Process("jobs", "jobs", "FATAL", 0, "can't find command"),), ("jobs is FATAL",))
    look = Look({"web": web, "jobs": jobs})

    assert (look.problems, look.pids) == (("no connection", "jobs is FATAL"), {7, 8, 0})
    assert (look.failing, look.hopeless) == (True, True)
    assert (Look({"web": web}).hopeless, Look({"jobs": jobs}).failing) == (False, False)


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("STOPPED", set()),
        ("STARTING", {"alive"}),
        ("RUNNING", {"running", "alive"}),
        ("BACKOFF", {"alive"}),
        ("STOPPING", {"stopping"}),
        ("EXITED", set()),
        ("FATAL", {"hopeless"}),
        ("UNKNOWN", {"hopeless"}),
    ],
)
def test_what_a_state_of_supervisor_means(state: str, said: set[str]) -> None:
    process = Process("web", "one", state, 7)

    assert {name for name in ("running", "alive", "stopping", "hopeless") if getattr(process, name)} == said
    assert process.full_name == "web:one"


@pytest.mark.parametrize(("name", "number"), [("web", "0"), ("web_01", "01"), ("web2_7", "7"), ("v2-web", "0"), ("8", "8")])
def test_the_number_of_a_process_is_what_its_name_ends_with(name: str, number: str) -> None:
    assert Process("web", name, "RUNNING", 7).number == number
