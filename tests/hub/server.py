"""A Hub on 127.0.0.1 that speaks the protocol as far as huggingface_hub uses it for datasets, with faults on demand.

It keeps repositories in memory, checks every sha256, and logs every request. `Fault("PUT", "/lfs/", cut=1000)` reads so many
bytes of the next such request and closes the connection.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

OWNER, READER, STRANGER = "hf_" + "o" * 34, "hf_" + "r" * 34, "hf_" + "s" * 34
USERS = {OWNER: "me", READER: "me"}
PAGE = 20  # entries of a tree in one answer


@dataclass
class Fault:
    """What goes wrong with the next `times` requests that match."""

    method: str
    path: str
    times: int = 1
    after: int = 0
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None
    lost: bool = False
    wait_s: float = 0.0
    act: Callable[[], None] | None = None


@dataclass
class Repo:
    private: bool
    branches: dict[str, list[tuple[str, dict[str, tuple[str, str, int]]]]]
    commits: list[dict[str, Any]] = field(default_factory=list)

    def tree(self, revision: str) -> tuple[str, dict[str, tuple[str, str, int]]] | None:
        """Commit and files (kind, oid, size) of a branch or commit."""
        if revision in self.branches:
            return self.branches[revision][-1]
        return next((each for line in self.branches.values() for each in line if each[0] == revision), None)


@dataclass
class Asked:
    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes
    status: int = 0


class Hub:
    """Repositories and contents; `start` and `stop` may be called again and again, on the same port."""

    def __init__(self, *, chunk: int | None = None) -> None:
        self.chunk = chunk
        self.repos: dict[str, Repo] = {}
        self.blobs: dict[str, bytes] = {}
        self.parts: dict[tuple[str, int], bytes] = {}
        self.faults: list[Fault] = []
        self.log: list[Asked] = []
        self.put: Counter[str] = Counter()
        self.lock = threading.RLock()
        self.port = 0
        self._server: _Server | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self._server = _Server(("127.0.0.1", self.port), _Handler)
        self._server.hub = self
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self) -> None:
        if self._server is not None:
            server, self._server = self._server, None
            server.shutdown()
            server.server_close()
            for connection in list(server.connections):
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def make(self, name: str, *, private: bool, files: dict[str, bytes] | None = None) -> Repo:
        tree = {}
        for path, content in {".gitattributes": b"*.parquet filter=lfs\n", **(files or {})}.items():
            kind, oid = (
                ("lfs", hashlib.sha256(content).hexdigest()) if path.endswith(".parquet") else ("file", git(content))
            )
            self.blobs[oid] = content
            tree[path] = (kind, oid, len(content))
        self.repos[name] = Repo(private, {"main": [(hashlib.sha1(name.encode()).hexdigest(), tree)]})
        return self.repos[name]

    def files(self, name: str, revision: str = "main") -> dict[str, bytes]:
        found = self.repos[name].tree(revision)
        assert found is not None
        return {path: self.blobs[oid] for path, (_, oid, _) in found[1].items() if path != ".gitattributes"}

    def fault(self, method: str, path: str) -> Fault | None:
        with self.lock:
            for each in self.faults:
                if each.method == method and re.search(each.path, path):
                    if each.after:
                        each.after -= 1
                        continue
                    each.times -= 1
                    if not each.times:
                        self.faults.remove(each)
                    return each
        return None


def git(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64
    hub: Hub

    def __init__(self, *arguments: Any) -> None:
        self.connections: set[socket.socket] = set()
        super().__init__(*arguments)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a client that was killed


class _Refused(Exception):
    def __init__(self, status: int, message: str = "", **headers: str) -> None:
        self.status, self.message = status, message
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def handle_any(self) -> None:
        parts = urlsplit(self.path)
        self.hub, self.route, self.query = self.server.hub, unquote(parts.path), parse_qs(parts.query)
        fault = self.hub.fault(self.command, self.route)
        self.asked = Asked(
            self.command, self.route, parts.query, {name.lower(): value for name, value in self.headers.items()}, b""
        )
        with self.hub.lock:
            self.hub.log.append(self.asked)
        if fault is not None and fault.wait_s:
            time.sleep(fault.wait_s)
        if fault is not None and fault.cut is not None:
            taken = len(self.rfile.read(fault.cut))
            self._count(taken)
            self._hang_up()
            return
        self.asked.body = self._body()
        if fault is not None and fault.act is not None:
            fault.act()
        if fault is not None and fault.status:
            self._answer(fault.status, {"error": "planted"}, fault.headers)
            return
        try:
            with self.hub.lock:
                status, content, headers = self._do()
        except _Refused as no:
            status, content = no.status, {"error": no.message}
            headers = {"X-Error-Message": no.message, **no.headers}
        if fault is not None and fault.lost:
            self._hang_up()
            return
        self._answer(status, content, headers)

    do_GET = do_POST = do_PUT = do_HEAD = handle_any

    def _body(self) -> bytes:
        """The body; of a PUT block by block, so that what was sent is known if it is cut off."""
        if self.headers.get("Transfer-Encoding") == "chunked":
            found = b""
            while size := int(self.rfile.readline(), 16):
                block = self.rfile.read(size)
                self.rfile.readline()
                self._count(len(block))
                found += block
            self.rfile.readline()
            return found
        left, found = int(self.headers.get("Content-Length") or 0), b""
        while left:
            block = self.rfile.read1(min(left, 1 << 16))
            if not block:
                raise ConnectionError
            self._count(len(block))
            found, left = found + block, left - len(block)
        return found

    def _count(self, size: int) -> None:
        if self.command == "PUT":
            with self.hub.lock:
                self.hub.put[self.route.split("/")[2]] += size

    def _hang_up(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def _answer(self, status: int, content: Any, headers: dict[str, str]) -> None:
        self.asked.status = status
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), "X-Request-Id": "local", **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    # --- who asks, and for what ------------------------------------------------------------------------

    def _user(self) -> str | None:
        given = self.headers.get("Authorization")
        if given is None:
            return None
        token = given.removeprefix("Bearer ")
        if token not in USERS:
            raise _Refused(401, "Invalid credentials in Authorization header")
        return USERS[token]

    def _writer(self, name: str) -> None:
        if self._user() != name.split("/")[0] or self.headers["Authorization"].endswith(READER):
            raise _Refused(403, "You don't have the rights")

    def _repo(self, name: str) -> Repo:
        repo, user = self.hub.repos.get(name), self._user()
        if repo is None or (repo.private and user != name.split("/")[0]):
            raise _Refused(404 if user else 401, "Repository not found", X_Error_Code="RepoNotFound")
        return repo

    def _tree(self, repo: Repo, revision: str) -> tuple[str, dict[str, tuple[str, str, int]]]:
        found = repo.tree(revision)
        if found is None:
            raise _Refused(404, f"Invalid rev id: {revision}", X_Error_Code="RevisionNotFound")
        return found

    def _do(self) -> tuple[int, Any, dict[str, str]]:
        for method, pattern, name in ROUTES:
            if self.command == method and (match := re.fullmatch(pattern, self.route)):
                done = getattr(self, name)(**match.groupdict())
                return done if isinstance(done, tuple) else (200, done, {})
        raise _Refused(404, "no such page")

    def whoami(self) -> Any:
        user = self._user()
        if user is None:
            raise _Refused(401, "Invalid username or password.")
        return {"type": "user", "name": user, "orgs": []}

    def create(self) -> Any:
        wish = json.loads(self.asked.body)
        assert wish["type"] == "dataset"
        name = f"{wish['organization'] or self._user()}/{wish['name']}"
        self._writer(name)
        if name in self.hub.repos:
            raise _Refused(409, "You already created this dataset repo")
        private = wish["private"] if "private" in wish else wish.get("visibility") == "private"
        self.hub.make(name, private=private)
        return {"url": f"{self.hub.url}/datasets/{name}", "name": name}

    def validate(self) -> Any:
        content = json.loads(self.asked.body)["content"]
        found = re.match(r"\s*---\n(.*?)\n---\n", content, re.DOTALL)
        errors = [] if found else [{"message": "no metadata"}]
        try:
            header = yaml.safe_load(found[1]) if found else {}
        except yaml.YAMLError as error:
            header, errors = {}, [{"message": str(error)}]
        if not errors and header.get("license") == "proprietary-nonsense":
            errors = [{"message": '"license" must be one of [apache-2.0, …]'}]
        return (400 if errors else 200), {"errors": errors, "warnings": []}, {}

    def info(self, name: str, revision: str = "main") -> Any:
        repo = self._repo(name)
        head, files = self._tree(repo, revision)
        siblings = [{"rfilename": path} for path in files]
        return {"id": name, "sha": head, "private": repo.private, "siblings": siblings, "tags": [], "downloads": 0}

    def branch(self, name: str, branch: str) -> Any:
        repo = self._repo(name)
        self._writer(name)
        if branch in repo.branches:
            raise _Refused(409, "Reference already exists")
        repo.branches[branch] = list(repo.branches["main"])
        return {}

    def tree(self, name: str, revision: str) -> Any:
        _, files = self._tree(self._repo(name), revision)
        folders = sorted({path.rsplit("/", 1)[0] for path in files if "/" in path})
        entries: list[dict[str, Any]] = [
            {"type": "directory", "path": path, "oid": "0" * 40, "size": 0} for path in folders
        ]
        for path, (kind, oid, size) in sorted(files.items()):
            entry = {"type": "file", "path": path, "size": size, "oid": oid if kind == "file" else git(oid.encode())}
            entries.append(entry | ({"lfs": {"oid": oid, "size": size, "pointerSize": 134}} if kind == "lfs" else {}))
        first = int(self.query.get("cursor", ["0"])[0])
        headers = {}
        if len(entries) > first + PAGE:
            link = f"{self.hub.url}{self.path.split('?')[0]}?recursive=true&cursor={first + PAGE}"
            headers = {"Link": f'<{link}>; rel="next"'}
        return 200, entries[first : first + PAGE], headers

    def preupload(self, name: str, revision: str) -> Any:
        repo = self._repo(name)
        self._writer(name)
        _, files = self._tree(repo, revision)
        ignored = self.hub.blobs[files[".gitignore"][1]].decode().split() if ".gitignore" in files else []
        return {
            "files": [
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if file["path"].endswith(".parquet") else "regular",
                    "shouldIgnore": file["path"] in ignored,
                    "oid": files[file["path"]][1] if file["path"] in files else None,
                }
                for file in json.loads(self.asked.body)["files"]
            ]
        }

    def batch(self, name: str) -> Any:
        self._repo(name)
        self._writer(name)
        return {
            "transfer": "basic",
            "objects": [self._object(each, name) for each in json.loads(self.asked.body)["objects"]],
        }

    def _object(self, wish: dict[str, Any], name: str) -> dict[str, Any]:
        oid, size = wish["oid"], wish["size"]
        if oid in self.hub.blobs:
            return wish
        verify = {"href": f"{self.hub.url}/datasets/{name}.git/info/lfs/objects/verify"}
        if self.hub.chunk is None or size <= self.hub.chunk:
            return wish | {"actions": {"upload": {"href": f"{self.hub.url}/lfs/{oid}?signature=x"}, "verify": verify}}
        count = -(-size // self.hub.chunk)
        header = {str(number): f"{self.hub.url}/lfs/{oid}/{number}?signature=x" for number in range(1, count + 1)}
        header["chunk_size"] = str(self.hub.chunk)
        return wish | {
            "actions": {"upload": {"href": f"{self.hub.url}/lfs/{oid}/complete", "header": header}, "verify": verify}
        }

    def store(self, oid: str) -> Any:
        if hashlib.sha256(self.asked.body).hexdigest() != oid:
            raise _Refused(400, "sha256 differs")
        self.hub.blobs[oid] = self.asked.body
        return b""

    def store_part(self, oid: str, number: str) -> Any:
        self.hub.parts[oid, int(number)] = self.asked.body
        return 200, b"", {"ETag": hashlib.md5(self.asked.body).hexdigest()}

    def complete(self, oid: str) -> Any:
        listed = json.loads(self.asked.body)["parts"]
        content = b"".join(self.hub.parts[oid, each["partNumber"]] for each in listed)
        if hashlib.sha256(content).hexdigest() != oid:
            raise _Refused(400, "sha256 differs")
        self.hub.blobs[oid] = content
        return {}

    def verify(self, name: str) -> Any:
        self._writer(name)
        wish = json.loads(self.asked.body)
        if len(self.hub.blobs.get(wish["oid"], b"")) != wish["size"]:
            raise _Refused(404, "object not found")
        return {}

    def commit(self, name: str, revision: str) -> Any:
        repo = self._repo(name)
        self._writer(name)
        head, files = self._tree(repo, revision)
        lines = [json.loads(line) for line in self.asked.body.splitlines()]
        said = next(line["value"] for line in lines if line["key"] == "header")
        if said.get("parentCommit", head) != head:
            raise _Refused(412, "A commit has happened since. Please refresh and try again.")
        fresh = dict(files)
        for line in lines:
            self._apply(line["key"], line["value"], fresh)
        oid = hashlib.sha1(head.encode() + self.asked.body).hexdigest()
        repo.branches[revision].append((oid, fresh))
        repo.commits.append({"summary": said["summary"], "lines": lines[1:]})
        return {
            "success": True,
            "commitOid": oid,
            "commitUrl": f"{self.hub.url}/datasets/{name}/commit/{oid}",
            "hookOutput": "",
        }

    def _apply(self, key: str, value: dict[str, Any], files: dict[str, tuple[str, str, int]]) -> None:
        if key == "file":
            content = base64.b64decode(value["content"])
            self.hub.blobs[git(content)] = content
            files[value["path"]] = ("file", git(content), len(content))
        elif key == "lfsFile":
            if value["oid"] not in self.hub.blobs:
                raise _Refused(400, f"LFS pointer pointed to a file that does not exist: {value['path']}")
            files[value["path"]] = ("lfs", value["oid"], value["size"])
        elif key == "deletedFile":
            if value["path"] not in files:
                raise _Refused(404, "A file with this name doesn't exist", X_Error_Code="EntryNotFound")
            del files[value["path"]]

    def resolve(self, name: str, revision: str, path: str) -> Any:
        head, files = self._tree(self._repo(name), revision)
        if path not in files:
            raise _Refused(404, "Entry not found", X_Error_Code="EntryNotFound", X_Repo_Commit=head)
        return 200, self.hub.blobs[files[path][1]], {"ETag": f'"{files[path][1]}"', "X-Repo-Commit": head}

    def harnesses(self) -> Any:
        return {}


_NAME = r"(?P<name>[^/]+/[^/]+)"
ROUTES = [
    ("GET", "/api/whoami-v2", "whoami"),
    ("GET", "/api/agent-harnesses", "harnesses"),
    ("POST", "/api/repos/create", "create"),
    ("POST", "/api/validate-yaml", "validate"),
    ("GET", f"/api/datasets/{_NAME}", "info"),
    ("GET", f"/api/datasets/{_NAME}/revision/(?P<revision>.+)", "info"),
    ("POST", f"/api/datasets/{_NAME}/branch/(?P<branch>.+)", "branch"),
    ("GET", f"/api/datasets/{_NAME}/tree/(?P<revision>[^/]+)", "tree"),
    ("POST", f"/api/datasets/{_NAME}/preupload/(?P<revision>.+)", "preupload"),
    ("POST", f"/api/datasets/{_NAME}/commit/(?P<revision>.+)", "commit"),
    ("POST", rf"/datasets/{_NAME}\.git/info/lfs/objects/batch", "batch"),
    ("POST", rf"/datasets/{_NAME}\.git/info/lfs/objects/verify", "verify"),
    ("PUT", "/lfs/(?P<oid>[0-9a-f]{64})", "store"),
    ("PUT", r"/lfs/(?P<oid>[0-9a-f]{64})/(?P<number>\d+)", "store_part"),
    ("POST", "/lfs/(?P<oid>[0-9a-f]{64})/complete", "complete"),
    ("GET", f"/datasets/{_NAME}/resolve/(?P<revision>[^/]+)/(?P<path>.+)", "resolve"),
    ("HEAD", f"/datasets/{_NAME}/resolve/(?P<revision>[^/]+)/(?P<path>.+)", "resolve"),
]
