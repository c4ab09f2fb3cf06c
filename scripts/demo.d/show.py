"""The demo: show release-agent at work to somebody who has never seen it."""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import sys
import tempfile
import time
from pathlib import Path

from load import Load, get
from processes import EndAskedError, Signals
from stage import LONGEST_SOCKET, DemoError, Stage, fail

BOLD, PLAIN = ("\033[1m", "\033[0m") if sys.stdout.isatty() and "NO_COLOR" not in os.environ else ("", "")


def main() -> int:
    """Set up the stage, play the acts, remove the stage."""
    parser = argparse.ArgumentParser(prog="demo", description="See release-agent at work, in one directory of its own.")
    parser.add_argument("--keep", action="store_true", help="leave everything running, and show commands to try")
    parser.add_argument("--dir", type=Path, metavar="DIR", help="use this empty or missing directory (default: a temporary one)")
    arguments = parser.parse_args()
    signals = Signals()
    began = time.monotonic()
    directory, made = _directory(parser, arguments.dir)
    stage, keep, code = Stage(directory, signals), False, 1
    try:
        end = "It stays." if arguments.keep else "The demo removes it at the end, unless you set --keep."
        say(f"Everything is in {directory}. {end}")
        show(stage)
        signals.check()
        keep, code = arguments.keep, 0
    except DemoError as error:
        sys.stderr.write(f"\ndemo: {error}\n")
        keep = arguments.keep
    except EndAskedError:
        code = 128 + signals.got
        sys.stderr.write("\ndemo: interrupted; stopping and removing everything\n")
    except BrokenPipeError:
        # Nobody reads the output any more, so the demo ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    finally:
        if not keep:
            stage.stop()
            _remove(directory, made=made)
    if keep and code:
        say(f"{directory} stays as it is. If supervisord runs, supervisord.pid has its process id.")
    elif keep:
        how_to_play(stage)
    elif not code:
        say(f"\nThat was it, in {time.monotonic() - began:.0f} s. Everything is stopped and {directory} is removed.")
    return code


# The show


def show(stage: Stage) -> None:
    """Play all acts."""
    set_up(stage)
    first_deployment(stage)
    upgrade_under_load(stage)
    broken_release(stage)
    release_that_turns_sick(stage)
    rollback_by_hand(stage)
    what_is_known(stage)
    if stage.consul:
        what_consul_says(stage)


def set_up(stage: Stage) -> None:
    """Install and start everything except the services, which have no code before the first deployment."""
    heading("Setting up")
    began = time.monotonic()
    say("Installing release-agent from this checkout into a virtual environment ...")
    version = stage.install()
    say(f"release-agent {version} and its dependencies are installed ({time.monotonic() - began:.0f} s).")
    why_none = stage.fetch_consul()
    why_none = stage.start() or why_none
    if stage.consul:
        say(f"{stage.consul}, run by the same supervisord and only in memory, replaces your Consul agent.")
    else:
        say(f"No Consul: {why_none}. The demo goes on without one ([consul] enabled = false).")
    stage.make_repository()
    say(f"supervisord runs; it knows two services, web (port {stage.web_port}) and worker, and a one-shot program, deploy.")
    say(f"The agent's log, JSON on stderr, goes to {stage.logs}/ and not to this terminal.")


def first_deployment(stage: Stage) -> None:
    """Deploy through supervisor while no release is live."""
    heading("1. A first deployment")
    say("A developer tags a version. Supervisor's program `deploy` takes the highest version.")
    develop(stage, "v1.0.0", "A shop")
    deploy_by_supervisor(stage)
    run(stage, "supervisorctl tail deploy")
    run(stage, "supervisorctl status", allowed=(0, 3))  # 3: some programs do not run, such as the one-shot
    expect(stage, "deployed", "v1.0.0")


def upgrade_under_load(stage: Stage) -> None:
    """Deploy by command while clients ask for pages."""
    heading("2. An upgrade under load")
    say("Four clients request the front page all the time, over a new connection for each request.")
    develop(stage, "v1.1.0", "A sale")
    with Load(stage.web_port) as load:
        run(stage, "release-agent deploy v1.1.0")
        load.let_run()
    expect(stage, "deployed", "v1.1.0")
    say(f"=> {load.summary()}")
    say("   Why: supervisord holds the listening socket. Requests wait during the restart of web.")


def broken_release(stage: Stage) -> None:
    """Deploy a release that starts and is unhealthy: its rehearsal stops it."""
    heading("3. A broken release")
    say("v1.2.0 starts and answers, but its /health says 500. The agent first rehearses a copy of web, on its own socket.")
    develop(stage, "v1.2.0", "Orders")
    before = stage.must("supervisorctl", "pid", "web")
    with Load(stage.web_port) as load:
        deploy_by_supervisor(stage)
        load.let_run()
    run(stage, f"release-agent history {stage.last_deployment()['id']}")
    expect(stage, "failed", "v1.2.0")
    after = stage.must("supervisorctl", "pid", "web")
    if after != before:
        fail(f"web should not have been restarted: its pid was {before.strip()}, and is {after.strip()}")
    say(f"=> web was not restarted: its pid is still {after.strip()}. During the deployment the clients got:")
    say(f"   {load.summary()}")


