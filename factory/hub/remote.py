"""A dataset repository on the Hub: what is there, and one commit that makes it something else.

    remote = Remote("me/tickets", None, token)
    remote.state()  ->  State(head="5f0c…", private=True, files={"README.md": "a1b2…"})

All requests are made by huggingface_hub; its errors end here, as sentences.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from factory import __version__
from factory.errors import FactoryError, HubError, UserError
from factory.hub.files import Upload
from factory.hub.transfer import Transfer, addition

PUBLIC_ENDPOINT = "https://huggingface.co"
REPO_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
LONGEST_ID = 96
THREADS = 4
DRY_TIMEOUT_S = 10.0
CONFLICTS = (409, 412)


@dataclass(frozen=True)
class State:
    """What a branch of a repository holds.

    Attributes:
        head: Its last commit.
        private: Whether only its owner sees the repository.
        files: Content by path: sha256 for large files, the name that git gives it for small ones.
    """

    head: str
    private: bool
    files: dict[str, str]

    def holds(self, upload: Upload) -> bool:
        """Whether the file is there with this very content."""
        content = self.files.get(upload.path)
        return content is not None and content in (upload.sha256, upload.blob_id)


class Conflict(Exception):
    """Somebody else has committed since the state was read."""


class Remote:
    """One branch of one dataset repository."""

    def __init__(self, repo_id: str, branch: str | None, token: str | None) -> None:
        """Nothing is asked yet.

        Args:
            repo_id: `owner/name`.
            branch: None for the main one.
            token: None for what anybody may see.

        Raises:
            UserError: If the id is none, or huggingface_hub is not installed.
        """
        if not REPO_ID.fullmatch(repo_id) or len(repo_id) > LONGEST_ID or "--" in repo_id or ".." in repo_id:
            raise UserError(f"'{repo_id}': expected a repository as OWNER/NAME, of letters, digits, '-', '_' and '.'.")
        hub = _hub()
        self.repo_id = repo_id
        self.branch = branch
        self.endpoint = os.environ.get("HF_ENDPOINT", PUBLIC_ENDPOINT).rstrip("/")
        self._token = token
        self._api = hub.HfApi(
            endpoint=self.endpoint,
            token=token or False,
            library_name="dataset-factory",
            library_version=__version__,
        )

    @property
    def url(self) -> str:
        """Its page."""
        return f"{self.endpoint}/datasets/{self.repo_id}"

    def sign_in(self) -> str:
        """The name of whoever the token belongs to.

        Raises:
            UserError: If the Hub does not accept it.
            HubError: If it does not answer.
        """
        with self._told("asked who you are"):
            return str(self._api.whoami()["name"])

    def state(self) -> State | None:
        """What the branch holds; None where there is no such repository, or nobody may see it.

        Raises:
            UserError: If the token may not see it.
            HubError: If the Hub does not answer.
        """
        with self._told("asked what is there"):
            info = self._info(None)
            if info is None:
                return None
            branch = self._info(self.branch) if self.branch else info
            return None if branch is None else self._state(branch, private=info.private is True)

    def main(self) -> State | None:
        """What the main branch holds, of which a new one is a copy; None where there is no such repository."""
        with self._told("asked what is there"):
            info = self._info(None)
            return None if info is None else self._state(info, private=info.private is True)

    def visible(self) -> bool | None:
        """Whether the repository is private; None where there is none."""
        with self._told("asked whether it is private"):
            info = self._info(None)
            return None if info is None else info.private is True

    def _info(self, revision: str | None) -> Any | None:
        from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

        try:
            return self._api.dataset_info(self.repo_id, revision=revision, timeout=DRY_TIMEOUT_S)
        except RepositoryNotFoundError as error:
            if error.response is not None and error.response.status_code == 401 and self._token:
                raise
            return None
        except RevisionNotFoundError:
            return None

    def _state(self, info: Any, *, private: bool) -> State:
        from huggingface_hub.errors import EntryNotFoundError
        from huggingface_hub.hf_api import RepoFile

        files = {}
        try:
            for entry in self._api.list_repo_tree(self.repo_id, recursive=True, revision=info.sha, repo_type="dataset"):
                if isinstance(entry, RepoFile):
                    files[entry.path] = entry.lfs.sha256 if entry.lfs is not None else entry.blob_id
        except EntryNotFoundError:  # an empty branch has no tree
            pass
        return State(info.sha, private, files)

    def content(self, path: str, commit: str) -> bytes:
        """A small file as it is there in a commit.

        Raises:
            UserError: If the token may not read it.
            HubError: If the Hub does not answer.
        """
        with self._told(f"asked for {path}"), TemporaryDirectory() as folder:
            found = self._api.hf_hub_download(
                self.repo_id, path, repo_type="dataset", revision=commit, local_dir=folder
            )
            return Path(found).read_bytes()

    def create(self, *, private: bool) -> None:
        """Make the repository; one that exists is left as it is. Then the branch.

        Raises:
            UserError: If the token may not.
            HubError: If the Hub does not answer.
        """
        with self._told("asked to make the repository"):
            self._api.create_repo(self.repo_id, repo_type="dataset", private=private, exist_ok=True)

    def make_branch(self) -> None:
        """Make the branch; one that exists is left as it is."""
        if self.branch:
            with self._told("asked to make the branch"):
                self._api.create_branch(self.repo_id, branch=self.branch, repo_type="dataset", exist_ok=True)

    def send(self, uploads: Sequence[Upload], transfer: Transfer) -> list[Any]:
        """Upload large files, except those whose content is on the Hub already; gives what `commit` takes.

        Raises:
            UserError: If the token may not.
            HubError: If the Hub does not answer.
        """
        operations = [addition(upload, transfer) for upload in uploads]
        with self._told("sent files"):
            self._api.preupload_lfs_files(
                self.repo_id,
                additions=operations,
                repo_type="dataset",
                revision=self.branch,
                num_threads=THREADS,
                free_memory=False,
            )
        return operations

    def commit(self, operations: list[Any], deleted: Sequence[str], message: str, parent: str) -> str:
        """Put all files in place and take others away, in one commit; gives its id.

        Raises:
            Conflict: If the branch is no longer at `parent`.
            UserError: If the Hub does not take it.
            HubError: If it does not answer.
        """
        gone = [_hub().CommitOperationDelete(path_in_repo=path, is_folder=False) for path in deleted]
        with self._told("sent the commit"):
            done = self._api.create_commit(
                self.repo_id,
                operations=[*operations, *gone],
                commit_message=message,
                repo_type="dataset",
                revision=self.branch,
                num_threads=THREADS,
                parent_commit=parent,
            )
        return str(done.oid)

    @contextmanager
    def _told(self, doing: str) -> Iterator[None]:
        """Other people's exceptions, as ours."""
        errors = _errors()
        try:
            yield
        except ValueError as error:
            if isinstance(error, errors):
                raise self._sentence(error, doing) from error
            raise UserError(f"{self.repo_id}: the Hub does not take this ({_flat(error)}).") from error
        except RuntimeError as error:  # how a thread of the client, or Xet, ends
            cause = error.__cause__ if isinstance(error.__cause__, errors) else error
            raise self._sentence(cause, doing) from error
        except errors as error:
            raise self._sentence(error, doing) from error

    def _sentence(self, error: BaseException, doing: str) -> FactoryError | Conflict:
        response = getattr(error, "response", None)
        status = response.status_code if response is not None else None
        if status in CONFLICTS:
            return Conflict(str(status))
        if status == 401:
            return UserError(
                f"{self.repo_id}: the Hub does not accept the token; set HF_TOKEN to one of {self.endpoint}/settings/tokens."
            )
        if status == 403:
            return UserError(
                f"{self.repo_id}: the token may not write there; take one with the right to write, or a repository of yours."
            )
        if status == 404:
            return UserError(
                f"{self.repo_id}: is not on the Hub, or the token may not see it; check OWNER and the token."
            )
        if status is not None and 400 <= status < 500 and status not in (408, 429):
            return UserError(f"{self.repo_id}: the Hub does not take this ({_flat(error)}).")
        what = f"answered {status}" if status is not None else f"cannot be reached ({_flat(error)})"
        return HubError(f"{self.endpoint}: {what} when {doing}; the same command goes on where it was.")


def _hub() -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise UserError(
            "'factory push' needs huggingface_hub: pip install 'dataset-factory[train]', or pip install huggingface_hub."
        ) from error
    return huggingface_hub


def saved_token() -> str | None:
    """What HF_TOKEN says, else what `hf auth login` has saved."""
    return _hub().get_token() or None


def _errors() -> tuple[type[BaseException], ...]:
    """What the client raises when it gets an error or no answer: by way of httpx or requests, as its version has it."""
    from huggingface_hub.errors import HfHubHTTPError

    return (HfHubHTTPError.__mro__[1], HfHubHTTPError, OSError)


def _flat(error: BaseException) -> str:
    """The error on one line, without what signs a URL."""
    text = " ".join(re.sub(r"\?\S*", "", str(error)).split()) or type(error).__name__
    return text if len(text) <= 300 else f"{text[:300]} …"
