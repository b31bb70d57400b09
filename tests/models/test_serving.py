"""Which engine serves the model, and what is refused before anything is loaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from fake_vllm import installed
from pydantic import ValidationError

from quintet.graph.errors import SettingsError
from quintet.graph.settings import Settings
from quintet.models.catalogue import locate
from quintet.models.engine import Engine
from quintet.models.errors import ModelError
from quintet.models.serving import engine_of, opened
from quintet.models.settings import ModelSettings, VllmSettings
from quintet.models.vllm.interpreter import found


def test_auto_takes_vllm_where_it_and_a_gpu_are_present(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def chosen(url: str = "", **model: str) -> str:
        return engine_of(ModelSettings.model_validate(model), VllmSettings(url=url))

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert chosen() == "transformers"
    assert chosen(engine="vllm") == "vllm"
    assert chosen(url="http://127.0.0.1:8000") == "vllm"
    with installed(tmp_path / "without-a-gpu"):
        assert chosen() == "transformers"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert chosen(device="cpu") == "transformers"
    with installed(tmp_path / "with-a-gpu"):
        assert chosen() == "vllm"
        assert chosen(engine="transformers") == "transformers"


def test_without_vllm_the_one_line_says_what_brings_it(architectures: Callable[[str], Path], tmp_path: Path) -> None:
    files, log = locate(str(architectures("llama"))), tmp_path / "vllm.log"
    # No interpreter at all has no vLLM either.
    vllm = VllmSettings(python=str(tmp_path / "python"))
    with pytest.raises(ModelError, match=r"no vLLM in .*python; run: make .venv-vllm/.ready, and set vllm.python"):
        opened(files, ModelSettings(engine="vllm"), vllm, 16, log)
    assert isinstance(opened(files, ModelSettings(device="cpu"), vllm, 16, log), Engine)
    assert not log.exists()


def test_an_interpreter_is_asked_for_its_vllm(tmp_path: Path) -> None:
    import sys

    with installed(tmp_path):
        assert found(sys.executable) == "of unknown version"
    assert found(str(tmp_path)) == ""


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"url": "127.0.0.1:8000"}, "it begins with http:// or https://"),
        ({"url": "http://127.0.0.1:8000", "python": "python"}, "python is for one that Quintet starts"),
        ({"url": "http://127.0.0.1:8000", "options": {"seed": 1}}, "options is for one that Quintet starts"),
        ({"key_env": "KEY"}, "key_env is for a server at url"),
    ],
)
def test_settings_of_a_server_that_do_not_fit_together_are_refused(given: dict[str, object], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        VllmSettings.model_validate(given)
    with pytest.raises(SettingsError, match=says):
        Settings.compose({"proposer": {"families": ["products"]}, "vllm": given})


def test_the_interpreter_is_found_from_whatever_folder_the_run_is_resumed_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "python").symlink_to("/bin/sh")
    assert VllmSettings(python="python").python == str(tmp_path / "python")
    assert VllmSettings(url="http://127.0.0.1:8000/v1/").url == "http://127.0.0.1:8000"
