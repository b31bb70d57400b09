"""Writes `stalls.jsonl`, a file of sums with all that is wrong with files, to standard output."""

from __future__ import annotations

import json
from itertools import count

GOODS = ["lemons", "eggs", "plums", "nuts", "figs", "rolls", "pears", "beets"]
KINDS = ["crates", "boxes", "sacks", "trays", "bags"]


def write(id: int, question: str, answer: int | str) -> None:
    print(json.dumps({"id": id, "question": question, "answer": answer}))


def copies(k: int, asked: str, few: int, many: int) -> None:
    if k % 17 == 0:  # a copy
        write(k + 1000, asked.upper(), few * many)
    if k % 19 == 3:  # nearly a copy
        write(k + 2000, asked.replace("each", "in each of them"), few * many)
    if k % 23 == 5:  # another answer
        write(k + 3000, asked, few * many + 1)


def empty_words(k: int, good: str, few: int, many: int) -> None:
    if k % 29 == 7:
        write(k + 4000, f"*** {good} $$$ >>> {few}-{many} <<< $$$ ###", few)
    if k % 31 == 9:
        write(k + 5000, f"how many {good} are there, " * 4, few)


def broken(k: int, asked: str) -> None:
    if k % 37 == 13:  # cut off
        print(json.dumps({"id": k + 7000, "question": asked})[:40])
    if k % 41 == 15:  # no answer
        print(json.dumps({"id": k + 8000, "question": asked}))
    if k % 43 == 17:  # no number
        write(k + 9000, asked, "very many")


def misleading(k: int, kind: str, good: str, few: int, many: int) -> None:
    if k % 47 == 19:  # an id that was there
        write(k, f"A stall has {many} {kind} and sells {few}. How many {kind} are left?", many - few)
    if k % 53 == 21:  # no question
        write(k + 10000, f"How many {good}?", few)
    if k % 11 == 5:  # an absurd answer
        asked = f"A shop has {many} {kind} with {few} {good} each. How many {good} are that?"
        write(k + 11000, asked, 7919 * k + 10007)


def main() -> None:
    number = count()
    for few in range(2, 13):
        for many in range(few, 41):
            k = next(number)
            kind, good = KINDS[(few + many) % 5], GOODS[(3 * few + many) % 8]
            asked = f"A stall has {few} {kind} with {many} {good} each. How many {good} are that?"
            write(k, asked, few * many)
            copies(k, asked, few, many)
            empty_words(k, good, few, many)
            if k % 13 == 11:  # perhaps an item of the evaluation
                item = f"Solve the following multiplication: {few} * {many}. Give only the result as your final answer."
                write(k + 6000, item, few * many)
            broken(k, asked)
            misleading(k, kind, good, few, many)


if __name__ == "__main__":
    main()
