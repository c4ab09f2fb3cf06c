"""Read the YAML of a maestro-ng file strictly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from release_agent.config.schema import Problem
from release_agent.rollout.inventory.maestro_problems import refusal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def load(path: Path, text: str, problems: list[Problem]) -> dict[str, Any]:
    """Return the mapping in ``text``; a repeated key is a problem, as it is to maestro. Raises Misconfigured."""
    import yaml  # most commands do not need it

    rendered = "of its rendered text"
    try:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
        node = loader.get_single_node()
        problems += [Problem(f"line {line} {rendered}", f'"{key}" is a duplicate') for line, key in _repeated(node)]
        root = loader.construct_document(node) if node else None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        wrong = Problem(f"line {mark.line + 1 if mark else '?'} {rendered}", f"is not YAML: {error.problem}")
        raise refusal(path, [wrong]) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # and other errors of PyYAML
        raise refusal(path, [Problem("its rendered text", f"is not YAML: {' '.join(str(error).split())}")]) from error
    if not isinstance(root, dict):
        raise refusal(path, [Problem("its rendered text", "must be a mapping, of __maestro, ships and services")])
    return root


def _repeated(root: Any) -> Iterator[tuple[int, str]]:  # noqa: ANN401 - a node of PyYAML or none
    """Find duplicate keys of a mapping: their lines, from 1, and the keys."""
    pending, met = [root], set()
    while pending:
        node = pending.pop()
        if id(node) in met or not isinstance(getattr(node, "value", None), list):
            continue
        met.add(id(node))  # an alias may lead back
        keys: set[str] = set()
        for item in node.value:
            key, value = item if isinstance(item, tuple) else (None, item)
            pending.append(value)
            if key is not None and isinstance(key.value, str):
                if key.value in keys:
                    yield key.start_mark.line + 1, key.value
                keys.add(key.value)
