"""The engine that asks a vLLM server: same tokens as the in-process one, adapters proved whenever they are loaded."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from quintet.models.catalogue import ModelFiles
from quintet.models.errors import ModelError, ServerError
from quintet.models.rendering import Renderer
from quintet.models.requests import Progress, Proof, Reply, Request
from quintet.models.settings import ModelSettings, VllmSettings
from quintet.models.vllm.adapters import Adapters
from quintet.models.vllm.asking import Asked
from quintet.models.vllm.client import LostError, RefusedError
from quintet.models.vllm.flight import Limits, Sent, fly
from quintet.models.vllm.outline import Outline
from quintet.models.vllm.server import Server
from quintet.records import BASE, Completion, digest

T = TypeVar("T")


class VllmEngine:
    """Generates by a vLLM server; for one thread at a time, but for `key` and `close`."""

    def __init__(
        self,
        files: ModelFiles,
        model: ModelSettings,
        settings: VllmSettings,
        server: Server,
        tell: Callable[[str], None] = lambda text: None,
    ) -> None:
        """Take a server that may still be starting.

        Args:
            files: What `locate` found; the server has the same.
            model: Type of the weights, and the time limit of a call.
            settings: Limits of what the server is asked.
            server: Closed with this engine.
            tell: Hears what happens to the server.

        Raises:
            ModelError: The tokenizer does not load, or cannot chat.
        """
        self.files, self.settings, self.server = files, model, server
        self._vllm, self._tell = settings, tell
        outline = Outline(files)
        self.renderer = Renderer(outline.tokenizer, outline.config, outline.generation)
        self._adapters = Adapters(outline.shapes, files.revision, model.dtype)
        self._starts = 0
        """How often the server had been started when it was last asked."""
        self._base = ""
        """Name of the base at the server, once it is known."""
        self._closing = threading.Event()

    @property
    def repeats(self) -> bool:
        """Not so: what a reply is depends on what else is in vLLM's batch at each step."""
        return False

    def register(self, adapter: str, folder: Path, weights: str) -> None:
        """Make an adapter known under an id; the server loads it when it is first asked for.

        Args:
            adapter: Its id.
            folder: PEFT folder.
            weights: SHA-256 that its weights must have, in hex.

        Raises:
            ModelError: It is damaged or does not fit the model; nothing changes then.
        """
        self._adapters.register(adapter, folder, weights)

    def forget(self, adapter: str) -> None:
        """Know an adapter no more; the server unloads it."""
        try:
            self._adapters.forget(self.server.client, adapter)
        except ModelError as error:
            self._tell(f"{adapter} could not be unloaded: {error}")

    def key(self, request: Request) -> str:
        """SHA-256, in hex, of what is asked, and of whom; a reply depends on chance besides.

        Raises:
            ModelError: The adapter is not registered.
        """
        content = request.identity() | {"engine": "vllm", "weights": self._adapters.weights(request.adapter)}
        content |= {"revision": self.files.revision, "dtype": self.settings.dtype}
        return digest(content | {"template": self.files.chat_template})

    def generate(
        self,
        requests: Sequence[Request],
        progress: Callable[[Progress], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> list[Reply]:
        """Answer requests, many at once. A server that is lost meanwhile is started anew, and asked for the rest.

        Args:
            requests: In any order; they are sent by (adapter, key).
            progress: Told with each answer how far generation has come.
            cancelled: Asked every quarter of a second; True ends what is not answered with `finish="time"`. So do
                `call_seconds` for each request, counted from when the server may begin with it.

        Returns:
            A reply for each request, in order. A request that cannot be answered gets a reply with an error.

        Raises:
            ModelError: An adapter is unknown or has become damaged.
            ServerError: The server is lost more often than it may be, or serves something else than an adapter.
        """
        order = sorted(range(len(requests)), key=lambda place: (requests[place].adapter, self.key(requests[place])))
        asked, replies = dict[int, Asked](), dict[int, Reply]()
        for place in order:
            made = self._asked(requests[place])
            if isinstance(made, Asked):
                asked[place] = made
            else:
                replies[place] = made

        def stopped() -> bool:
            return self._closing.is_set() or (cancelled is not None and cancelled())

        begun = time.monotonic()

        def landed(place: int, answer: dict[str, Any] | RefusedError | None) -> None:
            replies[place] = self._landed(asked[place], answer)
            if progress is not None:
                progress(_progress(requests, replies, time.monotonic() - begun))

        def ask() -> None:
            if stopped():
                return
            left = {place: one for place, one in asked.items() if place not in replies}
            for adapter in sorted({one.request.adapter for one in left.values()}):
                self._adapters.serve(self.server.client, adapter)
            # A text is scored alone: vLLM 0.32 that takes adapters dies on a CPU of one beside other requests.
            for scores, parallel in ((False, self._vllm.parallel), (True, 1)):
                now = {place: one for place, one in left.items() if (one.given is not None) == scores}
                sent = {place: Sent(self._body(one), one.samples) for place, one in now.items()}
                limits = Limits(parallel, self.settings.call_seconds, self._vllm.stall_seconds)
                fly(self.server.client, sent, limits, self.server.gone, stopped, landed)

        if asked:
            self._surely(ask, stopped)
        return [replies[place] if place in replies else asked[place].late() for place in range(len(requests))]

    def prove(self, adapter: str) -> Proof:
        """Show by log-probabilities of the adapter's own probe which weights the server answers with under its name.

        Raises:
            ModelError: The adapter is unknown or damaged, or its manifest holds no usable probe.
            ServerError: The server is lost, or has another folder under this name.
        """
        return self._surely(lambda: self._adapters.prove(self.server.client, adapter), self._closing.is_set)

    def rest(self) -> None:
        """Give up the GPU's memory, where the server sleeps."""

        def asleep() -> None:
            self.server.client.sleep()

        if self.server.sleeps:
            self._surely(asleep, self._closing.is_set)

    def wake(self) -> None:
        """Take it back."""

        def awake() -> None:
            self.server.client.wake()

        if self.server.sleeps:
            # Nobody promises that adapters sleep as well as weights do.
            self._adapters.unloaded()
            self._surely(awake, self._closing.is_set)

    def close(self) -> None:
        """Stop what is being generated, and the server if it is ours."""
        self._closing.set()
        self.server.close()

    def _surely(self, work: Callable[[], T], stopped: Callable[[], bool]) -> T:
        """Do what needs the server, and do it again where the server was lost over it.

        Raises:
            ServerError: It was lost too often.
        """
        losses = 0
        while True:
            begun = time.monotonic()
            self.server.up(stopped)
            if self.server.starts != self._starts:
                self._starts = self.server.starts
                self._adapters.unloaded()
            if (seconds := time.monotonic() - begun) >= 1:
                self._tell(f"vLLM at {self.server.client.url} answers, after {seconds:.0f} s")
            try:
                return work()
            except LostError as error:
                losses += 1
                self._adapters.unloaded()
                self.server.drop()
                if self._closing.is_set():
                    raise ServerError("the model is closed; open a new one to go on") from error
                if losses > self._vllm.restarts:
                    line = f"{error}; it was lost too often in one wave (vllm.restarts = {self._vllm.restarts})"
                    raise ServerError(line) from error
                self._tell(f"{error}; what it did not answer is asked again")
            except RefusedError as error:
                raise ServerError(str(error)) from error

    def _asked(self, request: Request) -> Asked | Reply:
        """The request with its tokens, or the reply to one that cannot be asked."""
        length = 0
        try:
            prompt = self.renderer.prompt(request)
            length = len(prompt)
            if request.given is None:
                self.renderer.fits(length, request.sampling.max_tokens)
                return Asked(request, prompt)
            given = self.renderer.given(request)
            length += len(given)
            self.renderer.fits(length, 0)
        except ModelError as error:
            return self._failed(request, length, str(error))
        if not given:
            text = request.given if isinstance(request.given, str) else ""
            return Reply(completions=(Completion(text=text),), prompt_tokens=length)
        return Asked(request, prompt, given)

    def _landed(self, asked: Asked, answer: dict[str, Any] | RefusedError | None) -> Reply:
        if answer is None:
            return asked.late()
        if isinstance(answer, RefusedError):
            return self._failed(asked.request, asked.tokens, str(answer))
        try:
            return asked.reply(answer, self.renderer.text)
        except ModelError as error:
            return self._failed(asked.request, asked.tokens, str(error))

    def _failed(self, request: Request, length: int, error: str) -> Reply:
        failed = Completion(text="", finish="error")
        return Reply(completions=(failed,) * request.n, prompt_tokens=length, error=error)

    def _body(self, asked: Asked) -> dict[str, Any]:
        adapter = asked.request.adapter
        model = self._named() if adapter == BASE else adapter
        return asked.body(model, self._adapters.weights(adapter) or self.files.revision, self.renderer.stops)

    def _named(self) -> str:
        """The name of the base at the server.

        Raises:
            ServerError: It serves several, and none of them is surely ours.
        """
        if not self._base:
            bases = [model for model in self.server.client.models() if not model.get("parent")]
            ours = [base for base in bases if base.get("root") in (str(self.files.path), self.files.name)]
            if len(ours) != 1 and len(bases) != 1:
                there = ", ".join(str(base.get("root")) for base in bases) or "nothing"
                raise ServerError(f"vLLM serves {there}, and not {self.files.path}", fault=False)
            self._base = str((ours or bases)[0]["id"])
        return self._base


def _progress(requests: Sequence[Request], replies: Mapping[int, Reply], seconds: float) -> Progress:
    """How far a wave has come, by the replies that are there."""
    made = [reply for place, reply in replies.items() if requests[place].given is None]
    return Progress(
        requests=len(requests),
        sequences=sum(request.n for request in requests),
        finished=sum(len(reply.completions) for reply in replies.values()),
        prompt_tokens=sum(reply.prompt_tokens for reply in replies.values()),
        tokens=sum(len(one.tokens) for reply in made for one in reply.completions),
        seconds=seconds,
        text=made[0].completions[0].text if made and len(requests) == 1 else "",
    )
