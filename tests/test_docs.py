"""The guides in docs/: every block is run, loaded or checked, and every link leads somewhere."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import io
import json
import os
import re
import runpy
import shlex
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from installing import install
from sitting import sitting
from tiny import tiny_settings

from quintet import Examiner, Loop, Round, RoundRole, TaskFamily, rehearse
from quintet.agents.players import at_the_table, episode_players, round_players
from quintet.agents.roles import EpisodeRole, Role, plugged_in
from quintet.agents.settings import JoinedSettings
from quintet.agents.sources import Draft
from quintet.agents.sources.bench import Bench, Trial
from quintet.cli import main
from quintet.evaluation.errors import SuiteError
from quintet.evaluation.settings import EvaluationSettings
from quintet.evaluation.suites import Suites
from quintet.graph.errors import LoopError
from quintet.graph.joining import joining
from quintet.graph.settings import Settings
from quintet.memory.workspace import Workspace
from quintet.records import Adapter, Attempt, Call, Reply, Selection, Split, Task
from quintet.tasks.errors import TaskError, Ungrounded
from quintet.tasks.families import load_families
from quintet.tasks.settings import TaskSettings

ROOT = Path(__file__).parents[1]
PAGES = (
    *("roles", "tasks", "environments", "plugins", "strategies", "agentic", "playground", "sources", "selection"),
    *("selector", "objectives", "self-play", "serving", "scale", "replay"),
)
LINKED = [ROOT / name for name in ("README.md", "CONTRIBUTING.md")] + sorted((ROOT / "docs").glob("*.md"))
WRITTEN = ("settings.md", "methods.md")
"""Pages that the code writes."""
ROUNDS = 2
LEAST = -20.0
"""Bound of the metric `confidence` in the run, in nats."""


@dataclass(frozen=True)
class Block:
    """A fenced block."""

    page: str
    name: str
    """The file that it is, if the line above it says so."""
    language: str
    text: str


def blocks(page: str) -> list[Block]:
    """All fenced blocks of a page."""
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    found = re.findall(r"(?:`([\w-]+\.\w+)`:\n\n)?^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert 2 * len(found) == len(re.findall(r"^```", text, re.MULTILINE)), f"{page}: a fence that does not close"
    return [Block(page, *each) for each in found]


BLOCKS = [block for page in PAGES for block in blocks(page)]
FILES = {block.name: block for block in BLOCKS if block.name}
TEXTS = [" ".join(block.text.split()) for block in BLOCKS if block.language == "text"]

RUN_AT_THE_TABLE = {
    "skeptic.py": "Skeptic",
    "coach.py": "Coach",
    "marker.py": "Marker",
    "narrator.py": "Narrator",
    "sameness.py": "Sameness",
    "panel.py": "Panel",
    "historian.py": "Historian",
    "auditor.py": "Auditor",
    "herald.py": "Herald",
}
"""Roles that sit in the one run, and are rehearsed where what they say is to be seen."""
RUN_IN_THE_EXAMINER = {"larger.py": "Larger", "backwards.py": "Backwards", "remainders.py": "Remainders"}
PLUGINS = "words likeliest even parrot converting neighbours likened greediest"
RUN_AS_PLUGINS = {f"{name}.py" for name in PLUGINS.split()}
RUN_AS_SCRIPTS = {"clumsy.py", "invented.py", "left_out.py", "lenient.py"}
RUN_AS_TESTS = {"test_skeptic.py", "test_larger.py", "test_lift.py"}
RUN_BY_NAME = {"judged.py", "convert.py", "rhymes.py", "shouts.py", "lift.py"}
"""The run itself; what writes the other formats; the predicate and the filter of data sets."""
DATA_SETS = {"capitals", "formats", "distances", "quiz", "formulas", "rhymes", "scraped"}
"""Configs with data sets that are drawn from."""


def test_every_block_is_run_by_some_test_and_no_two_are_one_file() -> None:
    python = [block.name for block in BLOCKS if block.language == "python"]
    assert "" not in python, "a Python block without the name of its file above it"
    run = {*RUN_AT_THE_TABLE, *RUN_IN_THE_EXAMINER} | RUN_AS_PLUGINS | RUN_AS_SCRIPTS | RUN_AS_TESTS | RUN_BY_NAME
    assert sorted(python) == sorted(run)
    configs = {name.removesuffix(".toml") for name in FILES if name.endswith(".toml")}
    assert configs == DATA_SETS | {"remainders", "pyproject"}
    assert {block.language for block in BLOCKS} == {"python", "toml", "jinja", "json", "csv", "text", "sh"}
    named = [block.name for block in BLOCKS if block.name]
    assert len(named) == len(set(named))


# --- the folder that the blocks are written to -------------------------------------------------------------


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """All files of the pages in one folder, which is the current one and importable, and the package installed."""
    place = tmp_path_factory.mktemp("docs")
    for block in FILES.values():
        (place / block.name).write_text(block.text, encoding="utf-8")
    install(place, entry_points(FILES["pyproject.toml"].text), package="quintet-extras")
    # Other tests import files of the same names, and a module is known by its name alone.
    names = {name.removesuffix(".py") for name in FILES if name.endswith(".py")}
    others = {name: sys.modules.pop(name) for name in names & set(sys.modules)}
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(place)
        patch.chdir(place)
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(place), os.environ.get("PYTHONPATH", "")])))
        yield place
    for name in names & set(sys.modules):
        del sys.modules[name]
    sys.modules.update(others)


def entry_points(pyproject: str) -> str:
    """What pip makes of the entry points of a `pyproject.toml`."""
    groups = tomllib.loads(pyproject)["project"]["entry-points"]
    return "\n".join(
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in points.items())
        for group, points in groups.items()
    )


def made(file: str, name: str) -> Any:
    """An instance of a class of the pages."""
    return getattr(importlib.import_module(file.removesuffix(".py")), name)()


def printed(file: str) -> str:
    """What a file prints when it is run, in one line."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        runpy.run_path(file, run_name="__main__")
    return " ".join(out.getvalue().split())


