"""What each error code means: the text of ``explain`` and of the table in docs/reference/exit-and-error-codes.md."""

from __future__ import annotations

from typing import NamedTuple

from release_agent.errors import Code, Exit


class Explanation(NamedTuple):
    """One error code, in Markdown. Links are relative to docs/; ``exits`` are those of a command that ends with the code."""

    exits: tuple[Exit, ...]
    happened: str
    why: str  # empty if ``happened`` says it
    to_do: str


# In the order of Code.
EXPLANATIONS = {
    Code.MISCONFIGURED: Explanation(
        (Exit.MISCONFIGURED,),
        "The configuration cannot be read or is wrong.",
        "Every problem is listed.",
        "Fix it: [configuration.md](configuration.md).",
    ),
    Code.BUSY: Explanation(
        (Exit.BUSY,),
        "Another run holds the lock.",
        "Only one run changes the root at a time.",
        "Wait for it.",
    ),
    Code.REVISION_INVALID: Explanation(
        (Exit.REFUSED,),
        "The name could not be that of a tag, a branch or a commit.",
        "It is empty, or has a space, `..` or a leading `-`.",
        "Fix the name; an empty one is often an unset variable. Commits are named in full.",
    ),
    Code.REVISION_UNKNOWN: Explanation(
        (Exit.REFUSED,),
        "No repository has the revision.",
        "The tag is not fetched yet, or its name is misspelt.",
        "Fetch the repositories; the hint lists some tags that are there. If a fetch is under way: `--wait-for 2m`.",
    ),
    Code.REVISION_NOT_A_COMMIT: Explanation(
        (Exit.REFUSED,),
        "The revision leads to no commit.",
        "The tag names something else, or a commit that is not in the repository.",
        "Fetch the repository whole, or tag a commit.",
    ),
    Code.NO_VERSION: Explanation(
        (Exit.REFUSED,),
        "No tag that matches `pattern` is a version.",
        'With `follow = "tag"`, a deployment without a revision takes the highest version.',
        "Tag a version, fetch it; or see `pattern` and `prereleases`.",
    ),
    Code.NOT_PINNED: Explanation(
        (Exit.REFUSED,),
        "Nothing is pinned.",
        'With `follow = "pin"`, a deployment without a revision takes the pinned one.',
        "`release-agent pin REVISION`.",
    ),
    Code.NO_ROLLOUT: Explanation(
        (Exit.REFUSED,),
        "No rollout of this app and environment has completed.",
        '`follow = "rollout"` and `--promote-from` take the revision of the last one.',
        "Roll a revision out, or name one.",
    ),
    Code.CONSUL_UNREACHABLE: Explanation(
        (Exit.REFUSED,),
        "Consul does not answer, or does not let the agent read the key.",
        'With `follow = "rollout"`, the revision is in Consul.',
        "Fix Consul or the token ([the policy](../guides/consul.md#the-access-it-needs)), or name a revision.",
    ),
    Code.TAG_MOVED: Explanation(
        (Exit.REFUSED,),
        "The tag names another commit than before.",
        "Somebody moved it after it was last published, or after the fleet rolled it out.",
        "Make a new tag. If it was moved on purpose: `release-agent deploy --accept-moved-tag TAG`.",
    ),
    Code.WOULD_GO_BACK: Explanation(
        (Exit.REFUSED,),
        "The highest tag is a lower version than the healthy live release.",
        'With `follow = "tag"` and no named revision: a tag was deleted, or a mirror was reset.',
        (
            "Fetch the tags. To go back on purpose: roll back, deploy the tag by its name, or `release-agent deploy "
            "--allow-lower`."
        ),
    ),
    Code.TAG_UNSIGNED: Explanation(
        (Exit.REFUSED,),
        "The revision has no SSH signature.",
        "`signed = true`, and this is a branch, a commit, or a tag without one.",
        "Sign it: `git tag -s` with `gpg.format=ssh`.",
    ),
    Code.SIGNATURE_BAD: Explanation(
        (Exit.REFUSED,),
        "The signature does not count.",
        "It is not of an allowed signer, its key is revoked, or it was made for a tag of another name.",
        "Find out who tagged. Add the key to `allowed_signers` if it belongs there.",
    ),
    Code.SIGNERS_MISSING: Explanation(
        (Exit.REFUSED,),
        "`allowed_signers` or `revoked_signers` cannot be read.",
        "It is not there, is no regular file, or belongs to another user.",
        "Put it there, readable for the agent's user.",
    ),
    Code.REPOSITORY_UNREADABLE: Explanation(
        (Exit.REFUSED,),
        "Git cannot read the repository.",
        (
            "It is missing, is not a git repository, may not be read, lacks objects (a partial clone), or git did not "
            "answer within its time limit."
        ),
        "Mount it. Let the agent's user read all of it, objects included. Clone it without `--filter`.",
    ),
    Code.REPOSITORY_INCOMPLETE: Explanation(
        (Exit.REFUSED,),
        "The commits are not whole.",
        (
            "Some repositories have the revision and some do not; or the commit has a submodule or a pointer of Git LFS, "
            "which are not supported."
        ),
        (
            "Tag all of them, or fetch those that lack it. Configure a submodule as a `[[repository]]` with `into`. Commit "
            "the files themselves instead of pointers."
        ),
    ),
    Code.SUBDIRECTORY_MISSING: Explanation(
        (Exit.REFUSED,),
        "The commit has no directory of the name that `subdirectory` of the `[[repository]]` gives.",
        "It was moved or not there yet, or something else has its name.",
        "Name a revision that has it, or correct `subdirectory`.",
    ),
    Code.RELEASE_TOML_INVALID: Explanation(
        (Exit.REFUSED,),
        "A `release.toml` is wrong.",
        "Every problem is listed.",
        "Fix it in the repository and tag again.",
    ),
    Code.OVERTAKEN: Explanation(
        (Exit.REFUSED,),
        "The release that the caller of `release.deploy` expected is not live any more.",
        "In a rollout: somebody else deployed to the host after the plan was made, or after its turn.",
        "See `release-agent history` on the host. Start the rollout again if it is still wanted.",
    ),
    Code.FROZEN: Explanation(
        (Exit.REFUSED,),
        "Somebody has frozen deployments, or the rollouts of a fleet.",
        "The message shows who, until when and why. For a host in a rollout: the deployments of that host.",
        "Wait for the end, or `release-agent unfreeze`; for a fleet `release-agent rollout unfreeze`. To go on in spite of it: "
        "`--despite-freeze`.",
    ),
    Code.ROOT_UNUSABLE: Explanation(
        (Exit.FAILED,),
        "The root, or something in it, cannot be made, written or swapped.",
        "It belongs to another user; a link or a pipe is in place of one of the agent's own; or the root is another app's.",
        (
            "Give all of it to the agent's user, on one mount; see `doctor`. The message names the owner. "
            "If something else is in place of one of the agent's own, put back what was there, or only remove what is there"
            " now: the agent makes it again."
        ),
    ),
    Code.USER_NOT_CHANGED: Explanation(
        (Exit.FAILED,),
        (
            "The root user started the agent, another user owns the root, and the agent cannot become that user. Nothing "
            "was changed."
        ),
        (
            "That user cannot read the agent or its Python (one in `/root`), or the container lacks the capabilities SETUID"
            " and SETGID."
        ),
        "Install Python and the agent where that user can execute them, for instance in `/opt`; or run it as that user.",
    ),
    Code.NOT_BEGUN: Explanation(
        (Exit.FAILED,),
        "A run that supervisor's plugin started failed before it could write its error into the journal.",
        "The root cannot be used, or the user cannot be changed. The plugin knows only the exit code.",
        "Look at the log of the program `deploy`: the container's log, or `supervisorctl tail deploy stderr`.",
    ),
    Code.DISK_FULL: Explanation(
        (Exit.FAILED, Exit.ROLLED_BACK),
        "The release does not fit, even without [old releases](../operations.md#pruning), or the disk filled up while it was "
        "built; 20: after it was published.",
        "",
        "Make room, lower `keep`, `release-agent prune`.",
    ),
    Code.BUILD_FAILED: Explanation(
        (Exit.FAILED, Exit.ROLLED_BACK),
        "The release could not be written or made durable; 20: its description could not be, after it was published.",
        (
            "The disk has an error, the root belongs to another user, or a written file is not what its commit names: the "
            "repository is damaged, or somebody replaced an object."
        ),
        "Look at the disk, the owner of the root, and the repository (`git fsck --full`).",
    ),
    Code.SHARED_MISSING: Explanation(
        (Exit.FAILED,),
        "A shared file does not exist.",
        "The release ships none that could become it.",
        "Create it under `<root>/shared`.",
    ),
    Code.SHARED_CONFLICT: Explanation(
        (Exit.FAILED,),
        "A shared path cannot be linked into the release.",
        "It is a file on one side and a directory on the other, or a symlink is in the way.",
        "Rename one of the two, or change `[shared]`.",
    ),
    Code.HOOK_FAILED: Explanation(
        (Exit.FAILED, Exit.ROLLED_BACK),
        "A hook, or a command of a service, ended with other than 0, or could not be started.",
        "",
        "`release-agent history ID` has its output.",
    ),
    Code.HOOK_TIMED_OUT: Explanation(
        (Exit.FAILED, Exit.ROLLED_BACK),
        "A hook was ended.",
        "It was still running after its `timeout`.",
        "`release-agent history ID` has its output. Raise `timeout` if it needs longer.",
    ),
    Code.SUPERVISOR_UNREACHABLE: Explanation(
        (Exit.FAILED,),
        "Supervisor does not answer.",
        "It is not running or is shutting down, the agent does not know its address, or this user may not use its socket.",
        (
            "Start supervisord; `SUPERVISOR_SERVER_URL` or `[supervisor] url`. The hint names the user or the group that "
            "may use the socket."
        ),
    ),
    Code.SUPERVISOR_REFUSED: Explanation(
        (Exit.FAILED,),
        "Supervisor does not let the agent in.",
        "It wants a password, answered with an HTTP error, or what answers is no supervisor.",
        "Set `SUPERVISOR_USERNAME` and `SUPERVISOR_PASSWORD` in the program's `environment=`.",
    ),
    Code.SERVICE_UNKNOWN: Explanation(
        (Exit.FAILED,),
        "Supervisor does not know the service.",
        "It has no such group, or no program `deploy`; or `program` of `[service.rehearsal]` is not in the group.",
        "Add its program and `supervisorctl update`, or fix the name.",
    ),
    Code.SERVICE_REFUSED: Explanation(
        (Exit.FAILED,),
        "The service cannot be deployed like this.",
        (
            "It is a program of the agent itself, or one program inside a group. Or it has one process, no socket of "
            'supervisord\'s, and `restart = "rolling"`. Or its [rehearsal](configuration.md#servicerehearsal) is not allowed or '
            "cannot pass. Or supervisord takes no [programs from releases](../guides/programs.md#let-supervisord-take-them)."
        ),
        "The hint names the edit: the group, `numprocs`, `[service.rehearsal]`, or the plugin's section.",
    ),
    Code.CANCELLED: Explanation(
        (Exit.CANCELLED, Exit.ROLLED_BACK),
        "A signal asked the run to stop; 20: after it had published.",
        "",
        "Deploy again at will.",
    ),
    Code.PLUGIN_NEEDED: Explanation(
        (Exit.FAILED,),
        "A service has a `[service.rehearsal]`, or the release brings programs, and only supervisor's plugin can do that.",
        "Supervisord does not have the plugin, or still runs an older one.",
        "Add supervisor.d/plugin.conf and restart supervisord, or remove the section.",
    ),
    Code.PROGRAMS_INVALID: Explanation(
        (Exit.FAILED, Exit.ROLLED_BACK),
        "The [programs of the release](configuration.md#programs-that-come-with-a-release) are wrong, or it may not bring any.",
        "The message names file, section and key. 20: a hook has changed them.",
        "Fix them in the repository and tag again.",
    ),
    Code.REHEARSAL_FAILED: Explanation(
        (Exit.FAILED,),
        "The copy of a service's process was not healthy on the new release. `current` and the processes were not touched.",
        "The message has what was wrong and what the copy said last, or that somebody stopped the copy.",
        "The release's code, or `[service.rehearsal]`: is the copy told to listen at `{port}`?",
    ),
    Code.INTERRUPTED: Explanation(
        (Exit.ERROR, Exit.CANCELLED, Exit.ROLLED_BACK),
        "The run did not reach its end.",
        (
            "1: supervisor went away after publishing; the run is open, and the next one finishes it. In the history, of a "
            "run that was killed: it was undone (`cancelled`), or its rollback finished (`rolled-back`)."
        ),
        "Nothing.",
    ),
    Code.JOURNAL_BROKEN: Explanation(
        (Exit.FAILED,),
        "`state.db` cannot be read or written.",
        "It is damaged, belongs to another user, or was locked by another program for ten seconds.",
        "The agent's user must own it; the hint names the owner. Broken: `release-agent doctor --repair`.",
    ),
    Code.RESTART_FAILED: Explanation(
        (Exit.ROLLED_BACK,),
        "Supervisor could not stop or start a process.",
        "The message has what supervisor said.",
        "The container's log; `supervisorctl tail SERVICE stderr` where the service logs to a file; supervisord's own log.",
    ),
    Code.UNHEALTHY: Explanation(
        (Exit.ROLLED_BACK, Exit.ROLLBACK_FAILED),
        "Not everything was healthy in time; 21: of what was live already when the container started.",
        "The message has each reason.",
        "The service's log. `release-agent rollback` goes back by hand.",
    ),
    Code.CRASH_LOOPING: Explanation(
        (Exit.ROLLED_BACK,),
        "Supervisor gave up a process (FATAL), or started it for the third time during the proof.",
        "The message has the last exit status, how often it was seen started, and what it said last.",
        "The release's code: the last lines usually name the error.",
    ),
    Code.OLD_CODE_RUNNING: Explanation(
        (Exit.ROLLED_BACK,),
        "A process of a service still ran the code of another release at the deadline.",
        (
            "It, or a child of it, has its working directory, executable or a mapped file there. The message has the pids. "
            "Only the plugin can look; `doctor` says of which service it may not."
        ),
        (
            "The service must change to `<root>/current` when it reloads. For gunicorn: `--chdir <root>/current` in its "
            "command, and no `directory=`. A child that has outlived its parent and still accepts connections: "
            "`stopasgroup=true` and `killasgroup=true`."
        ),
    ),
    Code.NOTHING_BEHIND: Explanation(
        (Exit.ROLLBACK_FAILED,),
        "The release failed and stays live, marked failed.",
        "No healthy release lies behind it.",
        "Deploy a revision that works.",
    ),
    Code.ROLLBACK_UNHEALTHY: Explanation(
        (Exit.ROLLBACK_FAILED,),
        "The release failed, and the one before it, live again, is not healthy either.",
        "",
        "Look at what both need.",
    ),
    Code.NO_TARGET: Explanation(
        (Exit.NO_TARGET,),
        "`rollback` changed nothing.",
        "No healthy release lies behind the live one.",
        "Deploy a revision.",
    ),
    Code.RELEASE_UNKNOWN: Explanation(
        (Exit.NO_TARGET,),
        "There is no such release, or no such deployment.",
        "It was never made on this host, or was pruned.",
        "`release-agent releases`, `release-agent history`.",
    ),
    Code.RELEASE_FAILED: Explanation(
        (Exit.NO_TARGET,),
        "`rollback` refuses the named release.",
        "It failed, was never proved healthy, or is staged and was never live.",
        "Name a healthy one; to try again, deploy its revision.",
    ),
    Code.RELEASE_NEEDED: Explanation(
        (Exit.REFUSED,),
        "`remove` refuses the release.",
        "It is live, protected, used by a process, needed to finish a killed deployment, or what `rollback` goes back to.",
        "The hint names what would let it go.",
    ),
    Code.INVENTORY_INVALID: Explanation(
        (Exit.MISCONFIGURED,),
        "The rollout does not know its hosts.",
        "The inventory cannot be read as such, or credentials are missing; every problem is in the message.",
        "Fix what it names.",
    ),
    Code.PACKAGES_MISSING: Explanation(
        (Exit.MISCONFIGURED,),
        "The command needs Python packages that are not installed.",
        "Containers do not need the packages that read maestro-ng files, so the agent is installed without them.",
        "Install the agent with its extra `fleet` where rollouts are started.",
    ),
    Code.FLEET_EMPTY: Explanation(
        (Exit.MISCONFIGURED,),
        "No host is left to deploy to.",
        "The inventory is empty, or the filters leave no host.",
        "Look at the filters, `--limit` and `--exclude`.",
    ),
    Code.FLEET_MIXED: Explanation(
        (Exit.REFUSED,),
        "The hosts do not belong together.",
        "They are of several environments, of more than 32 applications, or of several that the inventory does not tell apart.",
        "Choose those of one, or give every host its `service`: [the whole system](../guides/fleet.md#the-whole-system).",
    ),
    Code.GATE_UNCONFIRMED: Explanation(
        (Exit.MISCONFIGURED,),
        "A rollout with `--gate` is resumed without the same command.",
        "Nothing runs that only the record names, because others may write it.",
        "Read the command in the message, then `rollout resume ID --gate COMMAND`.",
    ),
    Code.COMMITS_DIFFER: Explanation(
        (Exit.REFUSED,),
        (
            "The revision names other commits on some hosts, or than in the environment it is promoted from; of one host: "
            "it deployed others than the rollout's."
        ),
        "A mirror lags behind, or a tag was moved.",
        "Fetch the repositories that lag behind; do not move tags.",
    ),
    Code.FLEET_STOPPED: Explanation(
        (Exit.FLEET_FAILED,),
        "The rollout stopped.",
        "More hosts failed or were unreachable than the budgets allow, or none answered.",
        "Fix the hosts it names, or allow for them.",
    ),
    Code.ROLLOUT_UNKNOWN: Explanation(
        (Exit.NO_TARGET,),
        "There is no rollout of this id where the command looked for it.",
        "With `CONSUL_HTTP_ADDR` the record is in Consul, without it in a file.",
        "`release-agent rollout list`; is `CONSUL_HTTP_ADDR` the same as at its start?",
    ),
    Code.ROLLOUT_ENDED: Explanation(
        (Exit.NO_TARGET,),
        "The rollout has ended.",
        "There is nothing to go on with.",
        "Start another, or revert it.",
    ),
    Code.LOCKED: Explanation(
        (Exit.LOCKED,),
        "Another rollout of the fleet is running.",
        "The message has its id and its operator.",
        "Wait, or abort that one.",
    ),
    Code.LOCK_LOST: Explanation(
        (Exit.FLEET_FAILED,),
        "Somebody else has the fleet's lock now.",
        "This rollout's process could not renew it in time.",
        "`rollout status ID`; resume it when the other one has ended.",
    ),
    Code.RECORD_UNREACHABLE: Explanation(
        (Exit.FLEET_FAILED,),
        "The record of rollouts cannot be read or written.",
        "Consul does not answer, or the file cannot be used.",
        "Fix it, then `rollout resume ID`.",
    ),
    Code.HOST_UNREACHABLE: Explanation(
        (),
        "A host does not answer, or cannot say what it does.",
        "Its journal is locked, its supervisord restarts, or the network or the host is down.",
        "Look at it; its deployment, if one was begun, ends on its own.",
    ),
    Code.HOST_UNAUTHORISED: Explanation(
        (Exit.MISCONFIGURED,),
        "A host wants another user or password.",
        "The rollout has none, or wrong ones. It does not start.",
        "`--user` and `--password-file`, or `[fleet]` of fleet.toml.",
    ),
    Code.HOST_UNFIT: Explanation(
        (),
        "A host cannot take part.",
        "Its supervisord has no plugin, or its agent another major version.",
        "Include supervisor.d/plugin.conf; upgrade the agent.",
    ),
    Code.HOST_BUSY: Explanation(
        (),
        "The host does not take the deployment.",
        "Another deployment runs on it.",
        "Wait for it.",
    ),
    Code.HOST_IN_MAINTENANCE: Explanation(
        (),
        "The host is left alone.",
        "Somebody has put it into maintenance mode in Consul.",
        "End that, or leave the host out.",
    ),
    Code.HOST_LATE: Explanation(
        (),
        "A host was not done within `--deadline`.",
        "Its deployment goes on.",
        "Look at it; allow more time.",
    ),
    Code.HOST_SICK: Explanation(
        (),
        "A host became critical while it was watched.",
        "One of its services is not healthy.",
        "Look at its services.",
    ),
    Code.HOST_MOVED_ON: Explanation(
        (),
        "A revert found something live on a host that the rollout did not bring.",
        "A later rollout or a person deployed it.",
        "It was left alone; `rollback` there, if that was meant.",
    ),
    Code.BUG: Explanation(
        (Exit.ERROR,),
        "The agent has a bug.",
        "The traceback is on stderr.",
        "Report it.",
    ),
}


def table() -> str:
    """Return all explanations as the table in docs/reference/exit-and-error-codes.md."""
    head = ["| code | exit | what happened, and why | what to do |", "|---|---|---|---|"]
    return "\n".join([*head, *(_row(code, one) for code, one in EXPLANATIONS.items())]) + "\n"


def _row(code: Code, one: Explanation) -> str:
    cells = (f"`{code}`", ", ".join(str(int(number)) for number in one.exits), f"{one.happened} {one.why}".strip(), one.to_do)
    return "".join(f"| {cell} " if cell else "| " for cell in cells) + "|"
