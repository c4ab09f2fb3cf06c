"""The worked examples have one shape, and agree with the documentation."""

from __future__ import annotations

import configparser

import pytest

from release_agent.config.check import check
from support.environment import PROJECT
from support.markdown import page
from support.usual_container import EXAMPLES

PLACE = PROJECT / "examples"
RECIPES = page("docs/guides/without-losing-a-request.md")
SHIPPED = PROJECT / "supervisor.d" / "examples"
# What a program that brings its own environment has otherwise than the recipe of gunicorn.
OWN = {"command", "umask"}


def text_of(example: str, name: str) -> str:
    """Return a file of an example, with another example's name."""
    return (PLACE / example / name).read_text().replace(example, "flask")


def test_every_example_is_on_the_page_of_all() -> None:
    directories = {path.name for path in PLACE.iterdir() if path.is_dir()}

    assert {link.rstrip("/") for link in page("examples/README.md").links()} >= directories


@pytest.mark.parametrize("example", EXAMPLES)
def test_example_has_the_shape_of_the_others(example: str) -> None:
    parts = {"README.md", "broken", "next", "release-agent.toml", "repository", "supervisor.d"}

    assert {path.name for path in (PLACE / example).iterdir()} == parts
    assert text_of(example, "release-agent.toml") == text_of("flask", "release-agent.toml")


@pytest.mark.parametrize("example", EXAMPLES)
def test_page_of_an_example_has_the_parts_and_the_commands_of_the_others(example: str) -> None:
    headings = page(f"examples/{example}/README.md").headings()[1:]

    assert headings == page("examples/flask/README.md").headings()[1:]
    for title in headings:
        assert commands(example, title) == commands("flask", title)


def commands(example: str, title: str) -> list[str]:
    """Return the commands under a heading, without those that only ask the application; with another example's name."""
    (block,) = page(f"examples/{example}/README.md").section(title).examples("sh")
    return [line.replace(example, "flask").replace(" ", "") for line in block.splitlines() if not line.startswith("curl")]


@pytest.mark.parametrize("example", EXAMPLES)
def test_files_of_an_example_have_no_problem(example: str) -> None:
    for name in ("release-agent.toml", "repository/release.toml"):
        assert check(PLACE / example / name).problems == (), name


@pytest.mark.parametrize("example", EXAMPLES)
def test_programs_of_an_example_are_those_of_the_recipes(example: str) -> None:
    for file in (PLACE / example / "supervisor.d").iterdir():
        if not file.is_symlink():
            assert settings(file.read_text()) == settings((SHIPPED / "gunicorn.conf").read_text())
        else:
            assert file.resolve().parent == SHIPPED


def settings(text: str) -> dict[str, dict[str, str]]:
    """Return the settings of supervisor's sections, without those that the examples have of their own."""
    parser = configparser.RawConfigParser(inline_comment_prefixes=(" ;",))
    parser.read_string(text)
    return {name: {key: value for key, value in parser[name].items() if key not in OWN} for name in parser.sections()}


def test_files_that_the_documentation_shows_are_the_same() -> None:
    (nginx,), (php_fpm,) = RECIPES.section("nginx").examples("nginx"), RECIPES.section("PHP-FPM").examples("ini")
    (for_php,) = RECIPES.section("PHP-FPM").examples("nginx")
    (environment,) = page("docs/guides/hooks.md").section("A virtual environment").examples("sh")
    shown = {
        "static/repository/nginx.conf": nginx,
        "php/repository/nginx.conf": nginx.replace("current/public;", f"current/public;\n{for_php}"),
        "php/repository/php-fpm.conf": php_fpm,
        "flask/repository/make-environment": environment,
        "django/repository/make-environment": environment,
    }

    for name, text in shown.items():
        assert plain((PLACE / name).read_text()) == plain(text), name


def plain(text: str) -> list[str]:
    """Return lines without those that name the file."""
    return [line for line in text.splitlines() if not line.startswith(("# nginx.conf", "; php-fpm.conf", "# make-environment"))]
