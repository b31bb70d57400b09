"""Settings: from file, environment and --set; what is wrong is said in one line with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from quintet.graph.errors import SettingsError
from quintet.graph.settings import Settings

EXAMPLES = Path(__file__).parents[2] / "examples"


def written(folder: Path, text: str) -> Path:
    path = folder / "run.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_example_config_loads(path: Path) -> None:
    assert Settings.load(path, environment={}).rounds >= 1


def test_later_sources_win(tmp_path: Path) -> None:
    path = written(tmp_path, "seed = 1\n[solver]\nsamples = 2\nmax_tokens = 9\n")
    environment = {"QUINTET_SOLVER__SAMPLES": "3", "QUINTET_SEED": "5", "QUINTET_WORKSPACE": "/elsewhere"}
    settings = Settings.load(path, ["solver.samples=4"], environment)
    assert (settings.seed, settings.solver.samples, settings.solver.max_tokens) == (5, 4, 9)


@pytest.mark.parametrize(
    ("text", "overrides", "environment", "parts"),
    [
        ("[solver]\nsampels = 4\n", [], {}, ["solver.sampels", "run.toml:2", "solver.samples"]),
        ("seeed = 4\n", [], {}, ["unknown setting seeed", "run.toml:1", "did you mean seed"]),
        ("samples = 4\n", [], {}, ["unknown setting samples", "did you mean solver.samples"]),
        ("[solver]\nsamples = 0\n", [], {}, ["solver.samples", "run.toml:2", "greater than 0", "not 0"]),
        ("", ["solver.samples=many"], {}, ["(--set solver.samples=many): input should be a valid integer, not 'many'"]),
        ("[proposer]\nfamilies = []\n", [], {}, ["proposer.families is empty"]),
        (
            '[proposer]\nfamilies = ["written"]\n',
            [],
            {},
            ["run.toml:2", "'written'", "nobody draws", "proposer.sources"],
        ),
        ('[tasks.datasets."a@1"]\npath = "a.csv"\n', [], {}, ["tasks.datasets", "'a@1'", "holds no @"]),
        ('[memory]\ndatabase = "my.db"\n', [], {}, ["run.toml:2", "URL is wanted, such as sqlite:///my.db"]),
        ("", ["solver"], {}, ["--set solver", "KEY=VALUE"]),
        ("", [], {"QUINTET_SOLVR__SAMPLES": "4"}, ["solvr", "QUINTET_SOLVR__SAMPLES", "solver"]),
        ("[proposer.start_level]\nlcm = 1\n", [], {}, ["start_level names lcm", "chain_sum, products, gcd"]),
        ("[proposer.start_level]\ngcd = -1\n", [], {}, ["proposer.start_level", "run.toml:2", "not -1"]),
        ("seed = = 1\n", [], {}, ["run.toml", "line 1"]),
    ],
)
def test_a_wrong_setting_is_one_line_with_what_where_and_what_would_be_right(
    tmp_path: Path, text: str, overrides: list[str], environment: dict[str, str], parts: list[str]
) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.load(written(tmp_path, text), overrides, environment)
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message


def test_training_starts_at_one_level_or_at_one_for_each_family() -> None:
    families = ["gcd", "products"]
    one = Settings.compose({"proposer": {"families": families, "start_level": 2}})
    assert one.proposer.levels() == {"gcd": 2, "products": 2}
    each = Settings.compose({"proposer": {"families": families, "start_level": {"products": 1}}})
    assert each.proposer.levels() == {"gcd": 0, "products": 1}


def test_a_missing_config_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nowhere\.toml: No such file"):
        Settings.load(tmp_path / "nowhere.toml")


def test_settings_survive_a_round_trip_through_the_ledger() -> None:
    settings = Settings.load(EXAMPLES / "arithmetic.toml", environment={})
    assert Settings.compose(settings.model_dump(mode="json")) == settings