def release_that_turns_sick(stage: Stage) -> None:
    """Deploy a release that passes its rehearsal and is unhealthy under load: the agent rolls it back automatically."""
    heading("4. A release that becomes unhealthy")
    say("v1.3.0 passes its rehearsal. Under load it runs out of connections, and its /health says 500.")
    develop(stage, "v1.3.0", "Orders that work")
    with Load(stage.web_port) as load:
        deploy_by_supervisor(stage)
        load.let_run()
    run(stage, f"release-agent history {stage.last_deployment()['id']}")
    expect(stage, "rolled-back", "v1.3.0")
    say("=> The agent rolled back automatically: v1.1.0 is live again and healthy. During this time the clients got:")
    say(f"   {load.summary()}")


def rollback_by_hand(stage: Stage) -> None:
    """Roll back by command to the release before the live one."""
    heading("5. A rollback by hand")
    say("The sale is over. Roll back to the healthy release that was live before this one, without a build.")
    run(stage, "release-agent rollback")
    expect(stage, "deployed", "v1.0.0")
    say(f"=> http://127.0.0.1:{stage.web_port}/ answers: {get(stage.web_port)}")


def what_is_known(stage: Stage) -> None:
    """Show the status, the history and the releases."""
    heading("6. The live release, the deployments, the kept releases")
    run(stage, "release-agent status")
    run(stage, "release-agent history")
    run(stage, "release-agent releases")


def what_consul_says(stage: Stage) -> None:
    """Ask Consul, as another service would."""
    heading("7. What Consul says")
    run(stage, "consul catalog services -tags")
    run(stage, """consul watch -type=checks -service=shop | grep -E '"(CheckID|Status|Output)"'""")
    run(stage, "consul kv get release-agent/demo/shop/hosts/demo-1")


def how_to_play(stage: Stage) -> None:
    """Print commands to try with the running demo."""
    stage.write_environment()
    heading("Everything is still there, and running")
    place = shlex.quote(str(stage.directory))
    say(
        f"""The web service answers at http://127.0.0.1:{stage.web_port}/. To try more:

  cd {place} && . ./env              the right PATH and configuration
  release-agent deploy v1.1.0        any tag, branch or full commit id
  release-agent status               also: history, releases, verify, rollback, --help
  release-agent doctor               faults of the set-up, such as services that own their releases

To make your own version, change repository/pages.py, and its VERSION. Then:

  git -C repository commit -am TEXT && git -C repository tag v1.4.0
  supervisorctl start deploy         takes the highest version

The logs are in logs/. To stop and remove everything:

  supervisorctl stop all && supervisorctl shutdown && cd / && rm -rf {place}"""
    )


# What the acts are made of


def heading(text: str) -> None:
    """Print the heading of an act."""
    say(f"\n{BOLD}== {text}{PLAIN}")


def say(text: str) -> None:
    """Print a text."""
    print(text, flush=True)


def run(stage: Stage, command: str, allowed: tuple[int, ...] = (0,)) -> None:
    """Print a command, run it, print its output."""
    say(f"{BOLD}$ {command}{PLAIN}")
    output = stage.must("sh", "-c", command, allowed=allowed).rstrip()
    if output:
        say(output)


def develop(stage: Stage, version: str, message: str) -> None:
    """Commit and tag a version of the shop."""
    stage.change_code(version)
    run(stage, f"git -C repository commit --quiet -m {shlex.quote(message)}")
    run(stage, f"git -C repository tag {version}")


def deploy_by_supervisor(stage: Stage) -> None:
    """Start the one-shot and wait for its end."""
    run(stage, "supervisorctl start deploy")
    stage.wait_until(lambda: stage.has_ended("deploy"), "the deployment to end", 60)


def expect(stage: Stage, outcome: str, revision: str) -> None:
    """Fail if the newest deployment did not end as announced."""
    record = stage.last_deployment()
    if (record["outcome"], record["revision"]) != (outcome, revision):
        fail(f"{revision} should have ended as {outcome}; the journal says {record}")


# Where it takes place


def _directory(parser: argparse.ArgumentParser, wanted: Path | None) -> tuple[Path, bool]:
    """Return the directory, and whether the demo made it."""
    directory = (wanted or Path(tempfile.mkdtemp(prefix="release-agent-demo."))).absolute()
    if len(os.fsencode(directory / "supervisor.sock")) > LONGEST_SOCKET:
        if wanted is None:
            directory.rmdir()
        parser.error(f"{directory} is too long a path for supervisord's socket")
    try:
        made = wanted is None or not directory.exists()
        directory.mkdir(parents=True, exist_ok=True)
        if any(directory.iterdir()):
            parser.error(f"{directory} is not empty")
    except OSError as error:
        parser.error(f"{directory} cannot be used: {error.strerror}")
    return directory, made


def _remove(directory: Path, *, made: bool) -> None:
    """Remove everything in the directory, and the directory if the demo made it."""
    for place in directory.iterdir():
        shutil.rmtree(place) if place.is_dir() else place.unlink()
    if made:
        directory.rmdir()


if __name__ == "__main__":
    sys.exit(main())
