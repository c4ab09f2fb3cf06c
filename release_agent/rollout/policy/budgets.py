"""Decide when too many hosts have failed or are unreachable."""

from __future__ import annotations

from typing import TYPE_CHECKING

from release_agent.rollout.model import HostStage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from release_agent.rollout.model import Host, Rollout
    from release_agent.rollout.options import Options


def too_many_lost(rollout: Rollout) -> str:
    """Return the reason why a rollout must stop; empty if it may continue.

    A rollout stops if a budget is exceeded. With any budgets, it also stops if every host of the current wave, or of an
    application, is lost, or if a host cannot stage.
    """
    if rollout.is_staging:
        return _cannot_stage(rollout)
    exceeded = over_budget(list(rollout.hosts.values()), rollout.options)
    if exceeded:
        return exceeded
    waves = rollout.waves
    groups = {f"wave {rollout.wave + 1}": waves[rollout.wave]} if waves else {}
    groups |= {one.name: [host for host in rollout.hosts.values() if host.app == one.name] for one in rollout.applications}
    lost = next((name for name, hosts in groups.items() if all_lost(hosts)), "")
    return f"no host of {lost} took the revision and stayed healthy" if lost else ""


def _cannot_stage(rollout: Rollout) -> str:
    lost = next((host for host in rollout.at(HostStage.FAILED, HostStage.UNREACHABLE) if host.wave >= 0), None)
    return f"{lost.name} cannot stage {rollout.revision}; no host was changed" if lost else ""


def over_budget(hosts: Sequence[Host], options: Options) -> str:
    """Return a message about an exceeded budget, or an empty text; as many hosts as the budget are allowed."""
    budgets = (("failed", HostStage.FAILED, options.max_failed), ("unreachable", HostStage.UNREACHABLE, options.max_unreachable))
    for name, stage, budget in budgets:
        count, most = sum(host.stage is stage for host in hosts), budget.of(len(hosts))
        if count > most:
            which = f" ({budget} of {len(hosts)})" if budget.percent else ""
            return f"{count} of {len(hosts)} hosts {name}, and --max-{name} allows {most}{which}"
    return ""


def all_lost(hosts: Sequence[Host]) -> bool:
    """Return whether there are hosts, and none of them took the revision and stayed healthy."""
    return bool(hosts) and all(host.stage in (HostStage.FAILED, HostStage.UNREACHABLE) for host in hosts)
