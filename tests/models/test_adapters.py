from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from small_models import EXACT, ask, make_adapter, make_model, same, state
from transformers import AutoModelForCausalLM

from quintet.models.adapters import WEIGHTS
from quintet.models.catalogue import locate, sha256
from quintet.models.engine import Engine
from quintet.models.errors import ModelError
from quintet.models.settings import ModelSettings
from quintet.models.weights import Weights
from quintet.records import BASE

TOKENS = [1, 9, 400, 88, 1200, 37, 5, 910]


def by_peft(base: Path, folder: Path) -> torch.Tensor:
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), folder)
    with torch.no_grad():
        return model(torch.tensor([TOKENS])).logits


def served(engine: Engine) -> torch.Tensor:
    with torch.no_grad():
        return engine.model(torch.tensor([TOKENS])).logits


@pytest.fixture
def base(architectures: Callable[[str], Path]) -> Path:
    return architectures("llama")


@pytest.fixture
def engine(base: Path) -> Engine:
    return Engine(locate(str(base)), EXACT)


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"use_rslora": True},
        {"target_modules": ["q_proj", "lm_head"]},
        {"rank_pattern": {"v_proj": 2}, "alpha_pattern": {"v_proj": 3}},
        {"target_modules": ["v_proj"], "layers_to_transform": [1]},
    ],
    ids=["all", "rslora", "tied-head", "patterns", "one-layer"],
)
def test_folded_logits_are_those_of_peft_and_the_base_returns_bit_by_bit(
    engine: Engine, base: Path, tmp_path: Path, config: dict[str, Any]
) -> None:
    engine.register("a", tmp_path, make_adapter(base, tmp_path, **config))
    before, plain = state(engine), served(engine)
    engine._serve("a")
    assert (served(engine) - plain).abs().max() > 0.01
    torch.testing.assert_close(served(engine), by_peft(base, tmp_path), atol=1e-4, rtol=1e-4)
    engine._serve(BASE)
    assert same(state(engine), before)


def test_an_adapter_for_gpt2s_transposed_layers_is_folded_too(
    architectures: Callable[[str], Path], tmp_path: Path
) -> None:
    base = architectures("gpt2")
    engine = Engine(locate(str(base)), EXACT)
    engine.register("a", tmp_path, make_adapter(base, tmp_path, target_modules=["c_attn", "c_fc"], fan_in_fan_out=True))
    before = state(engine)
    engine._serve("a")
    torch.testing.assert_close(served(engine), by_peft(base, tmp_path), atol=1e-4, rtol=1e-4)
    engine._serve(BASE)
    assert same(state(engine), before)


def test_swapping_bfloat16_adapters_a_hundred_times_drifts_by_nothing(base: Path, tmp_path: Path) -> None:
    engine = Engine(locate(str(base)), ModelSettings(device="cpu", threads=1))
    for seed, name in enumerate("ab"):
        targets = {"target_modules": ["q_proj", "up_proj"]} if name == "b" else {}
        engine.register(name, tmp_path / name, make_adapter(base, tmp_path / name, seed, **targets))
    at_base = state(engine)
    engine._serve("a")
    with_a = state(engine)
    for _ in range(50):
        engine._serve("b")
        engine._serve("a")
    assert same(state(engine), with_a)
    engine._serve(BASE)
    assert same(state(engine), at_base)


def test_one_call_answers_for_several_adapters(engine: Engine, base: Path, tmp_path: Path) -> None:
    for seed, name in enumerate("ab"):
        engine.register(name, tmp_path / name, make_adapter(base, tmp_path / name, seed))
    requests = [ask("Hi", adapter=name, n=2, max_tokens=8) for name in ("b", BASE, "a", "b")]
    together = engine.generate(requests)
    apart = [engine.generate([request])[0] for request in requests]
    texts = [[completion.tokens for completion in reply.completions] for reply in together]
    assert texts == [[completion.tokens for completion in reply.completions] for reply in apart]
    assert texts[0] == texts[3]
    assert texts[0] != texts[1] != texts[2]


def test_key_depends_on_the_adapters_weights(engine: Engine, base: Path, tmp_path: Path) -> None:
    engine.register("a", tmp_path / "1", make_adapter(base, tmp_path / "1", 1))
    one = engine.key(ask("Hi", adapter="a"))
    engine.register("a", tmp_path / "2", make_adapter(base, tmp_path / "2", 2))
    assert len({one, engine.key(ask("Hi", adapter="a")), engine.key(ask("Hi"))}) == 3


