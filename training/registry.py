"""The adapters on disk: where each lies, and whether it is whole. What became of it stands in the ledger."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pydantic import ValidationError

from quintet.models.catalogue import sha256
from quintet.training.errors import RegistryError
from quintet.training.spec import FORMAT, Manifest

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
MANIFEST = "manifest.json"

ASIDE = ".temporary"
"""The folder of adapters that are made for one use; the registry lists none of it."""

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def aside_of(out: Path) -> Path:
    """Where a folder is written before it gets its name; the registry does not list it."""
    return out.with_name(f".{out.name}.part")


def checkpoints_of(out: Path) -> Path:
    """Where a training keeps its checkpoints until the adapter is there; the registry does not list it."""
    return out.with_name(f".{out.name}.steps")


def read_adapter(folder: Path) -> Manifest:
    """The manifest of an adapter folder whose every file is as it was written.

    Raises:
        RegistryError: A file is missing, unreadable, or not what the manifest says.
    """
    try:
        manifest = Manifest.model_validate_json((folder / MANIFEST).read_bytes())
        json.loads((folder / CONFIG).read_bytes())
        weights = sha256(folder / WEIGHTS)
    except FileNotFoundError as error:
        raise RegistryError(f"{error.filename} is missing: the adapter is not complete") from None
    except OSError as error:
        raise RegistryError(f"{error.filename} cannot be read: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise RegistryError(f"{folder / MANIFEST} is damaged: {where}: {first['msg']}") from None
    except ValueError as error:
        raise RegistryError(f"{folder / CONFIG} is damaged: {error}") from None
    if manifest.format != FORMAT:
        raise RegistryError(f"{folder / MANIFEST} has format {manifest.format}: this Quintet reads {FORMAT}")
    if weights != manifest.weights:
        raise RegistryError(
            f"{folder / WEIGHTS} is damaged: its SHA-256 is {weights[:12]}…, the manifest says {manifest.weights[:12]}…"
        )
    return manifest


class Registry:
    """A folder of adapter folders, each named by its adapter's id."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, adapter: str) -> Path:
        """Where this adapter lies, or will lie.

        Raises:
            RegistryError: The id cannot name a folder.
        """
        if not _ID.fullmatch(adapter):
            line = f"{adapter!r} is not an adapter id: letters, digits, '-', '_' and '.' only"
            raise RegistryError(line, fault=False)
        return self.folder / adapter

    def read(self, adapter: str) -> Manifest:
        """The manifest of this adapter, after checking every file against it.

        Raises:
            RegistryError: It is missing or damaged.
        """
        return read_adapter(self.path(adapter))

    def check(self, adapter: str) -> str:
        """SHA-256 of this adapter's weights, after checking every file against the manifest.

        Raises:
            RegistryError: It is missing or damaged.
        """
        return self.read(adapter).weights

    def ids(self) -> list[str]:
        """Ids of the adapters here, sorted; folders still being written are none."""
        if not self.folder.is_dir():
            return []
        return sorted(path.name for path in self.folder.iterdir() if path.is_dir() and _ID.fullmatch(path.name))

    @contextmanager
    def temporary(self, name: str) -> Iterator[Path]:
        """A place for an adapter that nobody keeps: whatever is put there is deleted at the end, however that comes.

        Args:
            name: Names the folder, which is not there yet.

        Raises:
            RegistryError: The name cannot name a folder.
        """
        folder = self.path(name).parent / ASIDE / name
        try:
            yield folder
        finally:
            for leftover in (folder, aside_of(folder)):
                shutil.rmtree(leftover, ignore_errors=True)
            # Unless another is at work there, it goes too.
            with suppress(OSError):
                folder.parent.rmdir()

    def sweep(self) -> None:
        """Delete temporary adapters of a process that was killed; only for whoever has the workspace to itself."""
        shutil.rmtree(self.folder / ASIDE, ignore_errors=True)

    def adopt(self, folder: Path, adapter: str) -> str:
        """Copy an adapter from elsewhere (another workspace) under this id; SHA-256 of its weights.

        Raises:
            RegistryError: It is damaged, or another adapter has this id.
        """
        weights = read_adapter(folder).weights
        target = self.path(adapter)
        if target.exists():
            if self.check(adapter) != weights:
                line = f"{target} holds another adapter than {folder}: give it another id"
                raise RegistryError(line, fault=False)
            return weights
        aside = aside_of(target)
        shutil.rmtree(aside, ignore_errors=True)
        try:
            shutil.copytree(folder, aside)
            os.replace(aside, target)
        except OSError as error:
            raise RegistryError(f"{folder} cannot be copied to {target}: {error.strerror or error}") from None
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        return weights
