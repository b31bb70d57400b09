"""A real HTTP server on this machine that speaks OpenAI's chat completions, or fails to, as a test wants it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from typing import Any

Answer = Callable[[BaseHTTPRequestHandler, "Stub"], None]


@dataclass
class Stub:
    """A running server."""

    answer: Answer
    url: str = ""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    """What was asked, in order."""
    headers: list[dict[str, str]] = field(default_factory=list)
    most: int = 0
    """Most requests that were open at once."""
    closing: Event = field(default_factory=Event)


def says(text: str | None, finish: str = "stop", **message: Any) -> Answer:
    """Answers every question with this text, and reports 7 prompt tokens and 3 made."""
    choice = {
        "index": 0,
        "finish_reason": finish,
        "logprobs": None,
        "message": {"role": "assistant", "content": text, **message},
    }
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    return sends(json.dumps({"id": "1", "model": "stub-1", "choices": [choice], "usage": usage}))


def sends(body: str, status: int = 200, kind: str = "application/json") -> Answer:
    """Answers with this body, whatever it is."""

    def answer(handler: BaseHTTPRequestHandler, stub: Stub) -> None:
        handler.send_response(status)
        handler.send_header("Content-Type", kind)
        handler.send_header("Content-Length", str(len(body.encode())))
        handler.end_headers()
        handler.wfile.write(body.encode())

    return answer


def stalls(handler: BaseHTTPRequestHandler, stub: Stub) -> None:
    """Takes the question and says nothing."""
    stub.closing.wait(60)


def trickles(handler: BaseHTTPRequestHandler, stub: Stub) -> None:
    """Sends a byte now and then, for ever."""
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.end_headers()
    while not stub.closing.wait(0.05):
        handler.wfile.write(b" ")
        handler.wfile.flush()


def babbles(handler: BaseHTTPRequestHandler, stub: Stub) -> None:
    """Answers with something that is no HTTP."""
    handler.wfile.write(b"\x00\x01 hello\r\n\r\n")


@contextmanager
def endpoint(answer: Answer) -> Iterator[Stub]:
    """Serve until the block ends."""
    stub, lock, open_now = Stub(answer), Lock(), [0]

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            with lock:
                open_now[0] += 1
                stub.most = max(stub.most, open_now[0])
                stub.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                stub.headers.append({name.lower(): value for name, value in self.headers.items()})
            try:
                stub.answer(self, stub)
            except OSError:
                # Whoever asked has gone.
                pass
            finally:
                with lock:
                    open_now[0] -= 1

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        stub.url = f"http://127.0.0.1:{server.server_port}/v1"
        try:
            yield stub
        finally:
            stub.closing.set()
            server.shutdown()
            thread.join()
