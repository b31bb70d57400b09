"""A stand-in for vLLM's server: a real process that speaks its HTTP interface, and misbehaves as a test wants it.

Under an adapter's name it answers with the log-probabilities of the probe in the folder that it loaded, as an honest
server would. What it is to do wrong stands in its environment, and is done once: a file is left behind.
"""

from __future__ import annotations

import argparse
import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

STATE = "FAKE_STATE"
"""Folder in which it notes what it was asked, and what it did wrong already."""
WRONG = "FAKE_WRONG"
"""`die`: ends over the third completion. `stall`: answers none, and makes nothing. `slow`: takes 0.8 s each."""
SAYS = "FAKE_SAYS"
"""Token ids that it says, as JSON; unless it is told, the last of the prompt and one for each sample."""
LOGPROB = -0.5
"""Of each token that it makes; its alternatives have half the probability each."""


class Server:
    """What it serves."""

    def __init__(self, folder: Path, model: str, name: str) -> None:
        self.folder, self.model, self.name = folder, model, name
        self.wrong = os.environ.get(WRONG, "") if not (folder / "done").exists() else ""
        self.adapters: dict[str, tuple[str, dict[str, Any]]] = {}
        self.lock, self.made, self.open, self.most = threading.Lock(), 0, 0, 0

    def note(self, path: str, body: dict[str, Any]) -> None:
        with self.lock, (self.folder / "asked.jsonl").open("a") as file:
            file.write(json.dumps({"path": path, "body": body, "open": self.open}) + "\n")

    def models(self) -> dict[str, Any]:
        loras = [{"id": id, "root": root, "parent": self.name} for id, (root, _) in self.adapters.items()]
        return {"data": [{"id": self.name, "root": self.model, "parent": None}, *loras]}

    def load(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        name, path = body["lora_name"], body["lora_path"]
        if name in self.adapters and not body.get("load_inplace"):
            return 400, {"error": {"message": f"{name} has already been loaded"}}
        try:
            manifest = json.loads((Path(path) / "manifest.json").read_text())
        except OSError:
            return 404, {"error": {"message": f"no adapter in {path}"}}
        self.adapters[name] = (path, manifest["probe"])
        return 200, {}

    def unload(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        return (200, {}) if self.adapters.pop(body["lora_name"], None) else (404, {"error": {"message": "not found"}})

    def complete(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if body["model"] not in (self.name, *self.adapters):
            return 404, {"error": {"message": f"The model `{body['model']}` does not exist."}}
        if "prompt_logprobs" in body:
            return 200, {"choices": [self.scored(body)]}
        self.misbehave()
        made = [{**self.choice(body, number), "index": number} for number in range(body["n"])]
        self.made += sum(len(choice["token_ids"]) for choice in made)
        return 200, {"choices": made[::-1]}

    def scored(self, body: dict[str, Any]) -> dict[str, Any]:
        tokens = body["prompt"]
        _, probe = self.adapters.get(body["model"], ("", None))
        known = dict(enumerate(probe["logprobs"], len(tokens) - len(probe["logprobs"]))) if probe else {}
        told = [{str(token): {"logprob": known.get(place, LOGPROB)}} for place, token in enumerate(tokens)]
        return {"index": 0, "prompt_logprobs": [None, *told[1:]], "token_ids": [0], "finish_reason": "length"}

    def choice(self, body: dict[str, Any], number: int) -> dict[str, Any]:
        said = json.loads(os.environ.get(SAYS, "null")) or [body["prompt"][-1], 30 + number]
        tokens = [*said, body["stop_token_ids"][0]][: body["max_tokens"]]
        top = {f"token_id:{40 + rank}": LOGPROB - 1 for rank in range(1, body["logprobs"])}
        return {
            "token_ids": tokens,
            "finish_reason": "stop" if len(tokens) > len(said) else "length",
            "logprobs": {
                "token_logprobs": [LOGPROB] * len(tokens),
                "top_logprobs": [{f"token_id:{token}": LOGPROB, **top} for token in tokens],
            },
        }

    def misbehave(self) -> None:
        with self.lock:
            self.most += 1
            third = self.most == 3
        if self.wrong == "die" and third:
            (self.folder / "done").touch()
            os._exit(3)
        if self.wrong == "stall":
            (self.folder / "done").touch()
            time.sleep(60)
        if self.wrong == "slow":
            time.sleep(0.8)


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("--model", "--served-model-name", "--host", "--port"):
        parser.add_argument(name)
    known, _ = parser.parse_known_args()
    if os.environ.get(WRONG) == "never":
        raise ValueError("no such model, says the fake")
    served = Server(Path(os.environ[STATE]), known.model, known.served_model_name)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self, status: int, body: Any) -> None:
            data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def refused(self) -> bool:
            key = os.environ.get("VLLM_API_KEY")
            return bool(key) and self.headers.get("Authorization") != f"Bearer {key}"

        def do_GET(self) -> None:
            if self.path == "/health":
                return self.answer(200, "")
            if self.path == "/metrics":
                return self.answer(200, f"vllm:generation_tokens_total{{}} {served.made}.0\n")
            return self.answer(401, {"error": "Unauthorized"}) if self.refused() else self.answer(200, served.models())

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or "{}")
            if self.path.startswith(("/sleep", "/wake_up")):
                served.note(self.path, body)
                return self.answer(200, {})
            if self.refused():
                return self.answer(401, {"error": "Unauthorized"})
            with served.lock:
                served.open += 1
            served.note(self.path, body)
            work = {"load_lora_adapter": served.load, "unload_lora_adapter": served.unload}
            status, said = work.get(self.path.rpartition("/")[2], served.complete)(body)
            with served.lock:
                served.open -= 1
            return self.answer(status, said)

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    class Quiet(ThreadingHTTPServer):
        request_queue_size = 128

        def handle_error(self, *_: Any) -> None:
            """Whoever asked has gone."""

    print("the fake serves", flush=True)
    Quiet((known.host, int(known.port)), Handler).serve_forever()


@contextmanager
def installed(folder: Path, wrong: str = "") -> Iterator[Path]:
    """Have `python -m vllm.entrypoints.openai.api_server` be the fake, and yield the folder of its notes."""
    package = folder / "site" / "vllm" / "entrypoints" / "openai"
    package.mkdir(parents=True)
    for place in (package, package.parent, package.parents[1]):
        (place / "__init__.py").touch()
    (package / "api_server.py").write_text("from fake_vllm import main\n\nmain()\n")
    paths = [str(folder / "site"), str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
        patch.setenv(STATE, str(folder))
        patch.setenv(WRONG, wrong)
        yield folder


def asked(folder: Path, path: str = "completions") -> list[dict[str, Any]]:
    """Bodies of what the fake was asked, in order; probes are left out."""
    notes = [json.loads(line) for line in (folder / "asked.jsonl").read_text().splitlines()]
    return [
        note["body"] for note in notes if note["path"].endswith(f"/{path}") and "prompt_logprobs" not in note["body"]
    ]


def most_at_once(folder: Path) -> int:
    """Most requests that were open at once."""
    return max(json.loads(line)["open"] for line in (folder / "asked.jsonl").read_text().splitlines())
