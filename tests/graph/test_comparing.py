"""What a comparison of strategies says, to people and on the page that the benchmark writes."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

from quintet.evaluation.evaluate import Score
from quintet.graph.comparing import Against, Compared, Way

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "strategies.py"


def way(strategy: str, tokens: float, correct: int, **more: Any) -> Way:
    score = Score(n=20, correct=correct, strict=correct - 1, low=0.1, high=0.9)
    return Way(adapter="base", strategy=strategy, score=score, tokens=tokens, prompt_tokens=50.0, **more)


def against(more_tokens: float, p_value: float = 0.02, adjusted: float = 0.04) -> Against:
    return Against(
        n=20,
        won=6,
        lost=1,
        effect=0.25,
        low=0.03,
        high=0.45,
        p_value=p_value,
        adjusted=adjusted,
        more_tokens=more_tokens,
    )


def compared(**others: tuple[Way, Against]) -> Compared:
    ways = {"base": way("greedy", 40.0, 8), **{f"base, {name}": one for name, (one, _) in others.items()}}
    comparisons = {f"base, {name}": found for name, (_, found) in others.items()}
    return Compared(run="r-1", suite="gate", budget=144, ways=ways, comparisons=comparisons)


def test_budgets_that_differ_by_a_tenth_are_said_to_and_smaller_differences_are_not() -> None:
    assert compared(plan=(way("plan", 43.0, 13), against(1.075))).notes() == []
    [note] = compared(plan=(way("plan", 120.0, 13), against(3.0))).notes()
    assert note.strip() == "not at equal cost: base, plan generated 3.0 times the tokens of base"
    [note] = compared(plan=(way("plan", 20.0, 13), against(0.5))).notes()
    assert "0.5 times" in note


def test_an_upper_bound_is_called_one_wherever_it_is_shown() -> None:
    bound = way("oracle (upper bound)", 40.0, 15, upper_bound=True)
    found = compared(oracle=(bound, against(1.0)))
    assert "base, oracle knows the truth" in found.text()
    assert "upper bound" in "\n".join(benchmark().table(found))


def test_one_comparison_is_not_adjusted_and_several_are_by_name() -> None:
    one = compared(plan=(way("plan", 40.0, 13), against(1.0)))
    assert "p = 0.02\n" in one.text() + "\n"
    assert "Holm" not in one.text()
    two = compared(plan=(way("plan", 40.0, 13), against(1.0)), beam=(way("beam", 40.0, 13), against(1.0)))
    assert two.text().count("0.04 by Holm for 2 tests") == 2


def benchmark() -> Any:
    """The script as a module, which finds the modules beside it as when it is run."""
    if str(SCRIPT.parent) not in sys.path:
        sys.path.append(str(SCRIPT.parent))
    spec = importlib.util.spec_from_file_location("strategies_benchmark", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


BEGIN, END = "<!-- measured: written by benchmarks/strategies.py -->", "<!-- end of measured -->"


def test_the_benchmark_writes_between_its_markers_and_nothing_else(tmp_path: Path) -> None:
    script, page = benchmark(), tmp_path / "page.md"
    page.write_text(f"Before.\n\n{BEGIN}\nold\n{END}\n\nAfter.\n")
    found = compared(plan=(way("plan", 40.0, 13), against(1.0)))
    for _ in range(2):
        script.write(page, "measured", script.section(found, "base"), "strategies")
    text = page.read_text()
    assert text.startswith(f"Before.\n\n{BEGIN}\n")
    assert text.endswith(f"{END}\n\nAfter.\n")
    assert "old" not in text
    assert "| plan | 65.0 [10.0, 90.0] | 60.0 | 40 | 50 | +25.0 [+3.0, +45.0] | 0.04 |" in text
    assert all(len(line) <= 125 for line in text.splitlines())
    page.write_text("No place.")
    with pytest.raises(SystemExit, match="has no place"):
        script.write(page, "measured", iter(["x"]), "strategies")


def test_the_page_has_the_place() -> None:
    script = benchmark()
    text = script.PAGE.read_text(encoding="utf-8")
    assert text.index(BEGIN) < text.index(END)
