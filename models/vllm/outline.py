"""What can be known of a model without its weights: tokenizer, config, shapes of its layers."""

from __future__ import annotations

from contextlib import suppress
from functools import cached_property
from typing import Any

from quintet.models.catalogue import ModelFiles
from quintet.models.errors import ModelError
from quintet.models.prompts import load_tokenizer
from quintet.models.quiet import quiet


class Outline:
    """A model's files, read but for the weights."""

    def __init__(self, files: ModelFiles) -> None:
        """Read them.

        Raises:
            ModelError: They are no causal language model that can chat.
        """
        import torch
        from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig

        self.tokenizer: Any = load_tokenizer(files.path, files.name, files.chat_template)
        try:
            config = AutoConfig.from_pretrained(files.path, local_files_only=True)
            with torch.device("meta"), quiet():
                self._model: Any = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
        except Exception as error:
            reason = " ".join(str(error).split())[:200]
            raise ModelError(f"model {files.name!r} in {files.path} does not load: {reason}") from error
        self.config: Any = config.get_text_config()
        self.generation: Any = self._model.generation_config
        with suppress(OSError):
            self.generation = GenerationConfig.from_pretrained(files.path, local_files_only=True)

    @cached_property
    def shapes(self) -> dict[str, tuple[int, int]]:
        """`(out, in)` of every linear layer, by module name."""
        from torch import nn
        from transformers.pytorch_utils import Conv1D

        found = {}
        for name, module in self._model.named_modules():
            if isinstance(module, nn.Linear | Conv1D):
                rows, columns = module.weight.shape
                found[name] = (columns, rows) if isinstance(module, Conv1D) else (rows, columns)
        return found