# --- configs, commands, links ------------------------------------------------------------------------------


def is_config(block: Block) -> bool:
    return block.language == "toml" and "project" not in tomllib.loads(block.text)


@pytest.mark.parametrize("block", [b for b in BLOCKS if is_config(b)], ids=lambda block: block.text.split("\n")[0])
def test_every_config_is_one(block: Block) -> None:
    settings = Settings.compose(tomllib.loads(block.text))
    joined = joining(settings)
    for role in joined.roles:
        assert isinstance(role, EpisodeRole | RoundRole)
    if block.page == "roles":
        assert set(settings.roles) <= {role.name for role in joined.roles}


def test_every_entry_point_loads_and_the_package_holds_all_groups() -> None:
    for block in BLOCKS:
        if block.language == "toml" and not is_config(block):
            for points in tomllib.loads(block.text)["project"]["entry-points"].values():
                for value in points.values():
                    module, _, name = value.partition(":")
                    assert hasattr(importlib.import_module(module), name)
    package = tomllib.loads(FILES["pyproject.toml"].text)
    groups = package["project"]["entry-points"]
    page = (ROOT / "docs" / "plugins.md").read_text()
    assert set(groups) == set(re.findall(r"^\| `(quintet\.\w+)`", page, re.MULTILINE))
    ours = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"])
    assert ours <= set(groups)
    modules = {value.partition(":")[0] for points in groups.values() for value in points.values()}
    assert modules == set(package["tool"]["setuptools"]["py-modules"])


COMMANDS = [
    line for block in BLOCKS if block.language == "sh" for line in block.text.splitlines() if line.startswith("quintet")
]


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_is_understood(line: str) -> None:
    command: click.Command = main
    words = shlex.split(line)[1:]
    while isinstance(command, click.Group):
        command = command.commands[words.pop(0)]
    command.make_context(command.name, words)


@pytest.mark.parametrize("line", [line for line in COMMANDS if line.startswith("quintet new")])
def test_every_first_version_is_written(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, shlex.split(line)[1:])
    assert result.exit_code == 0, result.output
    assert list(tmp_path.rglob("test_*.py"))


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", LINKED, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
        if link.startswith("http"):
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), f"{page.name}: {link}"
        assert not anchor or anchor in anchors(target), f"{page.name}: {link}"


