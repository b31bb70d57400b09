"""Which task families there are: reasoning-gym's, those of plug-ins, a caller's own, and data sets."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from quintet.plugins import Plugin, plugins
from quintet.records import Part
from quintet.tasks.arithmetic import ARITHMETIC
from quintet.tasks.dataset import DatasetFamily
from quintet.tasks.environment import EnvironmentFamily
from quintet.tasks.errors import TaskError
from quintet.tasks.family import TaskFamily
from quintet.tasks.gym import GymFamily
from quintet.tasks.gym_table import LIBRARY_LEVELS
from quintet.tasks.settings import DatasetSettings

GROUP = "quintet.tasks"
"""Entry-point group; each names a `TaskFamily`, or what makes one, or a list of them, without arguments."""


Make = Callable[[str, DatasetSettings], TaskFamily]
"""Makes the family of a data set, by the name that it gets."""


class FamilyInfo(Part):
    """One line of the catalogue."""

    family: str
    levels: int
    proposable: bool
    """Whether the model may invent tasks of it."""
    source: str
    """Where it comes from."""


def of_data(name: str, settings: DatasetSettings) -> TaskFamily:
    """The family of a data set; its filters look at the data alone, since there is no run and no model here.

    Raises:
        TaskError: A row is wrong, or none is left.
    """
    if not settings.filters.active:
        return DatasetFamily(name, settings)
    from quintet.tasks.curation.family import roughly

    return roughly(name, settings)


def load_families(
    extra: Sequence[TaskFamily] = (), datasets: Mapping[str, DatasetSettings] | None = None, make: Make = of_data
) -> dict[str, TaskFamily]:
    """Every family by its name; reasoning-gym itself is not imported.

    Args:
        extra: Families of the caller's own.
        datasets: Data sets that join under the names given; each is read and checked from end to end.
        make: Makes their families.

    Raises:
        TaskError: Two have the same name, an entry point names no family, or a data set is wrong.
    """
    return {name: family for name, (_, family) in _named(extra, datasets or {}, make).items()}


def catalogue(
    extra: Sequence[TaskFamily] = (), datasets: Mapping[str, DatasetSettings] | None = None
) -> list[FamilyInfo]:
    """What `load_families` finds, sorted by name."""
    return [
        FamilyInfo(family=name, levels=family.levels, proposable=family.proposal is not None, source=source)
        for name, (source, family) in sorted(_named(extra, datasets or {}, of_data).items())
    ]


def pick(families: Mapping[str, TaskFamily], names: Iterable[str]) -> list[TaskFamily]:
    """The named families, each once, in the order of first mention.

    Raises:
        TaskError: There is no such family; the message names the nearest.
    """
    wanted = dict.fromkeys(names)
    for name in wanted:
        if name not in families:
            raise TaskError(nearest(name, families))
    return [families[name] for name in wanted]


def nearest(name: str, families: Iterable[str]) -> str:
    """One line on a name that no family has, with the nearest right one."""
    known = sorted(families)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known[:10])}, ..."
    return f"no task family is named {name!r}: {hint}"


def _named(
    extra: Sequence[TaskFamily], datasets: Mapping[str, DatasetSettings], make: Make
) -> dict[str, tuple[str, TaskFamily]]:
    named: dict[str, tuple[str, TaskFamily]] = {}
    for source, family in _all(extra):
        _refuse_clash(family.name, source, named)
        named[family.name] = (source, family)
    for name, settings in datasets.items():
        source = f"data set {settings.path}"
        # Before the data set is read, which may take a while.
        _refuse_clash(name, source, named)
        named[name] = (source, _checked(make(name, settings), source))
    return named


def _refuse_clash(name: str, source: str, named: Mapping[str, tuple[str, TaskFamily]]) -> None:
    if name in named:
        raise TaskError(f"task family {name!r} comes from {named[name][0]} and from {source}: rename one")


def _all(extra: Sequence[TaskFamily]) -> Iterator[tuple[str, TaskFamily]]:
    for plugin in plugins(GROUP):
        # A library brings many at once.
        source = plugin.name if plugin.found is reasoning_gym else plugin.source
        yield from ((source, family) for family in _families(plugin))
    for family in extra:
        source = f"{type(family).__module__}.{type(family).__qualname__}"
        yield source, _checked(family, source)


def reasoning_gym() -> list[TaskFamily]:
    """The families of reasoning-gym; the library itself is not imported."""
    return [ARITHMETIC.get(name, GymFamily)(name) for name in LIBRARY_LEVELS]


def _families(plugin: Plugin) -> list[TaskFamily]:
    try:
        found = plugin.found if isinstance(plugin.found, TaskFamily) else plugin.found()
    except Exception as error:
        # Its constructor is the user's own code.
        raise TaskError(f"{plugin.source} cannot be made: {type(error).__name__}: {error}") from error
    return [_checked(family, plugin.source) for family in (found if isinstance(found, list) else [found])]


def _checked(family: object, source: str) -> TaskFamily:
    if not isinstance(family, TaskFamily):
        raise TaskError(f"{source} is a {type(family).__name__}, not a TaskFamily: derive it from TaskFamily")
    if not isinstance(getattr(family, "name", None), str) or not family.name:
        raise TaskError(f"{source} has no name: set `name` to a unique string")
    if "@" in family.name:
        raise TaskError(f"task family {family.name!r} ({source}): a family's name holds no @, which stands for a level")
    if not isinstance(family.levels, int) or family.levels < 1:
        raise TaskError(f"task family {family.name!r} has {family.levels!r} levels: it needs at least 1")
    if isinstance(family, EnvironmentFamily) and (not isinstance(family.turns, int) or family.turns < 1):
        raise TaskError(f"environment {family.name!r} has {family.turns!r} turns: it needs at least 1")
    return family
