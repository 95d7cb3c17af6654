"""A run goes to a server that answers as the Hub does, and comes back with the same predictions and no data."""

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest
import torch

import gateflow
from gateflow.cli import main
from gateflow.errors import RunError
from gateflow.integrations.hub import card, from_pretrained, push_to_hub

SECRET = "the cat sat on the mat"


class Hub(BaseHTTPRequestHandler):
    """The calls that huggingface_hub makes: create, preupload, commit; then the list of files, and each file."""

    files: ClassVar[dict[str, bytes]] = {}

    @property
    def here(self):
        return f"http://{self.headers['Host']}"

    def log_message(self, *_):
        pass

    def answer(self, content, kind="application/json", **headers):
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(200)
        for name, value in {
            "Content-Type": kind,
            "Content-Length": len(body),
            "X-Repo-Commit": "c0ffee",
            **headers,
        }.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_POST(self):
        sent = self.rfile.read(int(self.headers["Content-Length"] or 0))
        if "/preupload/" in self.path:
            # As plain files: large ones would go to a store beside the Hub.
            names = [file["path"] for file in json.loads(sent)["files"]]
            return self.answer({"files": [{"path": n, "uploadMode": "regular", "shouldIgnore": False} for n in names]})
        if "/commit/" in self.path:
            for line in map(json.loads, sent.splitlines()):
                if line["key"] == "file":
                    self.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            return self.answer(
                {"commitUrl": f"{self.here}/me/mine/commit/c0ffee", "commitOid": "c0ffee", "commitMessage": ""}
            )
        return self.answer({"url": f"{self.here}/me/mine", "name": "me/mine", "id": "me/mine"})

    def do_GET(self):
        if self.path.startswith("/me/mine/resolve/"):
            name = self.path.split("?")[0].split("/", 5)[5]
            return self.answer(
                self.files[name], "application/octet-stream", ETag=f'"{len(self.files[name])}-{name[:3]}"'
            )
        if "/tree/" in self.path:
            sizes = {**{name: len(content) for name, content in self.files.items()}, "evil.py": 1}
            return self.answer([{"type": "file", "path": n, "size": size, "oid": "0"} for n, size in sizes.items()])
        siblings = [{"rfilename": name} for name in [*self.files, "evil.py"]]
        return self.answer({"id": "me/mine", "modelId": "me/mine", "sha": "c0ffee", "siblings": siblings, "tags": []})

    def do_HEAD(self):
        self.do_GET()


@pytest.fixture
def hub(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    Hub.files = {}
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hub")
    (folder / "private.txt").write_text(f"{SECRET}\nthe dogs sit on the mats\n" * 20, encoding="utf-8")
    small = ["--hidden-size=8", "--embedding-size=8", "--batch-size=2", "--window=5", "--epochs=2"]
    with pytest.raises(SystemExit) as left:
        main(["train", "lm", "--data", str(folder / "private.txt"), "--out", str(folder / "run"), *small])
    assert not left.value.code
    return folder / "run"


def scores(trained):
    tokens = torch.arange(6)[:, None] % 5
    with torch.no_grad():
        return trained.model(tokens, tokens)[0]


def test_a_run_is_loaded_with_the_figures_of_its_weights(run):
    trained = gateflow.load(run)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    best = min((line for line in lines if line["kind"] == "valid"), key=lambda line: line["loss"])
    assert (trained.task, trained.model.training, trained.figures) == ("lm", False, best)


def test_a_copy_is_a_run_without_its_data_and_where_they_lay(run, tmp_path):
    copy = gateflow.save(run, tmp_path / "copy")
    assert torch.equal(scores(gateflow.load(copy)), scores(gateflow.load(run)))
    assert not any((copy / name).exists() for name in ("tokens", "checkpoint", "lock"))
    assert 'train = "private.txt"' in (copy / "config.toml").read_text()
    with pytest.raises(RunError, match="exists"):
        gateflow.save(run, copy)
    whole = gateflow.save(gateflow.load(run), tmp_path / "whole", data=True)
    assert (whole / "tokens/valid.npy").read_bytes() == (run / "tokens/valid.npy").read_bytes()


def test_it_goes_to_the_hub_and_comes_back(run, hub):
    url = push_to_hub(run, "me/mine", endpoint=hub, token="t")
    assert str(url).endswith("/commit/c0ffee")
    assert set(Hub.files) == {
        "README.md",
        "SHA256SUMS",
        "config.toml",
        "metrics.jsonl",
        "model.safetensors",
        "tokenizer.json",
    }
    assert not any(SECRET.encode() in content or str(run.parent).encode() in content for content in Hub.files.values())
    back = from_pretrained("me/mine", endpoint=hub, token="t")
    assert torch.equal(scores(back), scores(gateflow.load(run)))
    assert back.figures == gateflow.load(run).figures
    assert not (back.run.path / "evil.py").exists()


def test_a_damaged_file_of_a_repository_is_refused(run, hub):
    push_to_hub(run, "me/mine", endpoint=hub, token="t")
    Hub.files["tokenizer.json"] += b" "
    with pytest.raises(RunError, match="tokenizer.json is damaged"):
        from_pretrained("me/mine", endpoint=hub, token="t")


def test_a_folder_will_do_and_its_card_says_how_good_it_is(run):
    text = card(from_pretrained(run), "me/mine")
    assert text.startswith("---\nlibrary_name: gateflow\n")
    assert 'from_pretrained("me/mine")' in text
    assert f"| loss | {gateflow.load(run).figures['loss']:.4g} |" in text
    assert "| model.cell | lstm |" in text
    assert "private.txt" not in text
