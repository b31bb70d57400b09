"""A merged export: the base's type and the run's chat template, and one line for whatever cannot be read."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from quintet.models.catalogue import ModelFiles
from quintet.training.errors import RegistryError
from quintet.training.exporting import export_merged

TEMPLATE = "{% for message in messages %}[{{ message.role }}] {{ message.content }}\n{% endfor %}"


@pytest.fixture
def base(tiny_model_folder: Path, tmp_path: Path) -> ModelFiles:
    """A copy of the tiny model, which a test may damage."""
    folder = Path(shutil.copytree(tiny_model_folder, tmp_path / "base"))
    return ModelFiles(name="tiny", path=folder, revision="", chat_template=TEMPLATE)


@pytest.fixture
def adapter(tiny_model_folder: Path, tmp_path: Path) -> Path:
    model = AutoModelForCausalLM.from_pretrained(tiny_model_folder)
    get_peft_model(model, LoraConfig(r=2, target_modules="all-linear")).save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_it_keeps_the_stored_type_and_the_template_that_was_trained_under(
    base: ModelFiles, adapter: Path, tmp_path: Path, dtype: torch.dtype
) -> None:
    AutoModelForCausalLM.from_pretrained(base.path, dtype=dtype).save_pretrained(base.path)
    config = json.loads((base.path / "config.json").read_text())
    for name in ("dtype", "torch_dtype"):
        config.pop(name, None)
    (base.path / "config.json").write_text(json.dumps(config))
    export_merged(adapter, base, tmp_path / "out")
    assert {weight.dtype for weight in load_file(tmp_path / "out" / "model.safetensors").values()} == {dtype}
    assert AutoTokenizer.from_pretrained(tmp_path / "out").chat_template == TEMPLATE


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("base/model.safetensors", "model 'tiny' in .*base cannot be read: "),
        ("base/config.json", "model 'tiny' in .*base cannot be read: "),
        ("adapter/adapter_model.safetensors", "adapter cannot be folded into model 'tiny': "),
    ],
)
def test_what_cannot_be_read_is_one_line(base: ModelFiles, adapter: Path, tmp_path: Path, file: str, line: str) -> None:
    (tmp_path / file).write_bytes((tmp_path / file).read_bytes()[:50])
    with pytest.raises(RegistryError, match=line) as caught:
        export_merged(adapter, base, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not [path for path in tmp_path.iterdir() if "out" in path.name]
