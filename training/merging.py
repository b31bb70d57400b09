"""Several adapters made into one, by PEFT."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from quintet.models.catalogue import ModelFiles
from quintet.models.prompts import load_tokenizer, render
from quintet.models.quiet import quiet
from quintet.records import digest
from quintet.training.errors import RegistryError
from quintet.training.registry import CONFIG
from quintet.training.spec import PROBE, Manifest, Probe

Method = Literal["cat", "linear", "ties", "dare_linear", "dare_ties"]

METHODS: dict[str, str] = {
    "cat": "the weighted sum of the changes, exactly: factors side by side, so that ranks add up",
    "linear": "weighted sums of the factors, whose product has terms across the adapters besides",
    "ties": "small changes trimmed, signs elected (TIES, Yadav et al. 2023, arXiv 2306.01708)",
    "dare_linear": "entries dropped at random and the rest scaled up (DARE, Yu et al. 2023, arXiv 2311.03099)",
    "dare_ties": "DARE, then signs elected as in TIES",
}
"""How adapters are merged, and where that is from."""

WHOLE = ("cat", "linear")
"""Methods that drop nothing."""

MERGED = "merged"


def merge(
    folders: Sequence[Path],
    weights: Sequence[float],
    method: Method,
    density: float,
    base: ModelFiles,
    out: Path,
    seed: int = 0,
) -> Manifest:
    """Write the merged adapter's folder.

    Args:
        folders: The adapters, checked.
        weights: One for each.
        method: One of `METHODS`; all but `cat` work on the two factors apart, as PEFT does.
        density: Share of the entries that is kept, above 0 to 1; `cat` and `linear` keep all.
        base: The model they belong to.
        out: Where to.
        seed: Of what DARE drops.

    Raises:
        RegistryError: Their ranks differ, they are on other layers, or one cannot be read.
    """
    import torch
    from peft import PeftModel

    from quintet.training.likelihood import token_logprobs
    from quintet.training.lora import plain
    from quintet.training.putting import put

    _alike(folders, method)
    tokenizer = load_tokenizer(base.path, base.name, base.chat_template)
    probe = render(tokenizer, PROBE, reply=False)
    with quiet(), warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        # What transformers means to change is not for whoever merges to mend.
        warnings.simplefilter("ignore", FutureWarning)
        try:
            # No number alone: PEFT would take the layers of that number for the adapter.
            names = [f"part{number}" for number in range(len(folders))]
            model: Any = PeftModel.from_pretrained(plain(base.path).float(), str(folders[0]), adapter_name=names[0])
            for name, folder in zip(names[1:], folders[1:], strict=True):
                model.load_adapter(str(folder), adapter_name=name)
            torch.manual_seed(seed)
            options = {} if method in WHOLE else {"density": density}
            model.add_weighted_adapter(names, list(weights), MERGED, combination_type=method, **options)
            # Merged in float32, as adapters are kept; proved in the type that the base is served in.
            for name, weight in model.named_parameters():
                weight.data = weight.data if "lora_" in name else weight.data.to(torch.bfloat16)
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            raise RegistryError(f"these adapters cannot be merged: {str(error).splitlines()[0]}") from error
        model.set_adapter(MERGED)
        model.eval()
        with model.disable_adapter():
            before = token_logprobs(model, probe)
        after = token_logprobs(model, probe)
    told = {"of": [str(folder.name) for folder in folders], "weights": list(weights), "method": method}
    manifest = Manifest(
        spec=digest({**told, "density": density, "seed": seed}),
        weights="",
        metrics={},
        probe=Probe(tokens=tuple(probe), logprobs=tuple(after), start_logprobs=tuple(before)),
    )
    return put(model, manifest, out, base.name, MERGED)


def _alike(folders: Sequence[Path], method: Method) -> None:
    """Refuse what PEFT would fail at somewhere in the middle, or would merge in part.

    Raises:
        RegistryError: They differ in layers, or in rank where that must be one.
    """
    configs = {folder.name: json.loads((folder / CONFIG).read_bytes()) for folder in folders}
    first, *others = configs
    for other in others:
        if set(configs[first]["target_modules"]) != set(configs[other]["target_modules"]):
            raise RegistryError(f"{first} and {other} are on different layers: only like ones are merged", fault=False)
        ranks = configs[first]["r"], configs[other]["r"]
        if method != "cat" and len(set(ranks)) > 1:
            line = f"{first} has rank {ranks[0]}, {other} rank {ranks[1]}: {method} needs one rank, cat takes any"
            raise RegistryError(line, fault=False)
