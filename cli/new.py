"""Writes the first version of a role, a task family or an environment, with a test that passes."""

from __future__ import annotations

import keyword
import re
import sys
from pathlib import Path
from typing import Literal

import click

from quintet.cli.environments import ENVIRONMENT
from quintet.cli.environments import TEST as ENVIRONMENT_TEST
from quintet.cli.frame import guarded, json_option, out

CHAIRS = ("proposer", "solver", "critic", "curator", "trainer")
EPISODE_CHAIRS = ("solver", "critic")

ROLE = '''\
"""{title}: a role that speaks {where} the {chair}, {rhythm}.

Let it join:  quintet run CONFIG.toml --role {file}:{title}
"""

{imports}from pydantic import BaseModel, Field

from quintet import {kind}


class {title}Reply(BaseModel):
    """What the {words} says; decoding is constrained to it."""

{fields}

class {title}({kind}):
    """Says one thing {about}."""

    {where} = "{chair}"
    persona = "You are brief."
    reply = {title}Reply
'''

EPISODE_WORDS = """\
Problem: {{ scene.question }}
{% for attempt in scene.current()[:2] %}
Attempt {{ loop.index }}: {{ attempt.text | truncate(200) }}
{% endfor %}
{% for name, reply in scene.replies.items() %}
{{ name }} said: {{ reply }}
{% endfor %}
Your remark, as JSON:
"""

ROUND_WORDS = """\
This is round {{ scene.number }}, with {{ scene.tasks | length }} tasks and {{ scene.rows | length }} rows.
{% for task in scene.tasks[:3] %}
- {{ task.question }}
{% endfor %}
Your remark, as JSON:
"""

ROLE_TEST = '''\
"""The {words} rehearsed: no run, and a chat model that says what the test wants."""

from {name} import {title}

from quintet import rehearse


def test_it_is_heard():
    heard = rehearse({title}(), says=[{said!r}])
    assert heard.error is None
    assert heard.said.remark == "Check the carry."
    assert "{shown}" in heard.prompts[0]


def test_nonsense_costs_its_reply_only():
    heard = rehearse({title}(), says=["no JSON at all"])
    assert heard.said is None
    assert "nonsense" in heard.error
'''

TASK = '''\
"""{title}: a task family.

Practise it:  quintet run CONFIG.toml --task {file}:{title}
with `families = ["{name}"]` under `[proposer]`, and `families = {{ {name} = [0] }}` under `[evaluation]`.
"""

import random

from quintet import Draft, TaskFamily


class {title}(TaskFamily):
    """Which of two numbers is larger."""

    name = "{name}"
    levels = 2
    form = "number"

    def draw(self, level, seed):
        """Endless questions; the canonical question decides who may see one, so the order of its numbers is fixed."""
        source = random.Random(seed)
        while True:
            one, other = source.sample(range(10 ** (level + 2)), 2)
            yield Draft(
                question=f"Which number is larger, {{one}} or {{other}}?",
                canonical=f"larger of {{min(one, other)}} and {{max(one, other)}}",
                truth={{"answer": max(one, other)}},
                choices=2,
                level=level,
            )

    def score(self, truth, answer):
        """1 if the answer is right, else 0."""
        return float(answer.strip() == str(truth["answer"]))
'''

TASK_TEST = '''\
"""The family {name}: its questions are drawn and its answers judged as in a run, in the worker process."""

import asyncio

from {name} import {title}

from quintet import Examiner


def test_right_answers_are_right_and_wrong_ones_wrong():
    async def judged():
        with Examiner([{title}()]) as examiner:
            [task] = await examiner.draw("{name}", level=0, seed=0, count=1, split="train")
            return await examiner.judge(task, [f"Answer: {{task.truth['answer']}}", "Answer: -1", "I cannot say."])

    right, wrong, silent = asyncio.run(judged())
    assert right.correct
    assert not wrong.correct
    assert not silent.correct


def test_the_same_seed_draws_the_same_questions():
    first, again = ([next(family.draw(1, seed=3)) for family in ({title}(), {title}())])
    assert first == again
'''

folder_option = click.option(
    "--dir", "folder", type=click.Path(path_type=Path), default=Path(), help="Where to write (default: here)."
)


@click.group()
def new() -> None:
    """Begin a role, a task family or an environment: a file, and a test that passes."""


