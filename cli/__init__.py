"""The command line: thin commands over the rooms; results on standard output, progress on standard error."""

from __future__ import annotations

import click

from quintet import __version__
from quintet.cli.completion import completion
from quintet.cli.curating import curate
from quintet.cli.evolving import evolve
from quintet.cli.exporting import export
from quintet.cli.memory import memory
from quintet.cli.models import adapters, chat, eval, solve
from quintet.cli.new import new
from quintet.cli.playground import playground
from quintet.cli.runs import lineage, replay, resume, run, runs, show
from quintet.cli.table import doctor, methods, roles, tasks


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="quintet")
def main() -> None:
    """Language models that improve themselves, and can prove it."""


for command in (
    *(run, resume, replay, runs, show, lineage, export, playground),
    *(eval, evolve, solve, chat, adapters, memory),
    *(roles, tasks, curate, methods, new, doctor, completion),
):
    main.add_command(command)
