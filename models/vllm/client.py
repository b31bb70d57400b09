"""The part of vLLM's HTTP interface that is used here."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import httpx

from quintet.models.errors import ModelError, ServerError

_SECONDS = 60.0
"""Time limit of what takes no generation: loading an adapter is the longest of it."""
_GLANCE_SECONDS = 5.0
_COUNTED = ("vllm:prompt_tokens_total", "vllm:generation_tokens_total", "vllm:iteration_tokens_total_count")


class LostError(ModelError):
    """The server answers no more, or not as one that works; it may be up again later."""

    fault = True


class RefusedError(ModelError):
    """The server says no, or, with a status of 500 and above, broke down over what it was asked."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Client:
    """Talks to one server."""

    def __init__(self, url: str, key: str = "") -> None:
        """Nothing is sent yet.

        Args:
            url: Without `/v1`.
            key: Bearer token; empty: none.
        """
        self.url = url
        self._given: dict[str, Any] = {
            "base_url": url,
            "headers": {"Authorization": f"Bearer {key}"} if key else {},
            # A proxy of the environment would be asked for this machine too.
            "trust_env": urlsplit(url).hostname not in ("127.0.0.1", "localhost", "::1"),
        }

    def healthy(self) -> bool:
        """Whether it answers, and its engine lives."""
        try:
            return self._send("GET", "/health", seconds=_GLANCE_SECONDS).status_code == 200
        except httpx.HTTPError:
            return False

    def models(self) -> list[dict[str, Any]]:
        """What it serves: `id`, `root` (a path), and `parent` for an adapter.

        Raises:
            ModelError: It says no, or answers no more.
        """
        found = self._told("GET", "/v1/models").json()
        return [model for model in found["data"] if isinstance(model, dict)]

    def load(self, adapter: str, path: str) -> None:
        """Load an adapter under a name that is free.

        Raises:
            ModelError: It cannot be loaded, or the server answers no more.
        """
        self._told("POST", "/v1/load_lora_adapter", {"lora_name": adapter, "lora_path": path})

    def unload(self, adapter: str) -> None:
        """Forget an adapter.

        Raises:
            ModelError: There is none of this name, or the server answers no more.
        """
        self._told("POST", "/v1/unload_lora_adapter", {"lora_name": adapter})

    def sleep(self) -> None:
        """Move the weights to the CPU's memory and drop all else that is kept on the GPU.

        Raises:
            ModelError: It cannot, or answers no more.
        """
        self._told("POST", "/sleep?level=1")

    def wake(self) -> None:
        """Be ready again.

        Raises:
            ModelError: It cannot, or answers no more.
        """
        self._told("POST", "/wake_up")

    def complete(self, body: dict[str, Any]) -> dict[str, Any]:
        """Ask for a completion, and wait for it.

        Raises:
            ModelError: It says no, or answers no more.
        """
        return _json(self._told("POST", "/v1/completions", body))

    def flying(self, connections: int) -> httpx.AsyncClient:
        """What many questions are asked through at once."""
        limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
        # The limit of an answer's time is the caller's; a read may take all of it.
        return httpx.AsyncClient(
            **self._given, limits=limits, timeout=httpx.Timeout(_GLANCE_SECONDS, read=None, pool=None)
        )

    def _told(self, method: str, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
        try:
            return checked(self._send(method, path, body), self.url)
        except httpx.HTTPError as error:
            raise LostError(unreachable(self.url, error)) from error

    def _send(
        self, method: str, path: str, body: dict[str, Any] | None = None, seconds: float = _SECONDS
    ) -> httpx.Response:
        with httpx.Client(**self._given, timeout=seconds) as http:
            return http.request(method, path, json=body)


async def completed(http: httpx.AsyncClient, body: dict[str, Any]) -> dict[str, Any]:
    """Ask for a completion among many.

    Raises:
        ModelError: The server says no, or answers no more.
    """
    url = str(http.base_url)
    try:
        return _json(checked(await http.post("/v1/completions", json=body), url))
    except httpx.HTTPError as error:
        raise LostError(unreachable(url, error)) from error


async def made(http: httpx.AsyncClient) -> str:
    """What the server has made so far, as its counters tell: something that changes while it works.

    Raises:
        httpx.HTTPError: It gives no sign of life.
    """
    found = await http.get("/metrics", timeout=_GLANCE_SECONDS)
    if found.status_code == 200:
        return "\n".join(line for line in found.text.splitlines() if line.startswith(_COUNTED))
    # Behind a gateway there may be no counters: that it answers is then all that can be seen.
    (await http.get("/health", timeout=_GLANCE_SECONDS)).raise_for_status()
    return ""


def checked(answer: httpx.Response, url: str) -> httpx.Response:
    """An answer that is one.

    Raises:
        ServerError: The key is wrong.
        RefusedError: The server says no, or broke down over it.
    """
    if answer.is_success:
        return answer
    line = f"vLLM at {url} answered {answer.status_code}: {_said(answer)}"
    if answer.status_code in (401, 403):
        raise ServerError(f"{line}; name the variable that holds its key (vllm.key_env)", fault=False)
    raise RefusedError(line, answer.status_code)


def unreachable(url: str, error: Exception) -> str:
    """Why nothing came, in one line."""
    said = " ".join(str(error).split()) or "no reason given"
    return f"vLLM at {url} cannot be reached: {type(error).__name__}: {said}"


def _json(answer: httpx.Response) -> dict[str, Any]:
    try:
        found = answer.json()
    except ValueError as error:
        raise LostError(f"vLLM at {answer.url} answered something that is no JSON") from error
    return found if isinstance(found, dict) else {}


def _said(answer: httpx.Response) -> str:
    try:
        found = answer.json()
        text = found["error"]["message"] if isinstance(found["error"], dict) else found["error"]
    except (ValueError, KeyError, TypeError):
        text = answer.text
    return " ".join(str(text).split())[:200]
