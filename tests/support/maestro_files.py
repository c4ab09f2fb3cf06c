"""Make files of maestro-ng, and read them as an inventory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from release_agent.errors import Code, Exit, Misconfigured
from release_agent.rollout.inventory import maestro
from support.configuration import write

if TYPE_CHECKING:
    from pathlib import Path

    from release_agent.rollout.model import InventoryHost

HEAD = "__maestro: {schema: 2}\nname: shop\n"
SHIPS = "ships: {one: {ip: 10.0.0.1}, two: {ip: 10.0.0.2}, three: {ip: 10.0.0.3}}\n"


def read(
    tmp_path: Path, text: str, *services: str, environ: dict[str, str] | None = None, port: int = maestro.PORT
) -> list[InventoryHost]:
    return maestro.read(write(tmp_path / "maestro.yaml", text), services, port=port, environ=environ or {})


def problems_of(tmp_path: Path, text: str, *services: str, environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(Misconfigured) as refused:
        read(tmp_path, text, *services, environ=environ)
    assert (refused.value.exit_code, refused.value.code) == (Exit.MISCONFIGURED, Code.INVENTORY_INVALID)
    first, *problems = refused.value.message.splitlines()
    assert first.endswith(f"in {tmp_path / 'maestro.yaml'}:")
    return [problem.strip() for problem in problems]


def services(requires: dict[str, str]) -> str:
    """Return a file with services of one instance each, on ships of their own, named after them."""
    ships = "".join(f"  {name}: {{ip: {name}.example.org}}\n" for name in requires)
    of = "".join(
        f"  {name}:\n    image: i\n    requires: [{others}]\n    instances: {{{name}-1: {{ship: {name}}}}}\n"
        for name, others in requires.items()
    )
    return f"{HEAD}ships:\n{ships}services:\n{of}"


def ranks(targets: list[InventoryHost]) -> dict[str, int]:
    return {target.service: target.rank for target in targets}


def one(body: str, *, common: str = "") -> str:
    """Return a file with one instance."""
    return f"{HEAD}{SHIPS}services:\n  web:\n    image: i\n{common}    instances:\n      web-1: {body}\n"