@pytest.mark.parametrize("page", LINKED[1:], ids=lambda page: page.name)
def test_no_line_is_long(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    long = [line for line in text.splitlines() if len(line) > 125]
    # Tables that the code or a benchmark writes are as wide as their figures.
    assert not [line for line in long if not ("<!--" in text and line.startswith("|"))] or page.name in WRITTEN


def test_the_rooms_of_the_guide_are_those_of_the_repository() -> None:
    named = re.findall(r"^\| (`.*?`) \|", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    rooms = {name for cell in named for name in re.findall(r"`([\w.]+)/?`", cell)}
    package = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {name.split(".")[1] for name in package if name.count(".") == 1}
    assert rooms == folders | {path.name for path in ROOT.glob("*.py") if path.name != "__init__.py"}


# --- roles -------------------------------------------------------------------------------------------------


def table(page: str, head: str) -> list[list[str]]:
    """The rows of the table whose first cell this is."""
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    [found] = re.findall(rf"^\| {re.escape(head)} \|.*\n\| ---.*\n((?:\|.*\n)+)", text, re.MULTILINE)
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in found.splitlines()]


def test_the_tables_name_every_chair_setting_and_field() -> None:
    chairs = {row[0].strip(" `"): row[1] for row in table("roles", "chair")}
    assert chairs == {
        **{role.name: "round" for role in round_players()},
        **{role.name: "episode" for role in episode_players()},
    }
    rows = {row[0].strip(" `"): row[2].strip(" |") for row in table("roles", "setting")}
    assert set(rows) == set(JoinedSettings.model_fields)
    defaults = JoinedSettings()
    for name in ("temperature", "top_k", "max_tokens", "seconds"):
        assert float(rows[name]) == getattr(defaults, name)
    fields = {name for row in table("roles", "`Round`") for name in re.findall(r"`(\w+)`", row[0])}
    assert fields == set(Round.__dataclass_fields__)
    attributes = {name for row in table("roles", "attribute") for name in re.findall(r"`(\w+)`", row[0])}
    assert attributes == set(inspect.get_annotations(Role)) - {"builtin", "joined", "table"}


def test_the_numbers_in_the_text_are_the_defaults() -> None:
    from quintet.agents.curator import FEW_CHOICES
    from quintet.tasks.checks import TOLERANCE

    bounds = EvaluationSettings().monitors
    assert (bounds.least, bounds.errors, FEW_CHOICES, TOLERANCE) == (20, 0.1, 10, 1e-6)


@pytest.mark.parametrize("file", sorted(RUN_AS_TESTS))
def test_the_tests_of_the_pages_pass(file: str) -> None:
    found = runpy.run_path(file)
    tests = [found[name] for name in found if name.startswith("test_")]
    assert tests
    for test in tests:
        test()


def test_a_template_of_its_own_shows_what_act_passes_on() -> None:
    coach = made("coach.py", "Coach")
    heard = rehearse(coach, ['{"tip": "Count again."}'], attempts=["Answer: 42", "Answer: 41"])
    assert str(heard.said) == "Count again."
    assert "Wrong: Answer: 41" in heard.prompts[0]
    assert "Answer: 42" not in heard.prompts[0]
    assert rehearse(coach, attempts=["Answer: 42"]).records == ()


def test_verdicts_are_on_record() -> None:
    def verdicts(role: Role, *says: str, **scene: Any) -> list[str | None]:
        return [record.verdict for record in rehearse(role, says, **scene).records if isinstance(record, Reply)]

    assert verdicts(made("marker.py", "Marker"), '{"verdict": "revise", "why": "How?"}') == ["revise"]
    sameness = made("sameness.py", "Sameness")
    assert verdicts(sameness, attempts=["Answer: 41", "Answer: 41"]) == ["revise"]
    assert verdicts(sameness, attempts=["Answer: 41"]) == []
    assert verdicts(made("auditor.py", "Auditor")) == ["accept"]


def test_the_other_replies_are_heard() -> None:
    assert rehearse(made("narrator.py", "Narrator"), ["Once."]).said.text == "Once."  # type: ignore[union-attr]
    votes = ['{"clear": "yes"}', '{"clear": "no"}', '{"clear": "y']
    panel = rehearse(made("panel.py", "Panel"), votes * 2)
    assert panel.said.model_dump() == {"clear": 2, "votes": 4}  # type: ignore[union-attr]
    herald = made("herald.py", "Herald")
    assert "Round 1 begins" in rehearse(herald, round=1).said.text  # type: ignore[union-attr]
    assert rehearse(herald, round=2).records == ()


def test_a_role_of_the_package_is_at_the_table() -> None:
    assert [role.name for role in plugged_in()] == ["skeptic"]
    assert [seat.role for seat in at_the_table()].index("skeptic") == 3


async def test_the_source_of_the_package_proposes_and_is_refused_like_any_other(tmp_path: Path) -> None:
    block = next(block for block in BLOCKS if block.page == "sources" and "step" in block.text and is_config(block))
    given = tomllib.loads(block.text)["proposer"]
    options = {name: given[name] for name in ("sources", "mix", "options")}
    async with sitting(tmp_path, str, {"products": 2, "gcd": 2}, **options) as table:
        proposals = await table.proposals("neighbours")
        tasks = {task.id: task for task in table.table.ledger.find(Task)}
    assert [proposal.family for proposal in proposals] == ["products"] * 3 + ["gcd"] * 3
    assert {proposal.accepted for proposal in proposals} == {True, False}
    for proposal in proposals:
        first = int(re.findall(r"\d+", tasks[proposal.seeds[0]].canonical)[0])
        assert json.loads(proposal.content)["first"] == first + 2


async def test_the_source_that_asks_has_its_tasks_tried(tmp_path: Path) -> None:
    def says(asked: str) -> str:
        if "Write one like it" in asked:
            assert asked.startswith("Exercise: ")
            numbers = [int(number) for number in re.findall(r"\d+", asked)]
            return json.dumps({"first": numbers[0] + 1, "second": numbers[1]})
        return "1"

    async with sitting(tmp_path, says, {"products": 2}, sources=["drawn", "likened"], mix={"likened": 3}) as table:
        proposals = await table.proposals("likened")
    assert len(proposals) == 3
    assert all(proposal.call and proposal.seeds for proposal in proposals)
    # The solver is always wrong, so what was tried is too hard; the rest is held out, or was asked.
    tried = [proposal for proposal in proposals if proposal.trial]
    assert tried
    assert {proposal.reason.partition(";")[0] for proposal in tried} == {"too hard as yet"}
    likened = importlib.import_module("likened").Likened()
    draft = Draft(proposals[0], Task(family="products", level=2, question="?", canonical="?", truth={}), 2)
    half = likened.tried(draft, Trial(("1", "2"), (True, False), "call-0"))
    assert half.proposal.reason == "1 of 2 trial attempts right"
    with pytest.raises(Ungrounded, match="too easy"):
        likened.tried(draft, Trial(("1", "1"), (True, True), "call-0"))


def test_what_the_bench_gives_is_as_the_page_says() -> None:
    page = (ROOT / "docs" / "sources.md").read_text(encoding="utf-8")
    listed = page.partition("### The bench")[2]
    told = dict(re.findall(r"^- `(?:await )?(\w+)\(([^`]*)\)`", listed, re.M))
    public = [name for name, one in vars(Bench).items() if inspect.isfunction(one) and not name.startswith("_")]
    # The proposer's own.
    assert set(told) == set(public) - {"took", "trial"}
    for name, arguments in told.items():
        parameters = list(inspect.signature(getattr(Bench, name)).parameters.values())[1:]
        assert arguments == ", ".join(str(one.replace(annotation=one.empty)).replace("'", '"') for one in parameters)
        waits = f"`await {name}(" in listed
        assert inspect.iscoroutinefunction(getattr(Bench, name)) == waits, name
    [drafted] = re.findall(r"`Draft\(([^`]*)\)`", listed)
    fields = list(inspect.signature(Draft).parameters.values())
    assert drafted == ", ".join(str(one.replace(annotation=one.empty)).replace(" = ", "=") for one in fields)


def test_the_bandit_of_the_package_is_chosen_by_its_name() -> None:
    from quintet.evaluation.bandits import load_bandit

    assert load_bandit("greediest").choose(["drawn/gcd", "drawn/products"], [], 0) == {
        "drawn/gcd": 1.0,
        "drawn/products": 0.0,
    }


async def test_the_tool_of_the_package_is_offered_and_answers() -> None:
    from quintet.agents.tools import load_tools, used

    [converter] = [tool for tool in load_tools() if tool.name == "converter"]
    desk: Any = None
    assert await used(converter, "26.2", desk) == "42.16 km"
    assert await used(converter, "far", desk) == "error: write a number of miles"


@pytest.mark.parametrize("file", sorted(RUN_AS_SCRIPTS))
def test_what_a_script_prints_is_what_the_page_says(file: str) -> None:
    assert printed(file) in TEXTS


# --- task families -----------------------------------------------------------------------------------------

REPLIES = {"larger": "Answer: {}", "backwards": "It is [{}]", "remainders": "Answer: {}"}


async def test_the_families_are_drawn_and_judged() -> None:
    families: list[TaskFamily] = [made(file, name) for file, name in RUN_IN_THE_EXAMINER.items()]
    with Examiner(families) as examiner:
        for family in families:
            for level in range(family.levels):
                tasks = await examiner.draw(family.name, level, seed=1, count=3, split="train")
                for task in tasks:
                    right = REPLIES[family.name].format(task.truth["answer"])
                    good, bad = await examiner.judge(task, [right, REPLIES[family.name].format("-1")])
                    assert (good.correct, good.strict, bad.correct) == (True, True, False), (family.name, right)
        wide = families[-1].proposal_at(3)
        assert wide is not None
        assert wide.model_json_schema()["properties"]["number"]["maximum"] == 99_999


async def test_the_suites_fit_and_what_does_not_is_refused_as_the_page_says() -> None:
    settings = Settings.load("remainders.toml", environment={})
    with Examiner(joining(settings).tasks, settings.tasks) as examiner:
        suites = await Suites.build(examiner, settings.evaluation, settings.seed, settings.rounds)
        assert len(suites.tasks) == 40 + 2 * 120 + 60 + 160
        for level in range(3):
            assert await examiner.draw("remainders", level, 1, settings.proposer.tasks, "train")
    for rounds, fits in ((3, True), (8, False)):
        larger = Settings.compose({"rounds": rounds, "evaluation": {"families": {"larger": [0]}}})
        with Examiner([made("larger.py", "Larger")], larger.tasks) as examiner:
            with contextlib.nullcontext() if fits else pytest.raises(SuiteError) as refused:
                await Suites.build(examiner, larger.evaluation, larger.seed, rounds)
            assert refused is None or str(refused.value) in TEXTS


def test_the_shares_and_forms_are_as_the_page_says() -> None:
    from typing import get_args

    from quintet.tasks.family import Form

    shares = TaskSettings().shares
    assert (shares["gate"], shares["final"], shares["steer"], shares["retention"]) == (0.25, 0.25, 0.05, 0.05)
    assert {row[0].strip(" `") for row in table("tasks", "form")} == set(get_args(Form))


ANSWERS = {
    "capitals": ("France", [("Answer: paris.", True), ("Answer: Oslo", False)]),
    "from_parquet": ("France", [("Answer: Paris", True)]),
    "from_a_folder": ("France", [("Answer: Paris", True)]),
    "distances": ("Oslo", [("Answer: 1.6093440001", True), ("Answer: 1.61", False)]),
    "quiz": ("mammal", [("Answer: B", True), ("Answer: whale", True), ("Answer: C", False)]),
    "formulas": ("Expand", [("Answer: $(1+x)^2$", True), ("Answer: $x^2 + 1$", False)]),
    "scraped": ("Norway", [("Answer: oslo", True), ("Answer: Bergen", False)]),
    "rhymes": ("-ight", [("Answer: bright", True), ("Answer: light bulb", False), ("Answer: ight", False)]),
}
"""Of each data set a word of one question, and replies to it with whether they are right."""


async def test_every_data_set_is_read_drawn_and_judged() -> None:
    printed("convert.py")
    datasets = {}
    for name in sorted(DATA_SETS):
        datasets |= Settings.load(f"{name}.toml", environment={}).tasks.datasets
    assert set(datasets) == set(ANSWERS)
    known = load_families(datasets=datasets)
    everything: dict[Split, float] = {"train": 1.0, "steer": 0.0, "gate": 0.0, "retention": 0.0, "final": 0.0}
    with Examiner([known[name] for name in datasets], TaskSettings(shares=everything)) as examiner:
        for name, (word, replies) in ANSWERS.items():
            assert known[name].levels == (2 if datasets[name].level else 1)
            count = len(list(known[name].draw(0, 0)))
            [task] = [task for task in await examiner.draw(name, 0, 0, count, "train") if word in task.question]
            found = await examiner.judge(task, [reply for reply, _ in replies])
            assert [judgement.correct for judgement in found] == [right for _, right in replies], name


def test_a_wrong_row_is_refused_as_the_page_says() -> None:
    settings = Settings.compose({"tasks": {"datasets": {"broken": {"path": "broken.csv", "check": "number"}}}})
    with pytest.raises(TaskError) as refused:
        load_families(datasets=settings.tasks.datasets)
    assert str(refused.value) in TEXTS


# --- one run with all of it --------------------------------------------------------------------------------


def merged(values: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """Two configs as one."""
    found = dict(values)
    for key, value in more.items():
        old = found.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            found[key] = merged(old, value)
        else:
            found[key] = [*old, *value] if isinstance(old, list) and key == "join" else value
    return found


def toml(value: Any) -> str:
    """A value in TOML."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {toml(each)}" for key, each in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)


@dataclass(frozen=True)
class Ran:
    """What came of the run."""

    workspace: Path
    printed: str
    replies: dict[str, list[Reply]]
    calls: dict[str, list[Call]]
    selections: list[Selection]
    attempts: list[Attempt]
    adapters: list[Adapter]
    tasks: dict[str, Task]


@pytest.fixture(scope="module")
def ran(folder: Path, tiny_model_folder: Path) -> Ran:
    """The script `judged.py` as printed, with the other roles and the plug-ins joined as the pages' configs say."""
    values = tiny_settings(tiny_model_folder, rounds=ROUNDS).model_dump(mode="json", exclude_unset=True)
    for block in BLOCKS:
        # Nobody listens at the endpoint named; other pages' configs are of runs of their own.
        if is_config(block) and not block.name and block.page in ("roles", "plugins") and "judge" not in block.text:
            values = merged(values, tomllib.loads(block.text))
    # The skeptic comes with the package.
    joined = [f"{file}:{name}" for file, name in RUN_AT_THE_TABLE.items() if file != "skeptic.py"]
    values["join"] = sorted({*values.get("join", []), *joined, f"{ROOT / 'tests' / 'parity.py'}:Parity"})
    # What it objects to gives no row; the first round shall have some.
    values["roles"]["marker"] = {"rounds": [2]}
    # The page's bound is far beyond a random model.
    values["curator"]["at_least"]["confidence"] = LEAST
    Path("config.toml").write_text("".join(f"{key} = {toml(value)}\n" for key, value in values.items()))
    said = printed("judged.py")
    with Workspace("runs").ledger() as ledgers:
        ledger = ledgers.run()
        replies: dict[str, list[Reply]] = {}
        for reply in ledger.find(Reply):
            replies.setdefault(reply.role, []).append(reply)
        calls: dict[str, list[Call]] = {}
        for call in ledger.find(Call):
            calls.setdefault(call.role, []).append(call)
        return Ran(
            workspace=folder / "runs",
            printed=said,
            replies=replies,
            calls=calls,
            selections=ledger.find(Selection),
            attempts=ledger.find(Attempt),
            adapters=ledger.find(Adapter),
            tasks={task.id: task for task in ledger.find(Task)},
        )


def test_all_roles_are_heard_in_the_run(ran: Ran) -> None:
    assert "final suite" in ran.printed
    # It objects only where all attempts are alike.
    quiet = {"sameness"}
    heard = {made(file, name).name for file, name in RUN_AT_THE_TABLE.items()}
    assert heard - quiet <= set(ran.replies) <= heard
    for role, replies in ran.replies.items():
        faults = {reply.error for reply in replies if reply.error}
        # A random model may be cut off in the middle of its JSON.
        assert all("answered nonsense" in fault for fault in faults), (role, faults)
    for role in ("skeptic", "marker", "narrator", "panel", "auditor", "herald"):
        assert not any(reply.error for reply in ran.replies[role])


def test_the_roles_keep_to_their_rounds(ran: Ran) -> None:
    def rounds(role: str) -> set[int]:
        return {reply.round for reply in ran.replies[role]}

    assert rounds("coach") == {2}
    assert rounds("marker") == {2}
    assert rounds("herald") == {1}
    assert rounds("auditor") == {1, 2}


def test_the_settings_of_the_page_are_heeded(ran: Ran) -> None:
    told = ran.calls["narrator"][0]
    assert told.messages[0].content == "You tell stories to children."
    assert told.messages[1].content.startswith("Once upon a time somebody asked: Say something about")
    assert (told.options["temperature"], told.options["max_tokens"]) == (0.5, 24)
    assert {call.adapter for call in ran.calls["panel"]} == {"base"}


def test_what_the_judge_says_is_told_to_the_solver_and_costs_the_row(ran: Ran) -> None:
    assert all(reply.verdict == "revise" for reply in ran.replies["marker"])
    revisions = [call for call in ran.calls["solver"] if call.round == 2 and call.turn == 1]
    assert revisions
    for call in revisions:
        assert "Say how you got there." in str(call.messages)
    marked = {reply.task for reply in ran.replies["marker"]}
    refused = [one for one in ran.selections if one.round == 2 and one.reason == "marker said revise"]
    assert {one.task for one in refused} <= marked
    assert not any(one.chosen for one in ran.selections if one.round == 2)


def test_the_historian_recalls_earlier_questions(ran: Ran) -> None:
    prompts = [(call.round, call.messages[-1].content) for call in ran.calls["historian"]]
    assert prompts
    assert all(number == 2 and "Earlier: Say something about" in prompt for number, prompt in prompts)


def test_the_chat_model_of_the_package_speaks_for_the_skeptic(ran: Ran) -> None:
    assert {call.completions[0].text for call in ran.calls["skeptic"]} == {'{"doubt": "Is that so?"}'}
    assert {call.adapter for call in ran.calls["skeptic"]} == {None}


def test_the_metrics_are_on_record_and_bound_the_rows(ran: Ran) -> None:
    assert ran.selections
    texts = {attempt.id: attempt.text for attempt in ran.attempts}
    for one in ran.selections:
        assert one.scores["words"] == len(texts[one.attempt].split())
        assert not one.chosen or one.scores["confidence"] >= LEAST
    assert any(one.chosen for one in ran.selections)


def test_the_objective_trained_an_adapter(ran: Ran) -> None:
    assert ran.adapters
    for adapter in ran.adapters:
        assert adapter.recipe["objective"] == "even"
        assert adapter.recipe["objective_options"] == {"power": 0.5}


def test_the_objective_weighs_prompts_alike() -> None:
    from quintet.training.objective import Example, Segment, load_objective
    from quintet.training.settings import TrainingSettings

    objective: Any = load_objective(TrainingSettings(objective="even"))
    weighed = objective.weighed(Example((1,), (Segment((2,)), Segment((3,)))))
    assert [segment.weight for segment in weighed.segments] == [0.5, 0.5]


def test_the_strategy_solves_and_is_compared(ran: Ran) -> None:
    def typed(line: str) -> Any:
        words = shlex.split(line)[1:]
        result = CliRunner().invoke(main, [*words, "--workspace", str(ran.workspace), "--json"])
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    [solve] = [line for line in COMMANDS if line.startswith("quintet solve") and "likeliest" in line]
    [solved] = typed(solve)
    steps = solved["solution"]["steps"]
    assert len(steps) == 5
    likeliest = max(steps, key=lambda step: float(step["what"].split()[0]))
    assert solved["solution"]["text"] == likeliest["text"]
    [compare] = [line for line in COMMANDS if line.startswith("quintet eval") and "likeliest" in line]
    assert any(name.endswith("likeliest") for name in typed(compare)["ways"])


class Latecomer(RoundRole):
    """Comes too late."""


def test_a_run_goes_on_with_the_roles_that_it_began_with(ran: Ran) -> None:
    with pytest.raises(LoopError, match="add or drop latecomer"):
        Loop.resume(workspace=ran.workspace, roles=[Latecomer()]).run(rounds=ROUNDS + 1)
