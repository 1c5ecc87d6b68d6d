"""A stand-in of the Hub's HTTP interface, for the real client: models with files, in memory."""

import base64
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


class Hub:
    """`models`: {"organisation/name": {"private": bool, "files": {path: bytes}}}; `account` is the
    token's owner, `refuses` makes every write a 403."""

    def __init__(self):
        self.models = {}
        self.account = "me"
        self.refuses = False
        self.tokens = set()

    def answer(self, method, path, body, host):
        """(status, JSON) of a request to /api; `host` is this server's own address."""
        if path == "/api/whoami-v2":
            return 200, {"name": self.account, "type": "user", "orgs": []}
        if path == "/api/validate-yaml":
            return 200, {"errors": [], "warnings": []}
        if method == "POST" and self.refuses:
            return 403, {"error": "You don't have the rights to write here"}
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked.get('organization') or self.account}/{asked['name']}"
            if name in self.models:
                return 409, {"error": "You already created this model", "url": f"{host}/{name}"}
            private = asked.get("private") or asked.get("visibility") == "private"
            files = {".gitattributes": b"*.safetensors filter=lfs"}
            self.models[name] = {"private": bool(private), "files": files}
            return 200, {"url": f"{host}/{name}", "name": name, "id": name}
        name, _, rest = path.removeprefix("/api/models/").partition("/")
        rest, _, action = rest.partition("/")
        name = f"{name}/{rest}"
        if name not in self.models:
            return 404, {"error": "Repository not found"}
        model = self.models[name]
        if action == "" or action.startswith("revision/"):
            files = [{"rfilename": file} for file in sorted(model["files"])]
            return 200, {
                "id": name,
                "private": model["private"],
                "siblings": files,
                "sha": "0" * 40,
            }
        if action.startswith("preupload/"):
            files = json.loads(body)["files"]
            modes = [
                {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files
            ]
            return 200, {"files": modes}
        assert action.startswith("commit/"), (method, path)
        for line in body.splitlines():
            entry = json.loads(line)
            if entry["key"] == "file":
                content = base64.b64decode(entry["value"]["content"])
                model["files"][entry["value"]["path"]] = content
        return 200, {"commitUrl": f"{host}/{name}/commit/{'1' * 40}", "commitOid": "1" * 40}


@contextmanager
def the_client_asks(hub, monkeypatch):
    """The real client talks to `hub`, with the token hf_abc."""
    constants = pytest.importorskip("huggingface_hub.constants")
    with serving(hub) as address:
        monkeypatch.setattr(constants, "ENDPOINT", address)
        template = address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setenv("HF_TOKEN", "hf_abc")
        yield hub


@contextmanager
def serving(hub):
    """The address under which `hub` answers."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def _send(self, status, content, kind="application/json"):
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("ETag", '"0"')
            self.send_header("X-Repo-Commit", "0" * 40)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def _handle(self):
            if self.path.startswith(("/api/repos", "/api/models")):
                hub.tokens.add(self.headers.get("Authorization"))
            size = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(size)
            if "chunked" in (self.headers.get("Transfer-Encoding") or ""):
                body = b""
                while size := int(self.rfile.readline(), 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
            path = self.path.partition("?")[0]
            if "/resolve/" in path:
                name, _, file = path.strip("/").partition("/resolve/")
                files = hub.models.get(name, {"files": {}})["files"]
                content = files.get(file.partition("/")[2])
                self._send(200 if content is not None else 404, content or b"", "text/plain")
                return
            status, answer = hub.answer(self.command, path, body, host)
            self._send(status, json.dumps(answer).encode())

        do_GET = do_POST = do_HEAD = _handle

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    host = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield host
    finally:
        server.shutdown()
        server.server_close()
