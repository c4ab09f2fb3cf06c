"""Explain each error code, in the text of ``explain`` and of the table in docs/reference/exit-and-error-codes.md."""

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
        "The message lists every problem.",
        "Fix each problem in the file. [configuration.md](configuration.md) describes every key.",
    ),
    Code.BUSY: Explanation(
        (Exit.BUSY,),
        "Another run holds the lock.",
        "Only one run changes the root at a time.",
        "Wait until that run ends.",
    ),
    Code.REVISION_INVALID: Explanation(
        (Exit.REFUSED,),
        "The name cannot be a tag, a branch or a commit.",
        "It is empty, or it has a space, `..` or a leading `-`.",
        "Fix the name. An empty name is often an unset variable of a script. Write commit ids in full.",
    ),
    Code.REVISION_UNKNOWN: Explanation(
        (Exit.REFUSED,),
        "No repository has the revision.",
        "Nobody has fetched the tag, or its name is misspelt.",
        "Fetch the repositories. The hint lists some existing tags. If a fetch is running, deploy with `--wait-for 2m`.",
    ),
    Code.REVISION_NOT_A_COMMIT: Explanation(
        (Exit.REFUSED,),
        "The revision does not name a commit of the repository.",
        "The tag names a file or a directory, or a commit that the repository does not have.",
        "Fetch the whole repository, or tag a commit.",
    ),
    Code.NO_VERSION: Explanation(
        (Exit.REFUSED,),
        "No tag that matches `pattern` is a version.",
        'With `follow = "tag"`, a deployment without a revision takes the highest version.',
        "Tag a version and fetch it, or change `pattern` or `prereleases`.",
    ),
    Code.NOT_PINNED: Explanation(
        (Exit.REFUSED,),
        "Nothing is pinned.",
        'With `follow = "pin"`, a deployment without a revision takes the pinned one.',
        "Run `release-agent pin REVISION`.",
    ),
    Code.NO_ROLLOUT: Explanation(
        (Exit.REFUSED,),
        "No rollout of this app and environment has completed.",
        '`follow = "rollout"` and `--promote-from` take the revision of the last completed rollout.',
        "Roll out a revision, or name the revision to deploy.",
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
        "Somebody moved the tag after it was last published, or after the fleet rolled it out.",
        "Make a new tag. If somebody moved the tag on purpose, run `release-agent deploy --accept-moved-tag TAG`.",
    ),
    Code.WOULD_GO_BACK: Explanation(
        (Exit.REFUSED,),
        "The highest tag is a lower version than the healthy live release.",
        'With `follow = "tag"`, a bare deploy would go back to that tag. Often somebody deleted a tag or reset a mirror.',
        (
            "Fetch the tags. To go back on purpose, roll back, deploy the tag by its name, or run `release-agent deploy "
            "--allow-lower`."
        ),
    ),
    Code.TAG_UNSIGNED: Explanation(
        (Exit.REFUSED,),
        "The revision has no SSH signature.",
        "`signed` is `true`, and the revision is a branch, a commit, or a tag without a signature.",
        "Sign a tag: run `git tag -s` with `gpg.format=ssh`.",
    ),
    Code.SIGNATURE_BAD: Explanation(
        (Exit.REFUSED,),
        "The signature is not valid here.",
        "The signer is not allowed, the key is revoked, or the signature is for a tag of another name.",
        "Find out who signed the tag. If you trust the key, add it to `allowed_signers`.",
    ),
    Code.SIGNERS_MISSING: Explanation(
        (Exit.REFUSED,),
        "`allowed_signers` or `revoked_signers` cannot be read.",
        "The file does not exist, is not a regular file, or is not readable for the agent's user.",
        "Create the file, and let the agent's user read it.",
    ),
    Code.REPOSITORY_UNREADABLE: Explanation(
        (Exit.REFUSED,),
        "Git cannot read the repository.",
        (
            "It is missing, is not a git repository, or lacks objects (a partial clone). Or the agent's user may not read it, "
            "or git did not answer in time."
        ),
        "Mount the repository. Clone it without `--filter`. Let the agent's user read every file in it.",
    ),
    Code.REPOSITORY_INCOMPLETE: Explanation(
        (Exit.REFUSED,),
        "The commits are incomplete.",
        (
            "Some repositories have the revision and some do not. Or the commit has a submodule or a pointer of Git LFS; "
            "the agent supports neither."
        ),
        (
            "Tag every repository, or fetch those that lack the tag. Configure a submodule as a `[[repository]]` with `into`. "
            "Commit the files themselves instead of pointers."
        ),
    ),
    Code.SUBDIRECTORY_MISSING: Explanation(
        (Exit.REFUSED,),
        "The commit does not have the directory that `subdirectory` of the `[[repository]]` names.",
        "The directory was moved, the commit is older than the directory, or a file has its name.",
        "Name a revision that has the directory, or fix `subdirectory`.",
    ),
    Code.RELEASE_TOML_INVALID: Explanation(
        (Exit.REFUSED, Exit.ROLLED_BACK),
        "A `release.toml` is wrong.",
        "The message lists every problem. With exit 20, somebody changed the file in the release after it was published.",
        "Fix the file in the repository and tag again.",
    ),
    Code.OVERTAKEN: Explanation(
        (Exit.REFUSED,),
        "The live release is not the one that the caller of `release.deploy` or `release.rollback` expected.",
        "In a rollout, somebody else deployed to the host after the rollout's plan, or after the host's turn.",
        "Look at `release-agent history` on the host. Start the rollout again if you still want it.",
    ),
    Code.FROZEN: Explanation(
        (Exit.REFUSED,),
        "Somebody has frozen deployments, or the rollouts of a fleet.",
        "The message shows the person, the end and the reason. In a rollout, the deployments of one host may be frozen.",
        "Wait for the end, or run `release-agent unfreeze` (for a fleet: `release-agent rollout unfreeze`). "
        "To ignore the freeze, add `--despite-freeze`.",
    ),
    Code.ROOT_UNUSABLE: Explanation(
        (Exit.FAILED,),
        "The root, or something in it, cannot be made, written or swapped.",
        "It belongs to another user or another app. Or a link or a pipe has the name of one of the agent's files.",
        (
            "Give the whole root to the agent's user, on one mount. `release-agent doctor` shows the command. "
            "Replace a link or a pipe with the file, or remove it: the agent makes the file again."
        ),
    ),
    Code.USER_NOT_CHANGED: Explanation(
        (Exit.FAILED,),
        (
            "The root user started the agent, another user owns the root, and the agent cannot become that user. Nothing "
            "was changed."
        ),
        (
            "That user cannot read the agent or its Python, for example in `/root`. Or the container lacks the capabilities "
            "SETUID and SETGID."
        ),
        "Install Python and the agent in a directory that the user can read, such as `/opt`. Or run the agent as that user.",
    ),
    Code.NOT_BEGUN: Explanation(
        (Exit.FAILED,),
        "A run that supervisor's plugin started failed before it could write its error into the journal.",
        "Often the agent cannot use the root, or cannot become its owner. The plugin knows only the exit code.",
        "Check the log of the program `deploy`: the container's log, or `supervisorctl tail deploy stderr`.",
    ),
    Code.DISK_FULL: Explanation(
        (Exit.FAILED, Exit.ROLLED_BACK),
        "The release does not fit, even without [old releases](../operations.md#pruning). Or the disk became full during the "
        "build (13) or after publishing (20).",
        "",
        "Free space on the disk, lower `keep`, or run `release-agent prune`.",
    ),
    Code.BUILD_FAILED: Explanation(
        (Exit.FAILED, Exit.ROLLED_BACK),
        "The agent could not write the release or make it durable (13), or could not write its note after publishing (20).",
        (
            "The disk has an error, or the root belongs to another user. Or a written file differs from the file of the "
            "commit: the repository is damaged, or somebody replaced an object. Or a hook changed `release.toml`."
        ),
        "Check the disk, the owner of the root, the repository (`git fsck --full`), and the hooks.",
    ),
    Code.SHARED_MISSING: Explanation(
        (Exit.FAILED,),
        "A shared file does not exist.",
        "The release has no file that could become the shared file.",
        "Create the file under `<root>/shared`.",
    ),
    Code.SHARED_CONFLICT: Explanation(
        (Exit.FAILED,),
        "A shared path cannot be linked into the release.",
        "It is a file on one side and a directory on the other, or a symlink is in the way.",
        "Rename one of the two, or change `[shared]`.",
    ),
    Code.HOOK_FAILED: Explanation(
        (Exit.FAILED, Exit.ROLLED_BACK),
        "A hook, or a command of a service, ended with an exit status other than 0, or could not start.",
        "",
        "Read the output of the hook with `release-agent history ID`, and fix the command.",
    ),
    Code.HOOK_TIMED_OUT: Explanation(
        (Exit.FAILED, Exit.ROLLED_BACK),
        "The agent ended a hook.",
        "It was still running after its `timeout`.",
        "Read the output of the hook with `release-agent history ID`. If the hook needs longer, raise `timeout`.",
    ),
    Code.SUPERVISOR_UNREACHABLE: Explanation(
        (Exit.FAILED,),
        "Supervisor does not answer.",
        "It is not running, or is shutting down. Or the agent does not know its address, or this user may not use its socket.",
        (
            "Start supervisord, or set `SUPERVISOR_SERVER_URL` or `[supervisor] url`. The hint names the user or the group that "
            "may use the socket."
        ),
    ),
    Code.SUPERVISOR_REFUSED: Explanation(
        (Exit.FAILED,),
        "Supervisor refuses the agent.",
        "It wants a password, it answered with an HTTP error, or another program answers at its address.",
        "Set `SUPERVISOR_USERNAME` and `SUPERVISOR_PASSWORD` in the program's `environment=`, or fix `[supervisor] url`.",
    ),
    Code.SERVICE_UNKNOWN: Explanation(
        (Exit.FAILED,),
        "Supervisor does not know the service.",
        "It has no such group, or no program `deploy`. Or `program` of `[service.rehearsal]` is not in the group.",
        "Add its program and run `supervisorctl update`, or fix the name.",
    ),
    Code.SERVICE_REFUSED: Explanation(
        (Exit.FAILED,),
        "The service cannot be deployed like this.",
        (
            "It is a program of the agent itself, or one program inside a group. Or it has one process, no socket of "
            'supervisord\'s, and `restart = "rolling"`. Or its [rehearsal](configuration.md#servicerehearsal) is not allowed or '
            "cannot pass. Or supervisord takes no [programs from releases](../guides/programs.md#let-supervisord-take-them)."
        ),
        "Make the edit that the hint names: of the group, `numprocs`, `[service.rehearsal]`, or the plugin's section.",
    ),
    Code.CANCELLED: Explanation(
        (Exit.CANCELLED, Exit.ROLLED_BACK),
        "A signal stopped the run, before publishing (14) or after it (20).",
        "",
        "Deploy again.",
    ),
    Code.PLUGIN_NEEDED: Explanation(
        (Exit.FAILED,),
        "The deployment needs the plugin: a service has `[service.rehearsal]`, or the release brings programs.",
        "Supervisord does not have the plugin, or still runs an older one.",
        "Add supervisor.d/plugin.conf and restart supervisord, or remove `[service.rehearsal]` or `programs`.",
    ),
    Code.PROGRAMS_INVALID: Explanation(
        (Exit.FAILED, Exit.ROLLED_BACK),
        "The [programs of the release](configuration.md#programs-that-come-with-a-release) are wrong or not allowed.",
        "The message names the file, the section and the key. With exit 20, a hook changed the files.",
        "Fix them in the repository and tag again.",
    ),
    Code.REHEARSAL_FAILED: Explanation(
        (Exit.FAILED,),
        "The copy of a service's process was not healthy on the new release. `current` and the processes are unchanged.",
        "The message shows the problem and the last output of the copy, or that somebody stopped the copy.",
        "Fix the release's code, or fix `[service.rehearsal]`: the copy must listen at `{port}`.",
    ),
    Code.INTERRUPTED: Explanation(
        (Exit.ERROR, Exit.CANCELLED, Exit.ROLLED_BACK),
        "The run stopped before its end.",
        (
            "With exit 1, supervisor went away after publishing, or the run was killed. The next run finishes or undoes "
            "this one. With exit 14, a signal stopped the run before publishing while supervisor was ending, as in a container "
            "that stops. In the history, the run may also have been killed. The next run undid it (`cancelled`) or finished "
            "its rollback (`rolled-back`)."
        ),
        "Nothing. To finish an open run at once, run `release-agent boot`.",
    ),
    Code.JOURNAL_BROKEN: Explanation(
        (Exit.FAILED,),
        "`state.db` cannot be read or written.",
        "It is damaged, belongs to another user, or was locked by another program for ten seconds.",
        "Give `state.db` to the agent's user; the hint names the owner. If it is damaged, run `release-agent doctor --repair`.",
    ),
    Code.RESTART_FAILED: Explanation(
        (Exit.ROLLED_BACK,),
        "Supervisor could not stop or start a process.",
        "The message shows supervisor's answer.",
        "Check the container's log, `supervisorctl tail SERVICE stderr` if the service logs to a file, and supervisord's log.",
    ),
    Code.UNHEALTHY: Explanation(
        (Exit.ROLLED_BACK, Exit.ROLLBACK_FAILED),
        "A service was not healthy in time. With exit 21, its release was already live when the container started.",
        "The message shows each reason.",
        "Check the service's log. To roll back by hand, run `release-agent rollback`.",
    ),
    Code.CRASH_LOOPING: Explanation(
        (Exit.ROLLED_BACK,),
        "Supervisor gave up a process (FATAL), left it ended (EXITED), or started it for the third time during the proof.",
        "The message shows supervisor's reason, the last exit status, the number of starts, and the last output.",
        "Fix the release's code: the last lines usually name the error. If supervisor could not start the process at all, "
        "the message shows why: fix the container's limits, or the directory of the log.",
    ),
    Code.OLD_CODE_RUNNING: Explanation(
        (Exit.ROLLED_BACK,),
        "A process of a service still ran the code of another release at the deadline.",
        (
            "The process, or a child of it, has its working directory, its executable or a mapped file in that release. The "
            "message shows the pids. Only the plugin checks this; `doctor` names each service that it cannot check."
        ),
        (
            "Let the service change to `<root>/current` when it reloads. For gunicorn, put `--chdir <root>/current` into its "
            "command and remove `directory=`. If a child outlives its parent and accepts connections, set `stopasgroup=true` "
            "and `killasgroup=true`."
        ),
    ),
    Code.NOTHING_BEHIND: Explanation(
        (Exit.ROLLBACK_FAILED,),
        "The release failed. It stays live and is marked failed.",
        "There is no older healthy release.",
        "Deploy a revision that works.",
    ),
    Code.ROLLBACK_UNHEALTHY: Explanation(
        (Exit.ROLLBACK_FAILED,),
        "The release failed, and after the rollback the previous release is also unhealthy.",
        "",
        "Check what both need, such as a database or a shared file.",
    ),
    Code.NO_TARGET: Explanation(
        (Exit.NO_TARGET,),
        "`rollback` changed nothing.",
        "There is no healthy release before the live one.",
        "Deploy a revision.",
    ),
    Code.RELEASE_UNKNOWN: Explanation(
        (Exit.NO_TARGET,),
        "There is no such release, or no such deployment.",
        "It was never made on this host, or was pruned.",
        "`release-agent releases` and `release-agent history` list them.",
    ),
    Code.RELEASE_FAILED: Explanation(
        (Exit.NO_TARGET,),
        "`rollback` refuses the named release.",
        "It failed, was never proved healthy, or is staged and was never live.",
        "Name a healthy release. To try the failed release again, deploy its revision.",
    ),
    Code.RELEASE_NEEDED: Explanation(
        (Exit.REFUSED,),
        "`remove` refuses the release.",
        "It is live or protected, or a process uses it. Or a killed deployment or `rollback` still needs it.",
        "Take the step that the hint names, then remove the release.",
    ),
    Code.INVENTORY_INVALID: Explanation(
        (Exit.MISCONFIGURED,),
        "The rollout does not know its hosts.",
        "The inventory is not valid, or credentials are missing; the message lists every problem.",
        "Fix each problem.",
    ),
    Code.PACKAGES_MISSING: Explanation(
        (Exit.MISCONFIGURED,),
        "The command needs Python packages that are not installed.",
        "Containers do not need the packages that read maestro-ng files, so the agent is installed without them.",
        "Install the agent with its extra `fleet` on the machine that starts rollouts.",
    ),
    Code.FLEET_EMPTY: Explanation(
        (Exit.MISCONFIGURED,),
        "No host is left to deploy to.",
        "The inventory is empty, or the filters leave no host.",
        "Check the filters, `--limit` and `--exclude`.",
    ),
    Code.FLEET_MIXED: Explanation(
        (Exit.REFUSED,),
        "The hosts do not belong together.",
        "They have several environments or more than 32 applications. Or the inventory does not tell their applications apart.",
        "Choose the hosts of one application, or give every host its `service`, as for "
        "[the whole system](../guides/fleet.md#roll-out-a-whole-system).",
    ),
    Code.GATE_UNCONFIRMED: Explanation(
        (Exit.MISCONFIGURED,),
        "The rollout has `--gate`, and `resume` does not name the same command.",
        "The agent runs no command from the record, because others may write the record.",
        "Read the command in the message, then run `rollout resume ID --gate COMMAND`.",
    ),
    Code.COMMITS_DIFFER: Explanation(
        (Exit.REFUSED,),
        (
            "The revision names other commits on some hosts, or in the environment that it is promoted from. For one host: "
            "the host deployed other commits than the rollout's."
        ),
        "A mirror lags behind, or a tag was moved.",
        "Fetch the repositories that lag behind; do not move tags.",
    ),
    Code.FLEET_STOPPED: Explanation(
        (Exit.FLEET_FAILED,),
        "The rollout stopped.",
        "More hosts failed or were unreachable than the budgets allow, or no host answered.",
        "Fix the hosts in the message, or raise the budgets.",
    ),
    Code.ROLLOUT_UNKNOWN: Explanation(
        (Exit.NO_TARGET,),
        "The record has no rollout of this id.",
        "With `CONSUL_HTTP_ADDR` the record is in Consul, without it in a file.",
        "Run `release-agent rollout list` with the same `CONSUL_HTTP_ADDR` as `rollout start`.",
    ),
    Code.ROLLOUT_ENDED: Explanation(
        (Exit.NO_TARGET,),
        "The rollout has ended, is stopping, or is being reverted.",
        "It starts no more hosts.",
        "Start another rollout, or revert this one.",
    ),
    Code.LOCKED: Explanation(
        (Exit.LOCKED,),
        "Another rollout of the fleet is running.",
        "The message shows its id and its operator.",
        "Wait until that rollout ends, or run `rollout abort ID`.",
    ),
    Code.LOCK_LOST: Explanation(
        (Exit.FLEET_FAILED,),
        "Another process has the fleet's lock now.",
        "This rollout's process could not renew it in time.",
        "Look at `rollout status ID`. When the other rollout has ended, run `rollout resume ID`.",
    ),
    Code.RECORD_UNREACHABLE: Explanation(
        (Exit.FLEET_FAILED,),
        "The record of rollouts cannot be read or written.",
        "Consul does not answer, or the file cannot be used.",
        "Fix Consul or the file, then run `rollout resume ID`.",
    ),
    Code.HOST_UNREACHABLE: Explanation(
        (),
        "A host does not answer, or cannot report its deployment.",
        "Its journal is locked, its supervisord restarts, or the network or the host is down.",
        "Check the host. A deployment that has started there ends on its own.",
    ),
    Code.HOST_UNAUTHORISED: Explanation(
        (Exit.MISCONFIGURED,),
        "A host wants another user or password.",
        "The rollout has no credentials, or wrong ones. It does not start.",
        "Set `--user` and `--password-file`, or the keys in `[fleet]` of fleet.toml.",
    ),
    Code.HOST_UNFIT: Explanation(
        (),
        "A host cannot take part.",
        "Its supervisord has no plugin, or its agent has another major version.",
        "Include supervisor.d/plugin.conf, or upgrade the agent.",
    ),
    Code.HOST_BUSY: Explanation(
        (),
        "The host refuses the deployment.",
        "Another deployment is running on it.",
        "Wait until that deployment ends.",
    ),
    Code.HOST_IN_MAINTENANCE: Explanation(
        (),
        "The rollout leaves the host out.",
        "Somebody has put the host into maintenance mode in Consul.",
        "End the maintenance mode, or exclude the host.",
    ),
    Code.HOST_LATE: Explanation(
        (),
        "A host did not finish within `--deadline`.",
        "Its deployment continues.",
        "Check the host, or allow more time.",
    ),
    Code.HOST_SICK: Explanation(
        (),
        "A host became critical during the bake time.",
        "One of its services is not healthy.",
        "Check the services of the host.",
    ),
    Code.HOST_MOVED_ON: Explanation(
        (),
        "A revert found no sign in a host's history that the rollout deployed the live release there.",
        "A later rollout or a person deployed it, or the history does not go back that far.",
        "The revert leaves the host as it is. To roll it back as well, run `release-agent rollback` on the host.",
    ),
    Code.BUG: Explanation(
        (Exit.ERROR,),
        "The agent has a bug.",
        "The traceback is on stderr.",
        "Report it with the traceback.",
    ),
}


def table() -> str:
    """Return all explanations as the table in docs/reference/exit-and-error-codes.md."""
    head = ["| code | exit | what happened, and why | what to do |", "|---|---|---|---|"]
    return "\n".join([*head, *(_row(code, one) for code, one in EXPLANATIONS.items())]) + "\n"


def _row(code: Code, one: Explanation) -> str:
    cells = (f"`{code}`", ", ".join(str(int(number)) for number in one.exits), f"{one.happened} {one.why}".strip(), one.to_do)
    return "".join(f"| {cell} " if cell else "| " for cell in cells) + "|"
