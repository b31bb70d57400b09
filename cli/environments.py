"""The first version of an environment, and of its test, as `quintet new environment` writes them."""

from __future__ import annotations

ENVIRONMENT = '''\
"""{title}: tasks that are acted out, each in an environment.

Practise it:  quintet run CONFIG.toml --task {file}:{title}
with `families = ["{name}"]` under `[proposer]`, and `families = {{ {name} = [0] }}` under `[evaluation]`.
"""

import random

from quintet import Environment, EnvironmentFamily, Outcome


class {title}Episode(Environment):
    """One ride in a lift; it follows from the truth and the actions alone."""

    def __init__(self, truth):
        self.floor, self.wanted = truth["floor"], truth["wanted"]

    def reset(self):
        """The first observation."""
        return f"You stand in a lift on floor {{self.floor}}. Go to floor {{self.wanted}}. Say up or down."

    def step(self, action):
        """What comes of an action, whatever a model wrote."""
        word = action.lower().strip(" .!")
        if word not in ("up", "down"):
            return Outcome(observation="The lift knows up and down only.", refused=True)
        self.floor += 1 if word == "up" else -1
        there = self.floor == self.wanted
        return Outcome(observation=f"Floor {{self.floor}}.", reward=float(there), done=there)


class {title}(EnvironmentFamily):
    """Ride a lift to a floor."""

    name = "{name}"
    levels = 2
    turns = 5

    def draw(self, level, seed):
        """Endless tasks; the canonical form decides who may see one."""
        source = random.Random(seed)
        while True:
            floor, way = source.randrange(10, 1000), source.choice([-1, 1]) * source.randint(1, 2 + level)
            truth = {{"floor": floor, "wanted": floor + way}}
            yield self.drafted(f"{name} from {{floor}} to {{floor + way}}", truth, level)

    def begin(self, truth):
        """A new episode of the task with this truth."""
        return {title}Episode(truth)
'''

TEST = '''\
"""The environment {name}: it is acted out as in a run, in the worker process."""

import asyncio

from {name} import {title}

from quintet import Examiner
from quintet.tasks.environment import encode


def test_it_is_played_and_judged():
    async def judged():
        with Examiner([{title}()]) as examiner:
            [task] = await examiner.draw("{name}", level=0, seed=0, count=1, split="train")
            word = "up" if task.truth["wanted"] > task.truth["floor"] else "down"
            right = [word] * abs(task.truth["wanted"] - task.truth["floor"])
            last = await examiner.step(task, right)
            return last, await examiner.judge(task, [encode(right), encode(["I cannot say."])])

    last, (right, silent) = asyncio.run(judged())
    assert last.outcome.done
    assert right.correct
    assert not silent.correct


def test_the_same_seed_draws_the_same_tasks():
    first, again = ([next(family.draw(1, seed=3)) for family in ({title}(), {title}())])
    assert first == again
'''
