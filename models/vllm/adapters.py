"""The adapters that a server is given: loaded when they are asked for, and proved whenever they are loaded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from quintet.models.adapters import AdapterSource, Probe, others, read, read_probe
from quintet.models.errors import AdapterError, ModelError, ServerError
from quintet.models.proving import proof
from quintet.models.requests import Proof, Request
from quintet.models.vllm.asking import Asked
from quintet.models.vllm.client import Client, LostError, RefusedError
from quintet.records import BASE


class Adapters:
    """Which adapters there are, and which of them the server has."""

    def __init__(self, shapes: Mapping[str, tuple[int, int]], revision: str, dtype: str) -> None:
        """Take what an adapter has to fit.

        Args:
            shapes: `(out, in)` of each of the model's linear layers, by module name.
            revision: The model's.
            dtype: Type of its weights.
        """
        self._shapes, self._revision, self._dtype = shapes, revision, dtype
        self._known: dict[str, AdapterSource] = {}
        self._loaded: dict[str, str] = {}
        """Hash of the weights that the server has under an adapter's id."""

    def register(self, adapter: str, folder: Path, weights: str) -> None:
        """Make an adapter known under an id.

        Raises:
            ModelError: It is damaged or does not fit the model; nothing changes then.
        """
        if adapter == BASE:
            raise ModelError(f"adapter id {BASE!r} means the base model; choose another")
        source = AdapterSource(adapter, folder.absolute(), weights)
        self._read(source)
        self._known[adapter] = source

    def forget(self, client: Client, adapter: str) -> None:
        """Know an adapter no more, and have it unloaded.

        Raises:
            ModelError: The server cannot.
        """
        if self._known.pop(adapter, None) and self._loaded.pop(adapter, None):
            client.unload(adapter)

    def unloaded(self) -> None:
        """The server has none of them any more."""
        self._loaded.clear()

    def weights(self, adapter: str) -> str:
        """SHA-256 of an adapter's weights, in hex; nothing for the base.

        Raises:
            ModelError: It is not registered.
        """
        return "" if adapter == BASE else self._source(adapter).weights

    def serve(self, client: Client, adapter: str) -> None:
        """Have the server know an adapter, with the weights registered last.

        Raises:
            AdapterError: It is damaged, or vLLM cannot load it.
            ServerError: The server answers under its name with something else.
        """
        if adapter == BASE or self._loaded.get(adapter) == self.weights(adapter):
            return
        shown = self._load(client, self._source(adapter))
        if not shown.ok:
            raise ServerError(f"what vLLM serves is not {adapter}: {shown}")

    def prove(self, client: Client, adapter: str) -> Proof:
        """What the server answers with under an adapter's name; it is loaded first if need be.

        Raises:
            ModelError: The adapter is unknown or damaged, or its manifest holds no usable probe.
            ServerError: The server has another folder under this name.
        """
        source = self._source(adapter)
        return (
            self._proof(client, source) if self._loaded.get(adapter) == source.weights else self._load(client, source)
        )

    def _source(self, adapter: str) -> AdapterSource:
        if adapter not in self._known:
            known = ", ".join(sorted(self._known)) or "none"
            raise ModelError(f"adapter {adapter!r} is not registered; known: {known}")
        return self._known[adapter]

    def _read(self, source: AdapterSource) -> None:
        read(source, self._shapes, self._revision)

    def _load(self, client: Client, source: AdapterSource) -> Proof:
        """Load an adapter, instead of another one of its name, and prove it."""
        # Read anew at each swap: the file may have been damaged since it was registered.
        self._read(source)
        self._loaded.pop(source.id, None)
        try:
            # Not by `load_inplace`: vLLM keeps that flag with the adapter, and would read the file again at each step.
            if any(model.get("id") == source.id for model in client.models()):
                client.unload(source.id)
            client.load(source.id, str(source.folder))
        except RefusedError as error:
            if not client.healthy():
                raise LostError(str(error)) from error
            if error.status == 404 and "Not Found" in str(error):
                raise ServerError(
                    f"{error}; start it with --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True", fault=False
                ) from error
            raise AdapterError(f"vLLM cannot load adapter {source.id} from {source.folder}: {error}") from error
        shown = self._proof(client, source)
        if shown.ok:
            self._loaded[source.id] = source.weights
        return shown

    def _proof(self, client: Client, source: AdapterSource) -> Proof:
        import torch

        from quintet.models.trial import FAR

        self._read(source)
        root = next((model.get("root") for model in client.models() if model.get("id") == source.id), None)
        if root != str(source.folder):
            raise ServerError(f"what vLLM serves as {source.id} is from {root}, not from {source.folder}")
        probe = read_probe(source)
        far = FAR[getattr(torch, self._dtype)]
        return proof(source.id, probe, _scores(client, source, probe), far, others(source, self._known.values()))


def _scores(client: Client, source: AdapterSource, probe: Probe) -> tuple[float, ...]:
    """Log-probabilities of the probe's last tokens, as served."""
    cut = len(probe.tokens) - len(probe.logprobs)
    tokens = list(probe.tokens)
    asked = Asked(Request(messages=(), given=probe.tokens[cut:]), tokens[:cut], tokens[cut:])
    try:
        answer = client.complete(asked.body(source.id, source.weights, frozenset()))
        return asked.reply(answer, lambda tokens: "").completions[0].logprobs
    except LostError:
        raise
    except RefusedError as error:
        raise LostError(str(error)) from error
    except ModelError as error:
        raise ServerError(str(error)) from error
