"""A package as pip leaves it, of which nothing but its entry points matters."""

from __future__ import annotations

from pathlib import Path


def install(folder: Path, *points: str, package: str = "installed") -> None:
    """Let a folder on Python's path look as if a package was installed there.

    Args:
        folder: Where its modules lie, or would.
        points: The lines of its `entry_points.txt`.
        package: Its name.
    """
    info = folder / f"{package.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("\n".join(points) + "\n")
