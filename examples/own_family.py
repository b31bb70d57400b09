"""A task family of your own: Roman numerals, at four levels, checked by a program.

Run it:  python examples/own_family.py
"""

import random
from collections.abc import Iterator
from typing import Any

from quintet import Draft, Loop, Settings, TaskFamily

LETTERS = {1000: "M", 900: "CM", 500: "D", 400: "CD", 100: "C", 90: "XC", 50: "L", 40: "XL", 10: "X", 9: "IX", 5: "V"}
LETTERS |= {4: "IV", 1: "I"}


class Roman(TaskFamily):
    """Reads Roman numerals."""

    name = "roman"
    levels = 4
    form = "number"

    def draw(self, level: int, seed: int) -> Iterator[Draft]:
        """Numerals up to 20, 99, 399 and 3999, in an order that the seed fixes."""
        source = random.Random(seed)
        while True:
            number = rest = source.randint(1, (20, 99, 399, 3999)[level])
            numeral = ""
            for value, letters in LETTERS.items():
                numeral, rest = numeral + rest // value * letters, rest % value
            question = f"What number is the Roman numeral {numeral}?"
            yield Draft(question=question, canonical=numeral, truth={"answer": number}, level=level)

    def score(self, truth: dict[str, Any], answer: str) -> float:
        """1 if it is the number."""
        return float(answer.strip() == str(truth["answer"]))


# The guard is needed: the process that draws and checks tasks imports this script to find the class.
if __name__ == "__main__":
    changes = ['proposer.families=["roman"]', "proposer.start_level={roman = 1}", "evaluation.families={roman = [3]}"]
    loop = Loop(Settings.load("examples/arithmetic.toml", changes), tasks=[Roman()])
    print(loop.run().table())
