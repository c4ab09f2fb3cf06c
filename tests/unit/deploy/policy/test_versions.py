from __future__ import annotations

import pytest

from release_agent.deploy.policy import versions


def highest_first(*tags: str, pattern: str = "v*", prereleases: bool = True) -> list[str]:
    return versions.matching(tags, pattern, prereleases=prereleases)[0]


def test_semver_section_11_orders_its_own_example() -> None:
    ascending = ["alpha", "alpha.1", "alpha.beta", "beta", "beta.2", "beta.11", "rc.1"]
    expected = ["v1.0.0", *(f"v1.0.0-{pre}" for pre in reversed(ascending))]

    assert highest_first(*sorted(expected)) == expected


def test_numbers_are_compared_as_numbers() -> None:
    assert highest_first("v1.9.0", "v1.10.0", "v1.2.10", "v2.0.0", "v1.2.9") == [
        "v2.0.0",
        "v1.10.0",
        "v1.9.0",
        "v1.2.10",
        "v1.2.9",
    ]


def test_rc10_comes_after_rc9() -> None:
    assert highest_first("v1.4.0-rc9", "v1.4.0-rc10", "v1.4.0-rc.9", "v1.4.0-rc.10")[:3] == [
        "v1.4.0-rc10",
        "v1.4.0-rc9",
        "v1.4.0-rc.10",
    ]


def test_a_release_comes_after_all_its_candidates() -> None:
    assert highest_first("v1.4.0-rc.99", "v1.4.0", "v1.3.9")[0] == "v1.4.0"


def test_a_candidate_comes_after_the_release_before_it() -> None:
    assert highest_first("v1.3.9", "v1.4.0-alpha")[0] == "v1.4.0-alpha"


def test_a_number_comes_before_a_word_in_a_prerelease() -> None:
    assert highest_first("v1.0.0-1", "v1.0.0-alpha") == ["v1.0.0-alpha", "v1.0.0-1"]


def test_missing_numbers_count_as_nought() -> None:
    assert versions.key("v1.2") is not None
    assert highest_first("v1.2", "v1.2.1", "v1.1.9") == ["v1.2.1", "v1.2", "v1.1.9"]
    assert highest_first("v1.2.0-rc.1", "v1.2")[0] == "v1.2"


def test_build_metadata_makes_no_prerelease() -> None:
    assert highest_first("v1.0.0+build.7", "v0.9.0", prereleases=False) == ["v1.0.0+build.7", "v0.9.0"]


def test_build_metadata_does_not_outrank_a_version() -> None:
    assert highest_first("v1.0.0+zzz", "v1.0.1+aaa", "v1.0.0-rc.1+zzz") == ["v1.0.1+aaa", "v1.0.0+zzz", "v1.0.0-rc.1+zzz"]


@pytest.mark.parametrize("tags", [("v1.2.0", "v1.2"), ("v1.0.0+a", "v1.0.0+b")])
def test_equal_versions_have_one_order_whatever_the_order_they_come_in(tags: tuple[str, str]) -> None:
    assert highest_first(*tags) == highest_first(*reversed(tags))


def test_a_prefix_is_no_part_of_the_version() -> None:
    tags = ("api-v1.9.0", "api-v1.10.0", "web-v7.0.0", "v8.0.0")

    assert highest_first(*tags, pattern="api-v*") == ["api-v1.10.0", "api-v1.9.0"]
    assert highest_first(*tags, pattern="api-*") == ["api-v1.10.0", "api-v1.9.0"]


@pytest.mark.parametrize("pattern", ["*", "[0-9]*", "?.*"])
def test_versions_without_a_v_count_where_the_pattern_says_so(pattern: str) -> None:
    assert highest_first("1.10.0", "1.9.0", pattern=pattern) == ["1.10.0", "1.9.0"]


def test_a_pattern_is_case_sensitive() -> None:
    assert versions.matching(["V1.0.0"], "v*", prereleases=True) == ([], 0)


def test_what_matches_and_is_no_version_is_counted() -> None:
    tags = ["v1.0.0", "vendor", "v-next", "version-two", "v1..0", "nightly"]

    assert versions.matching(tags, "v*", prereleases=True) == (["v1.0.0"], 4)


def test_a_prerelease_left_out_is_no_stray_tag() -> None:
    assert versions.matching(["v1.0.0", "v1.1.0-rc.1"], "v*", prereleases=False) == (["v1.0.0"], 0)


@pytest.mark.parametrize("candidate", ["v2.0.0-rc.1", "v2.0.0rc1", "v2.0.0.rc1", "v2.0.0_beta", "v2.0.0-0", "v2.0.0-rc.1+build"])
def test_prereleases_count_only_where_they_are_wanted(candidate: str) -> None:
    assert highest_first("v1.0.0", candidate, prereleases=True)[0] == candidate
    assert highest_first("v1.0.0", candidate, prereleases=False) == ["v1.0.0"]


def test_no_tags_are_no_versions() -> None:
    assert versions.matching([], "v*", prereleases=True) == ([], 0)


@pytest.mark.parametrize("digits", ["9" * 19, "9" * 5000])
def test_a_huge_number_is_no_version_and_no_crash(digits: str) -> None:
    assert versions.matching([f"v{digits}.0.0", "v1.0.0"], "v*", prereleases=True) == (["v1.0.0"], 1)


def test_a_huge_number_in_a_prerelease_is_no_crash() -> None:
    assert highest_first("v1.0.0", f"v1.0.0-rc{'9' * 5000}", f"v1.0.0-{'9' * 5000}")[0] == "v1.0.0"


@pytest.mark.parametrize("digit", ["٣", "³", "３", "Ⅷ"])
def test_digits_of_other_scripts_are_no_version(digit: str) -> None:
    assert versions.matching([f"v{digit}.0.0", f"v1.0.0-rc{digit}", "v1.0.0"], "v*", prereleases=True) == (["v1.0.0"], 2)
