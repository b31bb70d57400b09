"""How Chroma is reached: in a folder of the workspace, or on a server, and what its errors mean there."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import uuid
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from quintet.memory.errors import IndexDamaged, LedgerError

TOKEN = "QUINTET_CHROMA_TOKEN"  # noqa: S105 - a variable's name
"""The environment variable whose value a server gets as a bearer token."""

CONNECT_SECONDS, ANSWER_SECONDS = 5.0, 60.0
"""How long a server may take to be reached, and to answer; a thousand vectors take it well under a second."""

_FULL = ("disk is full", "No space left", "Permission denied")
"""What says that a disk is at fault, and no index is damaged."""

_AWAY, _REFUSED = (502, 503, 504), (401, 403)
"""What a gateway answers for a server that is not there, and for a guest without a token."""


class Store(Protocol):
    """Where collections lie. What `open` returns has the methods of a Chroma client that the index needs."""

    place: str
    """Folder or URL, for people."""
    shared: bool
    """Whether others use it too: what ails it may pass, and deleting everything would mend nothing."""

    @property
    def prefix(self) -> str:
        """What the names of this workspace's collections begin with."""

    def exists(self) -> bool:
        """Whether there may be something to read; asking creates nothing."""

    def open(self) -> Any:
        """A client.

        Raises:
            LedgerError: The server is not there.
        """

    def check(self) -> None:
        """See whether what was opened is still there.

        Raises:
            IndexDamaged: It was deleted or replaced.
        """

    def close(self) -> None:
        """Let go of it."""

    def delete(self) -> None:
        """Delete all of the workspace's collections, damaged or not.

        Raises:
            LedgerError: They cannot be deleted.
        """

    def blamed(self, error: BaseException) -> LedgerError:
        """What an error of Chroma's means: damage, which a rebuilding mends, or something else."""


def store(folder: Path, url: str) -> Store:
    """The server at a URL, or else the folder."""
    return Server(folder, url) if url else Folder(folder)