@new.command()
@click.argument("name")
@click.option("--after", "after", metavar="CHAIR", help="The player it speaks after (default: critic).")
@click.option("--before", "before", metavar="CHAIR", help="The player it speaks before, instead.")
@click.option("--verdict", is_flag=True, help="Its reply carries a verdict, which routes.")
@folder_option
@json_option
@guarded
def role(name: str, after: str | None, before: str | None, verdict: bool, folder: Path, as_json: bool) -> None:
    """Write a role called NAME: its class, its template, its test."""
    if after and before:
        raise click.UsageError("--after or --before, not both")
    name, title = _names(name)
    if name in CHAIRS:
        raise click.UsageError(f"{name} sits at the table already: choose another name")
    where: Literal["after", "before"] = "before" if before else "after"
    chair = before or after or "critic"
    if chair not in CHAIRS:
        raise click.UsageError(f"--{where} {chair}: the chairs are {', '.join(CHAIRS)}")
    per_task = chair in EPISODE_CHAIRS
    fields = ['    remark: str = Field(min_length=1, max_length=60)\n    """One short sentence."""\n']
    said = '{"remark": "Check the carry."}'
    if verdict:
        wish = '"accept", "revise", "reject"'
        note = "The strictest at the table wins; nobody is milder than the verifier."
        fields.append(f'    verdict: Literal[{wish}]\n    """{note}"""\n')
        said = '{"remark": "Check the carry.", "verdict": "revise"}'
    words = {
        "name": name,
        "words": name.replace("_", " "),
        "title": title,
        "file": f"{name}.py",
        "where": where,
        "chair": chair,
        "rhythm": "in the conversation about each task" if per_task else "once a round",
        "kind": "EpisodeRole" if per_task else "RoundRole",
        "about": "about a task" if per_task else "a round",
        "imports": "from typing import Literal\n\n" if verdict else "",
        "fields": "".join(fields),
        "said": said,
        "shown": "What is 17 + 25?",
    }
    files = {
        f"{name}.py": ROLE.format(**words),
        f"{name}.jinja": EPISODE_WORDS if per_task else ROUND_WORDS,
        f"test_{name}.py": ROLE_TEST.format(**words),
    }
    _write(folder, files, f"quintet run CONFIG.toml --role {folder / name}.py:{title}", as_json)


def begins(kind: str, what: str, template: str, test: str) -> None:
    """Add the command that begins a family of a kind."""

    @new.command(kind, help=f"Write {what} called NAME: its code and its test.")
    @click.argument("name")
    @folder_option
    @json_option
    @guarded
    def begin(name: str, folder: Path, as_json: bool) -> None:
        from quintet.tasks.families import catalogue

        name, title = _names(name)
        if any(family.family == name for family in catalogue()):
            raise click.UsageError(f"{name} is a task family already: choose another name")
        words = {"name": name, "title": title, "file": f"{name}.py"}
        files = {f"{name}.py": template.format(**words), f"test_{name}.py": test.format(**words)}
        _write(folder, files, f"quintet run CONFIG.toml --task {folder / name}.py:{title}", as_json)
        if not as_json:
            practised = f'families = ["{name}"] under [proposer], families = {{ {name} = [0] }} under [evaluation]'
            click.echo(f"practise it: {practised}", err=True)


begins("task", "a task family", TASK, TASK_TEST)
begins("environment", "an environment", ENVIRONMENT, ENVIRONMENT_TEST)


def _names(given: str) -> tuple[str, str]:
    """The name in snake case, for files, and in capitals, for the class."""
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", given).replace("-", "_").lower()
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise click.UsageError(f"{given!r} cannot name a class: use letters, digits and _, such as second_opinion")
    if keyword.iskeyword(name) or name in sys.stdlib_module_names:
        raise click.UsageError(f"{name} is a name of Python's own, and a file called so would stand in its way")
    return name, "".join(part.capitalize() for part in name.split("_"))


def _write(folder: Path, files: dict[str, str], join: str, as_json: bool) -> None:
    paths = [folder / name for name in files]
    if there := [str(path) for path in paths if path.exists()]:
        raise click.UsageError(f"{', '.join(there)}: there already, and is left as it is")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in zip(paths, files.values(), strict=True):
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise click.UsageError(f"{error.filename} cannot be written: {error.strerror}") from error
    if as_json:
        out({"files": [str(path) for path in paths], "join": join})
        return
    for path in paths:
        click.echo(path)
    click.echo(f"test it:    python -m pytest {paths[-1]}", err=True)
    click.echo(f"let it join: {join}", err=True)