def test_registering_new_weights_under_a_served_id_serves_the_new_ones(
    engine: Engine, base: Path, tmp_path: Path
) -> None:
    for seed in (1, 2):
        folder = tmp_path / str(seed)
        engine.register("a", folder, make_adapter(base, folder, seed))
        engine._serve("a")
        torch.testing.assert_close(served(engine), by_peft(base, folder), atol=1e-4, rtol=1e-4)


def rewrite(folder: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> str:
    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS)
    return sha256(folder / WEIGHTS)


def first(tensors: dict[str, torch.Tensor], part: str) -> str:
    return next(name for name in sorted(tensors) if f"lora_{part}" in name)


def drop(part: str, both: bool = False) -> Callable[[dict[str, torch.Tensor]], Any]:
    def change(tensors: dict[str, torch.Tensor]) -> None:
        name = first(tensors, part)
        del tensors[name]
        if both:
            del tensors[name.replace(f"lora_{part}", "lora_B" if part == "A" else "lora_A")]

    return change


def put(value: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[dict[str, torch.Tensor]], Any]:
    def change(tensors: dict[str, torch.Tensor]) -> None:
        name = first(tensors, "A")
        tensors[name] = value(tensors[name]).contiguous()

    return change


DAMAGE: dict[str, tuple[Callable[[dict[str, torch.Tensor]], Any], str]] = {
    "no B": (drop("B"), "lora_B of .* is missing"),
    "no layer": (drop("A", both=True), "are missing, though target_modules names"),
    "rank": (put(lambda a: a[:2]), r"has shape \(2, 48\), the model and rank need \(4, 48\)"),
    "width": (put(lambda a: a[:, :16]), r"has shape \(4, 16\)"),
    "nan": (put(lambda a: a * torch.nan), "NaN or infinity"),
    "stranger": (lambda tensors: tensors.update(magnitude=torch.ones(3)), "magnitude is not a LoRA weight"),
    "empty": (lambda tensors: tensors.clear(), "holds no LoRA tensors"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damaged_tensors_are_refused_in_one_line(engine: Engine, base: Path, tmp_path: Path, kind: str) -> None:
    make_adapter(base, tmp_path)
    change, message = DAMAGE[kind]
    weights = rewrite(tmp_path, change)
    before = state(engine)
    with pytest.raises(ModelError, match=message) as raised:
        engine.register("a", tmp_path, weights)
    assert "\n" not in str(raised.value)
    assert str(tmp_path) in str(raised.value)
    assert same(state(engine), before)
    with pytest.raises(ModelError, match="not registered"):
        engine.generate([ask("Hi", adapter="a")])


def test_damage_after_registration_is_noticed_at_the_swap_and_the_base_stays_sound(
    engine: Engine, base: Path, tmp_path: Path
) -> None:
    engine.register("a", tmp_path, make_adapter(base, tmp_path))
    before = state(engine)
    data = bytearray((tmp_path / WEIGHTS).read_bytes())
    data[-1] ^= 1
    (tmp_path / WEIGHTS).write_bytes(data)
    with pytest.raises(ModelError, match="is damaged: SHA-256"):
        engine.generate([ask("Hi", adapter="a")])
    assert same(state(engine), before)
    assert engine.generate([ask("Hi", max_tokens=2)])[0].error is None


def test_a_fold_that_fails_half_way_leaves_the_base(
    engine: Engine, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.register("a", tmp_path, make_adapter(base, tmp_path))
    before = state(engine)
    whole, count = Weights.base, 0

    def broken(self: Weights, name: str) -> torch.Tensor:
        nonlocal count
        count += 1
        if count == 6:
            raise OSError("disk gone")
        return whole(self, name)

    monkeypatch.setattr(Weights, "base", broken)
    with pytest.raises(ModelError, match="could not be folded: OSError: disk gone"):
        engine._serve("a")
    assert engine._weights.serving == BASE
    assert same(state(engine), before)


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda folder: (folder / WEIGHTS).unlink(), "cannot be read"),
        (lambda folder: (folder / "adapter_config.json").unlink(), "cannot be read"),
        (lambda folder: (folder / "adapter_config.json").write_text("{"), "is not a LoRA config"),
        (lambda folder: (folder / WEIGHTS).write_bytes(b"nonsense"), "is damaged"),
        (lambda folder: (folder / "manifest.json").write_text('{"base": "0000"}'), "made for base weights 0000"),
    ],
    ids=["no weights", "no config", "config", "bytes", "base"],
)
def test_damaged_folders_are_refused_in_one_line(
    engine: Engine, base: Path, tmp_path: Path, break_it: Callable[[Path], Any], message: str
) -> None:
    weights = make_adapter(base, tmp_path)
    break_it(tmp_path)
    with pytest.raises(ModelError, match=message) as raised:
        engine.register("a", tmp_path, weights)
    assert "\n" not in str(raised.value)