class Folder:
    """Chroma in this process, its files in a folder. One process at a time: Chroma's own locks do not suffice."""

    prefix, shared = "memory", False

    def __init__(self, folder: Path) -> None:
        self.folder, self.place = folder, str(folder)
        self._client: Any = None
        self._opened: tuple[int, int] | None = None

    def exists(self) -> bool:
        """See `Store`."""
        return self.folder.exists()

    def open(self) -> Any:
        """See `Store`."""
        import chromadb

        self.folder.mkdir(parents=True, exist_ok=True)
        self._client = chromadb.PersistentClient(str(self.folder), settings=_quiet())
        self._opened = self._database()
        return self._client

    def check(self) -> None:
        """See `Store`: SQLite would go on reading a file that is deleted already."""
        if self._opened is None or self._database() != self._opened:
            raise IndexDamaged(f"index {self.place} was deleted or replaced while it was open")

    def _database(self) -> tuple[int, int] | None:
        try:
            found = (self.folder / "chroma.sqlite3").stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def close(self) -> None:
        """See `Store`."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def delete(self) -> None:
        """See `Store`; the next use makes a new folder."""
        try:
            if self.folder.is_dir() and not self.folder.is_symlink():
                shutil.rmtree(self.folder)
            elif self.folder.exists():
                self.folder.unlink()
        except OSError as error:
            raise LedgerError(f"index {self.folder} cannot be deleted: {error.strerror}", fault=True) from error

    def blamed(self, error: BaseException) -> LedgerError:
        """See `Store`: in a folder of our own, all but a bad disk is damage."""
        line = f"index {self.place}: {type(error).__name__}: {error}"
        return LedgerError(line, fault=True) if any(sign in str(error) for sign in _FULL) else IndexDamaged(line)


class Server:
    """A Chroma server, which several processes may use at once, and several workspaces.

    A workspace's collections are named after an id in its folder and the folder's path: ids alone would be shared by a
    workspace and its copy, paths alone by two machines. A workspace that is moved is indexed anew.
    """

    shared = True

    def __init__(self, folder: Path, url: str) -> None:
        self.place, self._id = url, folder.with_suffix(".id")
        self._api: Any = None

    @cached_property
    def prefix(self) -> str:
        """See `Store`."""
        named = f"{_identity(self._id)} {self._id.parent.resolve()}"
        return f"quintet-{hashlib.sha256(named.encode()).hexdigest()[:16]}"

    def exists(self) -> bool:
        """See `Store`."""
        return True

    def open(self) -> Any:
        """See `Store`.

        `chromadb.HttpClient` sets no time limit and asks the server for several things before one can be set; so this
        is what it is made of, with a limit.
        """
        import httpx
        from chromadb.api import ServerAPI
        from chromadb.config import System

        parts, settings = urlsplit(self.place), _quiet()
        token = os.environ.get(TOKEN)
        settings.chroma_api_impl = "chromadb.api.fastapi.FastAPI"
        settings.chroma_server_host = parts.hostname
        settings.chroma_server_http_port = _port(self.place)
        settings.chroma_server_ssl_enabled = parts.scheme == "https"
        settings.chroma_server_headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.close()
        self._api = System(settings).instance(ServerAPI)  # type: ignore[type-abstract]
        self._api._session.timeout = httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS)
        self._api.heartbeat()
        return _Client(self._api)

    def check(self) -> None:
        """See `Store`: a server tells by itself that a collection is gone."""

    def close(self) -> None:
        """See `Store`."""
        api, self._api = self._api, None
        if api is not None:
            api._session.close()

    def delete(self) -> None:
        """See `Store`; other workspaces' collections stay."""
        try:
            client = self.open()
            for name in client.names():
                if name.startswith(self.prefix):
                    client.delete_collection(name)
        except Exception as error:
            raise self.blamed(error) from error
        finally:
            self.close()

    def blamed(self, error: BaseException) -> LedgerError:
        """See `Store`: a server that is away or sick is not mended by sending it everything again."""
        import httpx
        from chromadb.errors import ChromaError, InternalError, InvalidDimensionException, NotFoundError

        told = f"{type(error).__name__}: {error}"[:200]
        # Chroma's client raises its own error while it handles httpx's, which knows the status.
        status = getattr(getattr(error.__context__, "response", None), "status_code", 0)
        if isinstance(error, httpx.TransportError) or status in _AWAY:
            host = urlsplit(self.place).hostname
            command = f"chroma run --path FOLDER --host {host} --port {_port(self.place)}"
            line = f"no Chroma server answers at {self.place} ({told}): start it with {command}"
            return LedgerError(line, fault=True)
        if status in _REFUSED:
            return LedgerError(f"the Chroma server at {self.place} lets nobody in without a token: set {TOKEN}")
        line = f"index on the Chroma server at {self.place}: {told}"
        if any(sign in str(error) for sign in _FULL):
            return LedgerError(line, fault=True)
        if isinstance(error, NotFoundError | InternalError | InvalidDimensionException):
            return IndexDamaged(line)
        if isinstance(error, ChromaError):
            return LedgerError(line, fault=True)
        return LedgerError(f"what answers at {self.place} is no Chroma server ({told})")


class _Client:
    """What the index needs of a client, over the bare interface to a server."""

    def __init__(self, api: Any) -> None:
        self._api = api

    def get_or_create_collection(self, name: str, *, embedding_function: None, **chosen: Any) -> Any:
        return self._wrapped(self._api.get_or_create_collection(name=name, **chosen))

    def get_collection(self, name: str, *, embedding_function: None) -> Any:
        return self._wrapped(self._api.get_collection(name=name))

    def delete_collection(self, name: str) -> None:
        self._api.delete_collection(name=name)

    def list_collections(self) -> list[Any]:
        return list(self._api.list_collections())

    def names(self) -> list[str]:
        return [collection.name for collection in self.list_collections()]

    def _wrapped(self, model: Any) -> Any:
        from chromadb.api.models.Collection import Collection

        return Collection(client=self._api, model=model, embedding_function=None)


def _quiet() -> Any:
    from chromadb.config import Settings

    return Settings(anonymized_telemetry=False)


def _port(url: str) -> int:
    parts = urlsplit(url)
    return parts.port or (443 if parts.scheme == "https" else 80)


def _identity(file: Path) -> str:
    """The id in a file, which is written, whole or not at all, where there is none."""
    with contextlib.suppress(FileNotFoundError):
        return file.read_text(encoding="utf-8").strip()
    aside = file.with_name(f"{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        aside.write_text(f"{uuid.uuid4()}\n", encoding="utf-8")
        # Whoever comes second takes the first one's.
        with contextlib.suppress(FileExistsError):
            os.link(aside, file)
        return file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise LedgerError(f"cannot write {file}: {error.strerror}", fault=True) from error
    finally:
        aside.unlink(missing_ok=True)
