"""`octavo models pull` against a server that speaks the hub's protocol, over a real socket."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

OCTAVO = Path(sys.executable).with_name("octavo")
COMMIT = "a" * 40
BASE_COMMIT = "b" * 40
FILES = {
    "acme/whole": {
        "config.json": b'{"model_type": "qwen2_vl"}',
        "model.safetensors": b"\x08\0\0\0\0\0\0\0{}      ",
        "pytorch_model.bin": b"runs code when it is read",
        "modeling.py": b"print(1)",
        "README.md": b"# A model",
    },
    "acme/adapter": {
        "adapter_config.json": b'{"base_model_name_or_path": "acme/base", "revision": null}',
        "adapter_model.safetensors": b"\x08\0\0\0\0\0\0\0{}      ",
    },
    "acme/base": {"config.json": b"{}", "model.safetensors": b"\x08\0\0\0\0\0\0\0{}      "},
    "acme/pickled": {"config.json": b"{}", "pytorch_model.bin": b"runs code"},
}


class Hub(BaseHTTPRequestHandler):
    """What the client asks of a hub, for a few models held in memory."""

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.do_GET(body=False)

    def do_GET(self, *, body=True):
        parts = unquote(urlsplit(self.path).path).strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            model, rest = "/".join(parts[2:4]), parts[4:]
            if model == "acme/gated":
                return self.send(403, b"{}", {"X-Error-Code": "GatedRepo"})
            if model not in FILES:
                return self.send(404, b"{}", {"X-Error-Code": "RepoNotFound"})
            if rest[:1] == ["revision"] and rest[1] not in ("main", self.commit(model)):
                return self.send(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
            if rest[:1] == ["tree"]:
                found = [
                    {
                        "type": "file",
                        "path": name,
                        "size": len(data),
                        "oid": hashlib.sha1(data).hexdigest(),
                    }
                    for name, data in FILES[model].items()
                ]
                return self.send(200, json.dumps(found).encode())
            shown = {"id": model, "sha": self.commit(model), "siblings": []}
            return self.send(200, json.dumps(shown).encode())
        model, name = "/".join(parts[:2]), "/".join(parts[4:])
        data = FILES[model][name]
        headers = {
            "ETag": f'"{hashlib.sha1(data).hexdigest()}"',
            "X-Repo-Commit": self.commit(model),
        }
        return self.send(200, data, headers, body=body)

    def commit(self, model):
        return BASE_COMMIT if model == "acme/base" else COMMIT

    def send(self, status, data, headers=None, *, body=True):
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.end_headers()
        if body and self.command != "HEAD":
            self.wfile.write(data)


@pytest.fixture(scope="module")
def hub():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def pull(hub, tmp_path, *arguments):
    environ = {
        **os.environ,
        "HF_ENDPOINT": hub,
        "HF_HOME": str(tmp_path / "hf"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_ETAG_TIMEOUT": "2",
    }
    environ.pop("HF_HUB_OFFLINE", None)
    command = [str(OCTAVO), "models", "pull", *arguments, "--json"]
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60)


def error_of(done):
    return json.loads(done.stderr.splitlines()[-1])["error"]


def test_a_model_comes_without_what_could_run_code(hub, tmp_path):
    done = pull(hub, tmp_path, "acme/whole", "--to", str(tmp_path / "m"))
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["revision"] == COMMIT
    files = {path.name for path in (tmp_path / "m").iterdir() if path.is_file()}
    assert files == {"config.json", "model.safetensors"}
    held = (tmp_path / "m" / "model.safetensors").read_bytes()
    assert held == FILES["acme/whole"]["model.safetensors"]


def test_code_comes_only_where_it_is_asked_for(hub, tmp_path):
    done = pull(hub, tmp_path, "acme/whole", "--to", str(tmp_path / "m"), "--with-code")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "m" / "modeling.py").exists()
    assert not (tmp_path / "m" / "pytorch_model.bin").exists()


def test_an_adapter_brings_the_model_it_goes_on_top_of(hub, tmp_path):
    done = pull(hub, tmp_path, "acme/adapter", "--to", str(tmp_path / "m"))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["base"]["revision"] == BASE_COMMIT
    assert (tmp_path / "m" / "base_model" / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["acme/pickled"], "unsafe_weights"),
        (["acme/nothing"], "unknown_model"),
        (["no model id at all!"], "unknown_model"),
        (["acme/gated"], "gated_model"),
        (["acme/whole", "--revision", "v9"], "unknown_revision"),
    ],
)
def test_what_cannot_be_had_is_said_with_a_next_step(hub, tmp_path, arguments, code):
    done = pull(hub, tmp_path, *arguments, "--to", str(tmp_path / "m"))
    assert done.returncode == 1
    found = error_of(done)
    assert found["code"] == code
    assert found["next_step"]


def test_a_hub_out_of_reach_is_said_at_once(tmp_path):
    done = pull("http://127.0.0.1:9", tmp_path, "acme/whole", "--to", str(tmp_path / "m"))
    assert done.returncode == 1
    assert error_of(done)["code"] == "hub_unreachable"


def test_a_folder_that_cannot_be_made_is_said(hub, tmp_path):
    (tmp_path / "file").write_text("in the way")
    done = pull(hub, tmp_path, "acme/whole", "--to", str(tmp_path / "file" / "m"))
    assert done.returncode == 1
    assert error_of(done)["code"] == "not_written"


def test_check_loads_the_encoder_and_says_what_it_makes():
    command = [str(OCTAVO), "models", "check", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["encoder"].startswith("words@")
    assert told["dim"] == 128
    assert told["rows_per_query"] > 0
    assert told["norms"] == [pytest.approx(1, abs=1e-4)] * 2