def test_bytes_that_are_not_safetensors_are_refused_even_with_the_right_hash(
    engine: Engine, base: Path, tmp_path: Path
) -> None:
    make_adapter(base, tmp_path)
    (tmp_path / WEIGHTS).write_bytes(b"nonsense")
    with pytest.raises(ModelError, match="is not safetensors"):
        engine.register("a", tmp_path, hashlib.sha256(b"nonsense").hexdigest())


def test_kinds_of_lora_that_cannot_be_folded_are_refused(engine: Engine, base: Path, tmp_path: Path) -> None:
    weights = make_adapter(base, tmp_path, use_dora=True)
    with pytest.raises(ModelError, match="use_dora = True is not supported"):
        engine.register("a", tmp_path, weights)


def test_an_adapter_of_another_model_is_refused(engine: Engine, tmp_path: Path) -> None:
    other = make_model(tmp_path / "model", "gpt2")
    weights = make_adapter(other, tmp_path / "a", target_modules=["c_attn"], fan_in_fan_out=True)
    with pytest.raises(ModelError, match=r"the model has no linear layer transformer\.h\.0\.attn\.c_attn"):
        engine.register("a", tmp_path / "a", weights)


def write_probe(base: Path, folder: Path, start: Path | None = None) -> None:
    def logprobs(of: Path | None) -> list[float]:
        if of is None:
            model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
            with torch.no_grad():
                logits = model(torch.tensor([TOKENS])).logits
        else:
            logits = by_peft(base, of)
        chosen = torch.tensor(TOKENS[1:])[:, None]
        return logits[0, :-1].log_softmax(-1).gather(1, chosen).squeeze(1).tolist()

    probe = {"tokens": TOKENS, "logprobs": logprobs(folder), "start_logprobs": logprobs(start)}
    (folder / "manifest.json").write_text(json.dumps({"probe": probe}))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_proof_tells_the_right_adapter_from_what_training_started_from(base: Path, tmp_path: Path, dtype: Any) -> None:
    engine = Engine(locate(str(base)), EXACT.model_copy(update={"dtype": dtype}))
    engine.register("a", tmp_path, make_adapter(base, tmp_path))
    write_probe(base, tmp_path)
    proof = engine.prove("a")
    assert (proof.ok, proof.decided) == (True, True)
    assert proof.served < proof.other / 2


def test_proof_fails_where_the_start_is_served_instead(
    engine: Engine, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.register("a", tmp_path, make_adapter(base, tmp_path))
    write_probe(base, tmp_path)
    monkeypatch.setattr(engine._weights, "serve", lambda adapter, deltas: None)
    proof = engine.prove("a")
    assert (proof.ok, proof.decided) == (False, True)


def test_proof_fails_where_other_weights_are_served(engine: Engine, base: Path, tmp_path: Path) -> None:
    engine.register("a", tmp_path / "a", make_adapter(base, tmp_path / "a", 1))
    make_adapter(base, tmp_path / "b", 2)
    write_probe(base, tmp_path / "b")
    (tmp_path / "b" / "manifest.json").rename(tmp_path / "a" / "manifest.json")
    proof = engine.prove("a")
    assert (proof.ok, proof.decided) == (False, True)


def test_proof_names_the_other_adapter_that_is_served_instead(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine(locate(str(base)), EXACT.model_copy(update={"dtype": "bfloat16"}))
    for seed, name in enumerate("ab"):
        engine.register(name, tmp_path / name, make_adapter(base, tmp_path / name, seed))
        write_probe(base, tmp_path / name)
    read = engine._read
    monkeypatch.setattr(engine, "_read", lambda source: read(engine._source("b")))
    proof = engine.prove("a")
    assert (proof.ok, proof.mistaken) == (False, "b")
    assert str(proof).endswith("; those of b are nearer")


def test_proof_says_so_where_the_two_cannot_be_told_apart(base: Path, tmp_path: Path) -> None:
    engine = Engine(locate(str(base)), ModelSettings(device="cpu", threads=1))
    engine.register("a", tmp_path, make_adapter(base, tmp_path, size=0.002))
    write_probe(base, tmp_path)
    proof = engine.prove("a")
    assert (proof.ok, proof.decided) == (True, False)


@pytest.mark.parametrize("content", ["", "{}", '{"probe": {"tokens": [1, 2]}}', '{"probe": 3}'])
def test_a_manifest_without_a_usable_probe_is_an_error(
    engine: Engine, base: Path, tmp_path: Path, content: str
) -> None:
    engine.register("a", tmp_path, make_adapter(base, tmp_path))
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(ModelError, match="holds no usable probe"):
        engine.prove("a")
