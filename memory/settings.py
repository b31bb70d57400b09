"""Settings of the ledger and of recall."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from quintet.records import Part

Distance = Annotated[float, Field(ge=0, le=2)]
"""Cosine distance: 0 for the same direction, 1 for unrelated, 2 for opposite."""


class MemorySettings(Part):
    """What every run of a workspace remembers with."""

    database: str = ""
    """Where the ledger is: a database URL (`postgresql+psycopg://…`, `sqlite:///…`), or empty for the workspace's
    own SQLite file, which needs no server. In PostgreSQL the checkpoints of the run are beside it."""
    index: str = ""
    """Where the similarity index is: `http://HOST:PORT` or `https://HOST:PORT` of a Chroma server, or empty for a
    folder of the workspace, which needs no server. A token, if the server wants one, stands in the environment
    variable `QUINTET_CHROMA_TOKEN`."""
    recall: int = Field(3, ge=0)
    """Memories that come back where the caller names no count; a small model's prompt has room for few. With 0 nothing
    comes back, whatever a caller asks for: a run without recall, to see what recall is worth."""
    max_distance: Distance = 0.8
    """Memories farther from the query than this cosine distance do not come back; unrelated English texts lie
    at 0.8 to 1.1 under the packaged embedder."""
    oversample: int = Field(32, gt=0)
    """Approximate candidates fetched from Chroma, at least, before exact re-ranking."""
    embedder: str = ""
    """Folder of a sentence-transformers model, or empty for the packaged all-MiniLM-L6-v2. Nothing is downloaded."""
    embed_batch: int = Field(4, gt=0)
    """Texts embedded at once; only texts of equal length share a batch, so more seldom helps on a CPU."""

    @field_validator("database")
    @classmethod
    def _is_a_url(cls, url: str) -> str:
        if url and "://" not in url:
            raise ValueError(f"a database URL is wanted, such as sqlite:///{url} or postgresql+psycopg://HOST/NAME")
        return url

    @field_validator("index")
    @classmethod
    def _is_a_server(cls, url: str) -> str:
        if not url:
            return url
        try:
            parts = urlsplit(url)
            sound = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:
            sound = False
        if not sound:
            raise ValueError(f"{url!r} is no server's address: http://HOST:PORT is wanted, or nothing for a folder")
        if parts.username or parts.password:
            raise ValueError("a URL that is on record holds no password: set QUINTET_CHROMA_TOKEN instead")
        if parts.path.strip("/") or parts.query or parts.fragment:
            raise ValueError(f"{url!r} goes on after the port: http://HOST:PORT is wanted")
        return url.rstrip("/")
