"""Render a maestro-ng file's template as maestro does."""

from __future__ import annotations

import traceback
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from release_agent.config.schema import Problem
from release_agent.errors import Code, Misconfigured
from release_agent.rollout.inventory.hosts import LARGEST
from release_agent.rollout.inventory.maestro_problems import refusal
from release_agent.system.disk import read_regular

if TYPE_CHECKING:
    from collections.abc import Mapping


def render(path: Path, environ: Mapping[str, str]) -> str:
    """Render the file's text in a sandbox; a variable that is not set is an error, not an empty text. Raises Misconfigured."""
    import jinja2  # most commands do not need it
    from jinja2.sandbox import SandboxedEnvironment  # likewise

    variables = dict(environ)

    class Unset(jinja2.Undefined):
        """An unset variable: False, as in maestro, for ``env.X or "y"`` and ``if env.X``, but not an empty text or list."""

        __slots__ = ()

        @property
        def _undefined_message(self) -> str:
            of_env = self._undefined_obj is variables
            return f"the environment variable {self._undefined_name} is not set" if of_env else super()._undefined_message

        def __str__(self) -> str:
            return self._fail_with_undefined_error()

        def __iter__(self) -> NoReturn:
            self._fail_with_undefined_error()

    try:
        text = read_regular(path, LARGEST).decode()
    except OSError as error:
        message = f"cannot read {path}: {error.strerror}"
        raise Misconfigured(Code.INVENTORY_INVALID, message, hint="write the file, or let this user read it") from error
    except ValueError as error:
        raise refusal(path, [Problem("its text", "must be UTF-8")]) from error
    engine = SandboxedEnvironment(loader=jinja2.FunctionLoader(partial(_beside, path.parent)), undefined=Unset, autoescape=False)
    try:
        return engine.from_string(text).render(env=variables)
    except jinja2.TemplateSyntaxError as error:
        raise refusal(path, [Problem(_where(error.filename, error.lineno), str(error.message))]) from error
    except Exception as error:
        # A template may raise any error. Frames of the template are in files that are not Python's.
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.endswith(".py")]
        where = _where(frames[-1].filename, frames[-1].lineno) if frames else "its template"
        words = str(error.message) if isinstance(error, jinja2.TemplateError) else f"{type(error).__name__}: {error}"
        raise refusal(path, [Problem(where, words)]) from error


def _beside(directory: Path, name: str) -> tuple[str, str, None]:
    """Read an included or imported template, which is in the file's directory as in maestro."""
    import jinja2
    from jinja2.loaders import split_template_path

    place = directory.joinpath(*split_template_path(name))
    try:
        return read_regular(place, LARGEST).decode(), str(place), None
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise jinja2.TemplateNotFound(name, f"there is no file {place}") from error
    except OSError as error:
        message = f"cannot read {place}: {error.strerror}"
        raise jinja2.TemplateError(message) from error


def _where(file: str | None, line: int | None) -> str:
    return f"line {line}" if file in (None, "<template>", "<unknown>") else f"{Path(str(file)).name}, line {line}"
