"""Rows that a solver could have written: several completions of one prompt, of mixed lengths."""

from __future__ import annotations

import random

from quintet.records import Message, Row


def made_rows(prompts: int, most: int = 4, seed: int = 0) -> tuple[Row, ...]:
    """Sums with 1 to `most` different completions each."""
    source = random.Random(seed)
    rows = []
    for _ in range(prompts):
        a, b = source.randint(2, 49), source.randint(2, 49)
        texts = [
            f"{a} + {b} = {a + b}\nAnswer: {a + b}",
            f"To find the sum of {a} and {b}, we add them together:\n{a} + {b} = {a + b}\nAnswer: {a + b}",
            f"Answer: {a + b}",
            f"The sum of {a} and {b} is {a + b}.",
        ]
        for text in source.sample(texts, source.randint(1, most)):
            rows.append(made_row(f"What is {a} + {b}?\nEnd with: Answer: <final answer>", text))
    return tuple(rows)


def made_row(question: str, completion: str, tokens: tuple[int, ...] = (), weight: float = 1.0) -> Row:
    """A row whose parents do not matter."""
    return Row(
        round=0,
        task="task-0",
        attempt="attempt-0",
        selection="selection-0",
        prompt=(Message(role="user", content=question),),
        completion=completion,
        tokens=tokens,
        weight=weight,
    )
