"""The target of a rollback: from the line, the existing releases, the live release, and the request."""

from __future__ import annotations

import pytest

from release_agent.deploy.policy.line import before, replaced_by, rollback_target
from release_agent.errors import Code, NoTarget
from release_agent.model import Kind, Record, Release, Request, Stage, State, UnfinishedDeployment
from support.roots import release

FAILED, BUILT = State.FAILED, State.BUILT


def name(number: int) -> str:
    return release(number).name


def there(*numbers: int, **states: State) -> list[Release]:
    """Return releases, healthy unless ``r4=FAILED`` says otherwise."""
    return [release(number, states.get(f"r{number}", State.HEALTHY)) for number in numbers]


@pytest.mark.parametrize(
    ("line", "releases", "leaving", "replaced", "goes_to"),
    [
        pytest.param([1, 2, 3], there(1, 2, 3), 3, None, 2, id="the-one-before"),
        pytest.param([1, 2, 3], there(1, 2, 3, r2=FAILED), 3, None, 1, id="a-failed-one-is-skipped"),
        pytest.param([1, 2, 3], there(1, 2, 3, r2=BUILT), 3, None, 1, id="a-release-that-nothing-proved-is-skipped"),
        pytest.param([1, 2, 3], there(1, 3), 3, None, 1, id="one-that-was-pruned-is-skipped"),
        pytest.param([3], there(1, 2, 3), 3, None, None, id="what-was-never-on-the-line-does-not-count"),
        pytest.param([1], there(1), 1, None, None, id="nothing-before-the-first"),
        pytest.param([], there(1, 2), 2, None, None, id="an-empty-line"),
        pytest.param([1, 2, 1], there(1, 2), 1, None, 2, id="a-release-that-was-deployed-twice-is-left-for-what-lay-between"),
        pytest.param([1, 2], there(1, 2, 3, r3=FAILED), 3, None, 2, id="a-release-off-the-line-goes-to-its-end"),
        pytest.param([1, 2], there(1, 2, 3), 3, 2, 2, id="what-it-replaced"),
        pytest.param([1, 2], there(1, 2, 3), 3, 1, 1, id="what-it-replaced-though-the-line-says-another"),
        pytest.param([], there(2, 3), 3, 2, 2, id="what-it-replaced-is-known-without-a-line"),
        pytest.param([1, 2], there(1, 2, 3, r2=FAILED), 3, 2, 1, id="what-it-replaced-has-failed"),
        pytest.param([1, 2, 3], there(1, 2, 3, r2=FAILED), 3, 2, 1, id="before-both"),
        pytest.param([1, 4, 2, 3], there(1, 2, 3, 4, r3=FAILED), 1, 3, 2, id="an-older-one-was-deployed-again"),
        pytest.param([1, 2], there(1, 2), 2, 2, 1, id="the-live-release-was-deployed-once-more"),
    ],
)
def test_a_rollback_goes_to_the_healthy_release_before(
    line: list[int], releases: list[Release], leaving: int, replaced: int | None, goes_to: int | None
) -> None:
    get = {release.name: release for release in releases}.get
    found = before([name(number) for number in line], get, name(leaving), name(replaced) if replaced else None)

    assert (found.number if found else None) == goes_to


def run(stage: Stage, number: int, previous: int) -> UnfinishedDeployment:
    return UnfinishedDeployment(Request("d-1"), stage, Record("d-1", release=name(number), previous=name(previous)), Kind.TAG)


@pytest.mark.parametrize(
    ("unfinished", "replaced"),
    [
        pytest.param([], None, id="no-open-deployment"),
        pytest.param([run(Stage.PREPARING, 3, 2)], None, id="it-has-not-published"),
        pytest.param([run(Stage.PUBLISHING, 4, 2)], None, id="it-published-another"),
        pytest.param([run(Stage.PUBLISHING, 3, 2)], 2, id="it-published-the-live-one"),
        pytest.param([run(Stage.REVERTING, 3, 2)], 2, id="it-goes-back"),
        pytest.param([run(Stage.PUBLISHING, 3, 1), run(Stage.PUBLISHING, 3, 2)], 2, id="the-last-of-two"),
    ],
)
def test_an_open_deployment_knows_what_it_replaced(unfinished: list[UnfinishedDeployment], replaced: int | None) -> None:
    assert replaced_by(release(3), unfinished) == (name(replaced) if replaced else None)


@pytest.mark.parametrize("asked", ["2", "000002", release(2).name, "v2.0.0"])
def test_a_rollback_by_command_goes_to_the_named_release(asked: str) -> None:
    assert rollback_target([name(1), name(3)], there(1, 2, 3), release(3), asked).number == 2


def test_a_rollback_by_command_without_a_name_goes_one_back() -> None:
    assert rollback_target([name(1), name(3)], there(1, 2, 3), release(3), "").number == 1


@pytest.mark.parametrize(
    ("live", "asked", "code", "said"),
    [
        pytest.param(None, "", Code.NO_TARGET, "no release is live", id="nothing-is-live"),
        pytest.param(1, "", Code.NO_TARGET, f"there is no healthy release before {name(1)} \\(v1.0.0\\)", id="nothing-before"),
        pytest.param(3, "v9", Code.RELEASE_UNKNOWN, "there is no release 'v9'", id="unknown"),
        pytest.param(3, "2", Code.RELEASE_FAILED, f"{name(2)} \\(v2.0.0\\) failed", id="failed"),
        pytest.param(3, "4", Code.RELEASE_FAILED, f"{name(4)} \\(v4.0.0\\) was never proved healthy", id="built"),
        pytest.param(3, "5", Code.RELEASE_FAILED, f"{name(5)} \\(v5.0.0\\) was never live", id="staged"),
    ],
)
def test_a_rollback_without_a_target_says_why(live: int | None, asked: str, code: Code, said: str) -> None:
    releases = there(1, 2, 3, 4, 5, r2=FAILED, r4=BUILT, r5=State.STAGED)

    with pytest.raises(NoTarget, match=f"^{said}$") as refused:
        rollback_target([name(1), name(3)], releases, release(live) if live else None, asked)

    assert refused.value.code is code
