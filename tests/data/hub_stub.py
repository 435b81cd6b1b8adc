"""A hub of HuggingFace's kind on localhost, which serves folders as repositories to the real client.

It answers what `huggingface_hub` 2 and `datasets` 5 ask for: a repository's information, its tree, single paths, and
files, the large ones behind a redirect to another path with signed address, in whole or by range. The client reads
HF_ENDPOINT when it is imported, so that who asks is a process of its own, with the variables of `environment`.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from datasets import Dataset

LARGE = {".parquet", ".arrow", ".gz", ".zst", ".bin", ".safetensors"}  # kept apart from the repository, as on the hub
_API = re.compile(r"/api/(datasets|models)/(.+?)(?:/(revision|tree|paths-info)/([^/]+)(/.*)?)?$")
_FILE = re.compile(r"/(datasets/)?(.+?)/resolve/([^/]+)/(.+)$")


class Hub:
    """Serves `root`/datasets/OWNER/NAME and `root`/models/OWNER/NAME; as a context, it is stopped at the end.

    Args:
        root: the folder of all repositories.
        private: names of repositories that are there, and refused.
        gated: names of those that ask for an agreement first.
        moved: older names of some, and their names now.
    """

    def __init__(
        self, root: Path, private: tuple[str, ...] = (), gated: tuple[str, ...] = (), moved: Mapping[str, str] = {}
    ) -> None:
        self.root, self.private, self.gated, self.moved = root, private, gated, moved
        self.requests: list[str] = []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.endpoint = f"http://127.0.0.1:{self.server.server_port}"
        self.files = f"http://localhost:{self.server.server_port}/blobs/"  # another host, as that of large files is
        Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self) -> "Hub":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def environment(self, cache: Path) -> dict[str, str]:
        """What a process needs to ask this hub and no other, with a cache of its own."""
        return {
            "HF_ENDPOINT": self.endpoint,
            "HF_HOME": str(cache / "hf"),
            "HF_DATASETS_CACHE": str(cache / "datasets"),
            "RNNZOO_CACHE": str(cache / "rnnzoo"),
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "NO_PROXY": "127.0.0.1,localhost",
        }


def write_repository(
    folder: Path, configs: Mapping[str, Mapping[str, Dataset]], shards: int = 2, counts: bool = True
) -> None:
    """A data set as `push_to_hub` lays it out: Parquet shards, and a README that says what is in them.

    Args:
        folder: of the repository.
        configs: for each configuration its splits; a single one called "default" has its files in data/.
        shards: files of each split.
        counts: whether the README has a `dataset_info` block, with features and numbers of rows.
    """
    import yaml

    infos, listed = [], []
    for config, splits in configs.items():
        where = "data" if config == "default" else config
        sizes = []
        for split, rows in splits.items():
            for shard in range(shards):
                path = folder / where / f"{split}-{shard:05}-of-{shards:05}.parquet"
                path.parent.mkdir(parents=True, exist_ok=True)
                rows.shard(shards, shard, contiguous=True).to_parquet(str(path))
            sizes.append({"name": split, "num_bytes": int(rows.data.nbytes), "num_examples": len(rows)})
        features = next(iter(splits.values())).features._to_yaml_list()
        total = sum(size["num_bytes"] for size in sizes)
        infos.append(
            {"config_name": config, "features": features, "splits": sizes, "download_size": 1, "dataset_size": total}
        )
        files = [{"split": split, "path": f"{where}/{split}-*"} for split in splits]
        listed.append({"config_name": config, "data_files": files})
    card: dict[str, Any] = {"license": "apache-2.0", "configs": listed}
    if counts:
        card["dataset_info"] = infos if len(infos) > 1 else infos[0]
    (folder / "README.md").write_text(f"---\n{yaml.safe_dump(card, sort_keys=False)}---\n\n# A data set\n")


def _commit(repository: Path) -> str:
    """The hash that stands for the files as they are now."""
    state = "".join(f"{p.relative_to(repository)} {_oid(p)}" for p in sorted(repository.rglob("*")) if p.is_file())
    return hashlib.sha1(state.encode()).hexdigest()


def _oid(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _entry(path: Path, repository: Path) -> dict[str, Any]:
    name = path.relative_to(repository).as_posix()
    if path.is_dir():
        return {"type": "directory", "oid": hashlib.sha1(name.encode()).hexdigest(), "size": 0, "path": name}
    oid, size = _oid(path), path.stat().st_size
    entry: dict[str, Any] = {"type": "file", "oid": oid[:40], "size": size, "path": name}
    if path.suffix in LARGE:
        entry["lfs"] = {"oid": oid, "size": size, "pointerSize": 130}
    return entry


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer()

        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def log_message(self, format: str, *args: Any) -> None:
            pass

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0)).decode()
            url = urlsplit(self.path)
            path = unquote(url.path)
            hub.requests.append(" ".join([self.command, path, *filter(None, [self.headers.get("range")])]))
            if path.startswith("/blobs/"):
                self._send_file(hub.root / path.removeprefix("/blobs/"), {})
            elif match := _API.match(path):
                kind, name, what, revision, inside = match.groups()
                if repository := self._repository(kind, name, revision):
                    self._api(repository, name, what, (inside or "").strip("/"), parse_qs(url.query), parse_qs(body))
            elif match := _FILE.match(path):
                prefix, name, revision, file = match.groups()
                if repository := self._repository("datasets" if prefix else "models", name, revision):
                    self._file(repository, file)
            else:
                self._send(404, b"")

        def _repository(self, kind: str, name: str, revision: str | None) -> Path | None:
            folder = hub.root / kind / name
            if name in hub.moved:
                self._send(307, b"", {"Location": self.path.replace(f"/{name}", f"/{hub.moved[name]}", 1)})
            elif name in hub.gated and revision is not None:
                self._send(401, b"", {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access is restricted."})
            elif name in hub.private or not folder.is_dir():  # which the hub doesn't tell apart either
                self._send(401, b"", {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"})
            elif revision not in (None, "main", _commit(folder)):
                self._send(404, b"", {"X-Error-Code": "RevisionNotFound"})
            else:
                return folder
            return None

        def _api(self, repository: Path, name: str, what: str | None, inside: str, query: Any, body: Any) -> None:
            if what == "tree":
                folder = repository / inside
                if not folder.is_dir():
                    self._send(404, b"", {"X-Error-Code": "EntryNotFound"})
                    return
                recursive = query.get("recursive", ["false"])[0].lower() == "true"
                found = sorted(folder.rglob("*") if recursive else folder.iterdir())
                self._send_json([_entry(path, repository) for path in found])
            elif what == "paths-info":
                asked = [repository / path for path in body["paths"]]
                self._send_json([_entry(path, repository) for path in asked if path.exists()])
            else:
                files = [p.relative_to(repository).as_posix() for p in sorted(repository.rglob("*")) if p.is_file()]
                siblings = [{"rfilename": file} for file in files]
                self._send_json({"id": name, "sha": _commit(repository), "private": False, "siblings": siblings})

        def _file(self, repository: Path, name: str) -> None:
            path, commit = repository / name, {"X-Repo-Commit": _commit(repository)}
            if not path.is_file():
                self._send(404, b"", {**commit, "X-Error-Code": "EntryNotFound", "X-Error-Message": "Entry not found"})
            elif path.suffix in LARGE:
                linked = {"X-Linked-Size": str(path.stat().st_size), "X-Linked-Etag": f'"{_oid(path)}"'}
                where = f"{hub.files}{quote(path.relative_to(hub.root).as_posix())}?signature=1"
                self._send(302, b"", {**commit, **linked, "Location": where})
            else:
                self._send_file(path, {**commit, "ETag": f'"{_oid(path)[:40]}"'})

        def _send_file(self, path: Path, headers: dict[str, str]) -> None:
            content = path.read_bytes()
            headers = {"Accept-Ranges": "bytes", "ETag": f'"{_oid(path)}"', **headers}
            if wanted := re.match(r"bytes=(\d+)-(\d*)", self.headers.get("range", "")):
                first, last = int(wanted[1]), int(wanted[2] or len(content) - 1)
                last = min(last, len(content) - 1)
                headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
                self._send(206, content[first : last + 1], headers)
            else:
                self._send(200, content, headers)

        def _send_json(self, value: Any) -> None:
            self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

        def _send(self, status: int, content: bytes, headers: Mapping[str, str] = {}) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

    return Handler
