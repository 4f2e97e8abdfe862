"""`factory.push`: the dataset of a run, with card, recipe and manifest, to the Hub.

    push("runs/tickets", "me/tickets", dry_run=True).files  ->  [Upload("README.md", …), …]

Large files go up first, in batches; then one commit puts everything in place and takes shards of an earlier push away, so
that the repository is never a mix of two. Whatever ends it before, the same call goes on: the Hub tells which contents it
has, and those are not sent again.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from factory.card import Published, card
from factory.errors import FactoryError, HubError, UserError
from factory.hub.files import MANIFEST, REPORT, Upload, gather, stale
from factory.hub.refusals import require_claims_on, require_sound, require_whole
from factory.hub.remote import Conflict, Remote, State, saved_token
from factory.hub.secrets import environment_secrets, require_none
from factory.hub.transfer import Transfer, quiet_client
from factory.rundir import RunDir

BATCH_FILES, BATCH_BYTES = 16, 2 * 10**9  # what is sent after one question: signed addresses do not last for ever
ATTEMPTS = 5
PAUSE_S = 2.0
REPORTING = "factory.reporting"


@dataclass(frozen=True)
class Pushed:
    """What went to the Hub, or would go.

    Attributes:
        repo_id: The repository.
        url: Its page.
        commit: The commit that holds the files; empty for a dry run.
        changed: Whether that commit was made now; False where the same files were there already.
        private: Whether the repository is private.
        files: What goes up.
        deleted: Files of an earlier push that are taken away; None where the Hub could not be asked.
        card: The dataset card.
        notes: What is worth knowing.
    """

    repo_id: str
    url: str
    commit: str
    changed: bool
    private: bool
    files: list[Upload]
    deleted: list[str] | None
    card: str
    notes: list[str] = field(default_factory=list)


def push(
    path: str | Path,
    repo_id: str,
    *,
    public: bool = False,
    dry_run: bool = False,
    revision: str | None = None,
    message: str | None = None,
    report: bool = True,
    rejected: bool = False,
    lineage: bool = False,
    partial: bool = False,
    replace: bool = False,
    allow_secrets: bool = False,
    progress: bool = True,
) -> Pushed:
    """Send the dataset of a run to a dataset repository.

    The token is that of HF_TOKEN, or what `hf auth login` has saved; the Hub that of HF_ENDPOINT.

    Args:
        path: Run directory; it is only read, but for its report.
        repo_id: `owner/name`; made if it is not there.
        public: Everybody may see it. A repository that exists keeps what it is: another wish is refused.
        dry_run: Send nothing, and tell what would be sent; needs neither token nor network.
        revision: Branch; made if it is not there.
        message: Of the commit.
        report: Send `report.html` as well.
        rejected: Send the rejected rows as well.
        lineage: Send the records that others were made from as well.
        partial: Send a preview or a run that was stopped short.
        replace: Go on where the repository holds another dataset, or files that no push of the factory has written.
        allow_secrets: Do not look for keys and tokens.
        progress: Show on standard error how far it is.

    Raises:
        UserError: If the run may not be shared, the repository is not what it should be, or the token does not do.
        HubError: If the Hub does not answer; the same call goes on where it was.
    """
    run = RunDir(Path(path))
    token = saved_token()
    remote = Remote(repo_id, revision, token)
    with run.left_alone():
        manifest = require_sound(run, partial=partial)
        notes: list[str] = []
        has_report = report and _reported(run, dry_run, notes)
        folders = ("rejected",) * rejected + ("lineage",) * lineage
        require_whole(run.path, folders)
        published = Published(repo_id, revision, folders, has_report)
        text = card(manifest, run.path / "data", run.recipe_text(), published)
        require_claims_on(text, manifest)
        uploads = gather(run.path, text.encode(), ("data", *folders), report=has_report)
        if not allow_secrets:
            require_none(uploads, environment_secrets(token, manifest["recipe"]))
        plan = _Plan(remote, manifest["name"], uploads, public, replace)
        if dry_run:
            with quiet_client(Transfer(uploads, enabled=False)):
                deleted = _asked(plan, notes)
            return Pushed(repo_id, remote.url, "", False, not public, uploads, deleted, text, notes)
        if token is None:
            raise UserError(
                f"{repo_id}: a push needs a token: set HF_TOKEN to one of {remote.endpoint}/settings/tokens that may write."
            )
        said = message or f"{manifest['name']}: {manifest['rows']:,} {'row' if manifest['rows'] == 1 else 'rows'}"
        commit, changed, deleted = _send(plan, said, progress=progress)
    return Pushed(repo_id, remote.url, commit, changed, not public, uploads, deleted, text, notes)


def _reported(run: RunDir, dry_run: bool, notes: list[str]) -> bool:
    """Whether there is a report to send; it is made anew where the factory can."""
    can = importlib.util.find_spec(REPORTING) is not None
    if can and not dry_run:
        importlib.import_module(REPORTING).report(run.path)
    there = (run.path / REPORT).exists()
    if can and dry_run:
        notes.append(f"{REPORT} is made anew before it is sent{'' if there else ', and not listed here'}")
    return there


@dataclass(frozen=True)
class _Plan:
    """What is to be where."""

    remote: Remote
    name: str
    uploads: list[Upload]
    public: bool
    replace: bool

    def require_fit(self, state: State) -> list[str]:
        """Files that have to go, if the repository is what it should be.

        Raises:
            UserError: If it is not.
        """
        self.require_visibility(private=state.private)
        gone = stale(list(state.files), self.uploads)
        touched = sorted({upload.path for upload in self.uploads} & set(state.files) | set(gone))
        if touched and not self.replace:
            self._require_ours(state, touched)
        return gone

    def _require_ours(self, state: State, touched: Sequence[str]) -> None:
        """Make sure that what is replaced is an earlier push of the same dataset."""
        if MANIFEST not in state.files:
            what = f"files that no push of the factory has written ({', '.join(touched[:3])})"
        elif any(state.holds(upload) for upload in self.uploads if upload.path == MANIFEST):
            return
        else:
            name = _name_in(self.remote.content(MANIFEST, state.head))
            if name == self.name:
                return
            what = f"another dataset ('{name}', this is '{self.name}')" if name else f"a {MANIFEST} that is no run's"
        raise UserError(
            f"{self.remote.repo_id}: holds {what}; choose another repository, or put these files in their place with --replace."
        )

    def require_visibility(self, *, private: bool) -> None:
        """Make sure that a push makes nothing public that was not asked for, nor private.

        Raises:
            UserError: If it is the other way round.
        """
        settings = f"{self.remote.url}/settings"
        if not private and not self.public:
            raise UserError(
                f"{self.remote.repo_id}: is public, so everybody would see these files at once. Push with --public if that is "
                f"meant, name another repository, or make this one private first: {settings}"
            )
        if private and self.public:
            raise UserError(
                f"{self.remote.repo_id}: is private, and a push does not change that. Push without --public, or make it public "
                f"first: {settings}"
            )

    def fulfilled(self, state: State) -> bool:
        """Whether the repository holds these files, and none of an earlier push."""
        return all(map(state.holds, self.uploads)) and not stale(list(state.files), self.uploads)


def _name_in(manifest: bytes) -> str:
    """The name of the dataset that a manifest tells of; empty if it is no manifest."""
    try:
        found = json.loads(manifest)
    except ValueError:
        return ""
    return str(found.get("name") or "") if isinstance(found, dict) and "fingerprint" in found else ""


def _asked(plan: _Plan, notes: list[str]) -> list[str] | None:
    """For a dry run: what would be deleted; None, with a note, where the Hub cannot be asked."""
    try:
        state = plan.remote.state()
        main = plan.remote.main() if state is None else None
    except FactoryError as error:
        notes.append(f"what would be deleted is not known: {_cause(error)}")
        return None
    if state is not None:
        return plan.require_fit(state)
    if main is not None:
        notes.append(f"the branch '{plan.remote.branch}' would be made, as a copy of the main one")
        return plan.require_fit(main)
    notes.append(
        f"{plan.remote.repo_id} would be made, {'public' if plan.public else 'private'}, if it is not there yet"
    )
    return []


def _send(plan: _Plan, message: str, *, progress: bool) -> tuple[str, bool, list[str]]:
    """Send, commit, and look whether it is there; gives the commit, whether it is new, and what was deleted."""
    transfer = Transfer(plan.uploads, enabled=progress)
    with quiet_client(transfer), transfer:
        state = _prepared(plan)
        if plan.fulfilled(state):
            transfer.settle([upload.path for upload in plan.uploads])
            return state.head, False, []
        for attempt in range(ATTEMPTS):
            operations = _uploaded(plan, transfer)
            state = _required(plan)  # anew: somebody may have opened it to the public while files were on their way
            plan.require_visibility(private=state.private)
            gone = stale(list(state.files), plan.uploads)
            made, failed = _committed(plan, operations, gone, message, state)
            held = _required(plan)
            if plan.fulfilled(held):
                return held.head, True, gone
            if made == held.head or attempt + 1 == ATTEMPTS:
                break
            transfer.say(f"{failed or 'somebody else has committed right after'}; trying again")
            time.sleep(PAUSE_S * 2**attempt)
    raise _unfinished(plan, held, failed)


def _committed(plan: _Plan, operations: list[Any], gone: Sequence[str], message: str, state: State) -> tuple[str, str]:
    """Commit once; gives the commit, or why there may be none. An answer can be lost: what counts is what is there then."""
    try:
        return plan.remote.commit(operations, gone, message, state.head), ""
    except Conflict:
        return "", f"{plan.remote.repo_id}: somebody else has committed at the same time"
    except HubError as error:
        return "", _cause(error)


def _cause(error: FactoryError) -> str:
    return str(error).removesuffix("; the same command goes on where it was.")


def _unfinished(plan: _Plan, held: State, failed: str) -> FactoryError:
    if failed:
        return HubError(f"{failed}, {ATTEMPTS} times; the same command goes on where it was.")
    lacking = [upload.path for upload in plan.uploads if not held.holds(upload)]
    return UserError(
        f"{plan.remote.repo_id}: was committed without {', '.join(lacking[:3])}; if its .gitignore names them, take them out of "
        "it and push again."
    )


def _prepared(plan: _Plan) -> State:
    """What the branch holds; repository and branch are made where they are not there."""
    remote = plan.remote
    remote.sign_in()
    private = remote.visible()
    if private is None:
        remote.create(private=not plan.public)
        private = remote.visible()
    if private is not None:
        plan.require_visibility(private=private)
    if remote.branch and remote.state() is None:
        if (main := remote.main()) is not None:
            plan.require_fit(main)
        remote.make_branch()
    state = _required(plan)
    plan.require_fit(state)
    return state


def _required(plan: _Plan) -> State:
    state = plan.remote.state()
    if state is None:
        raise UserError(
            f"{plan.remote.repo_id}: cannot be seen on the Hub; check that the token may read and write there."
        )
    return state


def _uploaded(plan: _Plan, transfer: Transfer) -> list[Any]:
    """All files sent; the client skips what the Hub has."""
    operations = []
    for batch in _batches(plan.uploads):
        operations += plan.remote.send(batch, transfer)
        transfer.settle([upload.path for upload in batch])
    return operations


def _batches(uploads: Sequence[Upload]) -> Iterator[list[Upload]]:
    batch: list[Upload] = []
    for upload in uploads:
        if batch and (len(batch) == BATCH_FILES or sum(each.size for each in batch) + upload.size > BATCH_BYTES):
            yield batch
            batch = []
        batch.append(upload)
    if batch:
        yield batch
