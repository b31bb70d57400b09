"""The in-process model: answers many requests at once on transformers' modules, under any registered adapter."""

from __future__ import annotations

import contextlib
import ctypes
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from quintet.models.adapters import AdapterSource, Delta, others, read, read_probe
from quintet.models.batch import Batch, Prompt, Sample
from quintet.models.catalogue import ModelFiles
from quintet.models.constraint import Constrainer
from quintet.models.errors import ModelError
from quintet.models.masks import sight
from quintet.models.prompts import load_tokenizer
from quintet.models.proving import proof
from quintet.models.rendering import SMALL_TALK, Renderer
from quintet.models.requests import Progress, Proof, Reply, Request
from quintet.models.sampling import token_logprobs, uniforms
from quintet.models.scoring import Continuation, Scorer
from quintet.models.settings import ModelSettings
from quintet.models.trial import FAR, try_out
from quintet.models.weights import Weights
from quintet.records import BASE, Completion, digest


def give_back_memory() -> None:
    """Return freed memory to the system, where the C library can: glibc would keep every cache, some 500 MB."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


class Engine:
    """Loads a model once and generates; synchronous, for one thread at a time."""

    def __init__(self, files: ModelFiles, settings: ModelSettings) -> None:
        """Load the model.

        Args:
            files: What `locate` found.
            settings: Precision, device, and sizes of batches.

        Raises:
            ModelError: The model does not load, or cannot chat.
        """
        self.files, self.settings = files, settings
        device = settings.device
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self.tokenizer: Any = load_tokenizer(files.path, files.name, files.chat_template)
        self._weights = Weights(files, getattr(torch, settings.dtype), torch.device(device))
        self.model = self._weights.model
        self._config = self.model.config.get_text_config()
        self.renderer = Renderer(self.tokenizer, self._config, self.model.generation_config)
        self._sight = sight(self.model.config)
        self._constrainer: Constrainer | None = None
        self._adapters: dict[str, AdapterSource] = {}
        with torch.inference_mode():
            try_out(self.model, settings, self.renderer.prompt(Request(messages=SMALL_TALK)), FAR[self._weights.dtype])

    def register(self, adapter: str, folder: Path, weights: str) -> None:
        """Make an adapter known under an id.

        Args:
            adapter: Its id.
            folder: PEFT folder.
            weights: SHA-256 that its weights must have, in hex.

        Raises:
            ModelError: It is damaged or does not fit the model; nothing changes then.
        """
        if adapter == BASE:
            raise ModelError(f"adapter id {BASE!r} means the base model; choose another")
        source = AdapterSource(adapter, folder, weights)
        self._read(source)
        self._adapters[adapter] = source

    def forget(self, adapter: str) -> None:
        """Know an adapter no more; its weights leave the model when others are served."""
        self._adapters.pop(adapter, None)

    def key(self, request: Request) -> str:
        """SHA-256, in hex, of everything that determines the replies.

        Raises:
            ModelError: The adapter is not registered.
        """
        content = request.identity()
        weights = "" if request.adapter == BASE else self._source(request.adapter).weights
        content |= {"revision": self.files.revision, "dtype": self.settings.dtype, "weights": weights}
        # Absent where it is the model's own, which keeps the keys of earlier runs.
        return digest(content | ({"template": self.files.chat_template} if self.files.chat_template else {}))

    @property
    def repeats(self) -> bool:
        """The same list of requests gets the same replies."""
        return True

    def rest(self) -> None:
        """Nothing: it waits without working, and holds no more than its weights."""

    def wake(self) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing: its memory goes with it."""

    def generate(
        self,
        requests: Sequence[Request],
        progress: Callable[[Progress], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> list[Reply]:
        """Answer requests, one adapter at a time.

        In bfloat16 a sample's last digits depend on its batch, so replies repeat exactly for the same list of requests.

        Args:
            requests: In any order; batches follow (adapter, key).
            progress: Told after each step how far generation has come.
            cancelled: Asked before each step; True ends unfinished samples with `finish="time"`. So do
                `settings.call_seconds` in any case, counted for each request from the prefill of its prompt.

        Returns:
            A reply for each request, in order. A request that cannot be answered gets a reply with an error.

        Raises:
            ModelError: An adapter is unknown or has become damaged; the base is then served.
        """
        if self.settings.threads and torch.get_num_threads() != self.settings.threads:
            torch.set_num_threads(self.settings.threads)
        samples: list[list[Sample]] = [[] for _ in requests]
        given: dict[int, Continuation] = {}
        report = _Reporter(requests, progress, lambda: self.renderer.text(samples[0][0].tokens) if samples[0] else "")
        prompts: dict[str, list[tuple[str, int, Prompt]]] = {}
        lengths, errors = [0] * len(requests), [""] * len(requests)
        for place, request in enumerate(requests):
            try:
                tokens = self.renderer.prompt(request)
                lengths[place] = len(tokens)
                if request.given is not None:
                    given[place] = Continuation(tokens, self.renderer.given(request))
                    lengths[place] += len(given[place].given)
                    self.renderer.fits(lengths[place], 0)
                else:
                    self.renderer.fits(len(tokens), request.sampling.max_tokens)
                    samples[place] = self._samples(request)
            except ModelError as error:
                errors[place] = str(error)
                given.pop(place, None)
                continue
            entry = (self.key(request), place, Prompt(tokens, samples[place]))
            prompts.setdefault(request.adapter, []).append(entry)

        report.prompts(sum(lengths))
        stopped = cancelled or (lambda: False)
        with torch.inference_mode():
            for adapter, entries in sorted(prompts.items()):
                if not stopped():
                    self._serve(adapter)
                entries.sort(key=lambda entry: entry[:2])
                batch = Batch(self.model, self.settings, self.renderer.stops, stopped, report)
                batch.run([prompt for _, place, prompt in entries if place not in given])
                scorer = Scorer(self.model, self.settings, stopped, report)
                scorer.run([given[place] for _, place, _ in entries if place in given])
        give_back_memory()
        return [
            self._scored(request, given[place], lengths[place])
            if place in given
            else self._reply(request, samples[place], lengths[place], errors[place])
            for place, request in enumerate(requests)
        ]

    def prove(self, adapter: str) -> Proof:
        """Show by log-probabilities of the adapter's own probe which weights answer under its name.

        The probe in the adapter's manifest holds what PEFT computed with the adapter and with the weights that training
        started from; the served weights must be closer to the first, and to no other adapter that is known.

        Raises:
            ModelError: The adapter is unknown or damaged, or its manifest holds no usable probe.
        """
        source = self._source(adapter)
        self._serve(adapter)
        probe = read_probe(source)
        served = self.logprobs(probe.tokens)[-len(probe.logprobs) :]
        known = others(source, self._adapters.values())
        return proof(adapter, probe, served.tolist(), FAR[self._weights.dtype], known)

    def logprobs(self, tokens: Sequence[int]) -> torch.Tensor:
        """Log-probability of each token but the first given those before it, `(tokens - 1,)`, as served now."""
        with torch.inference_mode():
            ids = torch.tensor([list(tokens)], device=self.model.device)
            size = ids.shape[1]
            mask = torch.zeros(size, size, dtype=self._weights.dtype, device=ids.device)
            ahead = torch.ones(size, size, dtype=torch.bool, device=ids.device).triu(1)
            mask = mask.masked_fill_(ahead, torch.finfo(mask.dtype).min)[None, None]
            far = ahead.new_ones(size, size)
            seen = self._sight.mask(
                mask, lambda window: mask.masked_fill(far.tril(-window), torch.finfo(mask.dtype).min)
            )
            logits = self.model(input_ids=ids, attention_mask=seen, use_cache=False).logits[0]
            return token_logprobs(logits[:-1], ids[0, 1:]).cpu()

    def _source(self, adapter: str) -> AdapterSource:
        if adapter not in self._adapters:
            known = ", ".join(sorted(self._adapters)) or "none"
            raise ModelError(f"adapter {adapter!r} is not registered; known: {known}")
        return self._adapters[adapter]

    def _read(self, source: AdapterSource) -> dict[str, Delta]:
        return read(source, self._weights.shapes, self.files.revision)

    def _serve(self, adapter: str) -> None:
        if adapter == BASE:
            self._weights.serve(BASE, {})
            return
        source = self._source(adapter)
        if source.weights != self._weights.serving:
            # Read anew at each swap: the file may have been damaged since it was registered.
            self._weights.serve(source.weights, self._read(source))

    def _samples(self, request: Request) -> list[Sample]:
        samples = []
        for place in range(request.n):
            draws = uniforms(request.seed, place, request.sampling.max_tokens)
            constraint = self._constraints().start(request.schema_) if request.schema_ is not None else None
            samples.append(Sample(request.sampling, draws, constraint))
        return samples

    def _constraints(self) -> Constrainer:
        if self._constrainer is None:
            self._constrainer = Constrainer(self.tokenizer, self.renderer.vocabulary, self.renderer.stops)
        return self._constrainer

    def _reply(self, request: Request, samples: list[Sample], length: int, error: str) -> Reply:
        if error:
            failed = Completion(text="", finish="error")
            return Reply(completions=(failed,) * request.n, prompt_tokens=length, error=error)
        completions = tuple(
            Completion(
                text=self.renderer.text(sample.tokens),
                tokens=tuple(sample.tokens),
                logprobs=tuple(sample.logprobs),
                behaviour_logprobs=tuple(sample.behaviour),
                finish=sample.finish or "time",
            )
            for sample in samples
        )
        first = next((sample.error for sample in samples if sample.error), None)
        late = sum(sample.finish == "time" for sample in samples)
        if late:
            first = f"{late} of {request.n} samples were cut short by the time limit or by cancellation"
        return Reply(completions=completions, prompt_tokens=length, error=first)

    def _scored(self, request: Request, one: Continuation, length: int) -> Reply:
        """What was given with its log-probabilities; a score whose time ran out counts for nothing."""
        late = len(one.logprobs) < len(one.given)
        completion = Completion(
            text=request.given if isinstance(request.given, str) else self.renderer.text(one.given),
            tokens=tuple(one.given),
            logprobs=() if late else tuple(one.logprobs),
            finish="time" if late else "stop",
        )
        error = "1 of 1 scores was cut short by the time limit or by cancellation" if late else None
        return Reply(completions=(completion,), prompt_tokens=length, error=error)


class _Reporter:
    """Adds up what batches report."""

    def __init__(
        self, requests: Sequence[Request], tell: Callable[[Progress], None] | None, only: Callable[[], str]
    ) -> None:
        self._tell, self._began, self._only = tell, time.monotonic(), only
        self._now = Progress(requests=len(requests), sequences=sum(request.n for request in requests))

    def prompts(self, tokens: int) -> None:
        """The prompts have so many tokens in all."""
        self._now = self._now.model_copy(update={"prompt_tokens": tokens})

    def __call__(self, finished: int, tokens: int) -> None:
        if self._tell is None:
            return
        self._now = Progress(
            requests=self._now.requests,
            sequences=self._now.sequences,
            prompt_tokens=self._now.prompt_tokens,
            finished=self._now.finished + finished,
            tokens=self._now.tokens + tokens,
            seconds=time.monotonic() - self._began,
            text=self._only() if self._now.sequences == 1 else "",
        )
        self._tell(self._now)
