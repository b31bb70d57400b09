"""Every family is trained as transformers and PEFT would train it, and its adapter is what the engine then serves."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from families import FAMILIES, OTHERS, REFUSED, STYLES, template_for
from made_rows import made_row, made_rows
from peft import PeftModel
from transformers import AutoModelForCausalLM

from quintet.models.catalogue import locate
from quintet.models.engine import Engine
from quintet.models.masks import Sight
from quintet.models.prompts import load_tokenizer
from quintet.models.requests import Request, Sampling
from quintet.models.settings import ModelSettings
from quintet.records import BASE, Message, Row
from quintet.training import likelihood, lora, trial
from quintet.training.errors import TrainError
from quintet.training.likelihood import weighted_nll
from quintet.training.settings import TrainingSettings
from quintet.training.sft import RejectionSampling
from quintet.training.spec import TrainSpec
from quintet.training.tokens import completion_tokens, render
from quintet.training.worker import make

FLOAT32 = TrainingSettings(
    dtype="float32", rank=4, alpha=8, lane_tokens=160, batch_tokens=480, epochs=1, threads=1, device="cpu"
)
PERSONA = Message(role="system", content="You are brief.")


def rows_of(count: int) -> tuple[Row, ...]:
    rows = made_rows(count, seed=3)
    return tuple(row.with_(weight=0.25 + number % 3, prompt=(PERSONA, *row.prompt)) for number, row in enumerate(rows))


def adapter_gradients(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def loss_apart(model, rows, tokenizer) -> torch.Tensor:
    """The definition, by transformers and autograd alone: every row by itself, with all its logits."""
    total, tokens = torch.zeros(()), 0
    for row in rows:
        prompt, completion = render(row.prompt, tokenizer), completion_tokens(row, tokenizer)
        logits = model(input_ids=torch.tensor([prompt + completion])).logits[0, len(prompt) - 1 : -1]
        loss = torch.nn.functional.cross_entropy(logits.float(), torch.tensor(completion), reduction="sum")
        total, tokens = total + row.weight * loss, tokens + len(completion)
    return total / tokens


@pytest.mark.parametrize("family", [*FAMILIES, *OTHERS])
def test_packed_loss_and_gradients_are_those_of_plain_transformers(
    folder_of: Callable[[str], Path], tmp_path: Path, family: str
) -> None:
    folder = folder_of(family)
    tokenizer = load_tokenizer(folder, family, template_for(family))
    rows = rows_of(4)
    torch.manual_seed(1)
    model = lora.load(folder, None, FLOAT32)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:  # at its start B is 0, and A would have no gradient
            torch.nn.init.normal_(parameter, std=0.2)
    lora.save(model, tmp_path, family)

    objective = RejectionSampling(FLOAT32)
    batches = objective.collate(objective.examples(rows, tokenizer))
    assert any(batch["input_ids"].shape[0] > 1 for batch in batches)
    model.train()
    packed = sum(objective.loss(model, batch) for batch in batches)
    packed.backward()
    mine = adapter_gradients(model)

    base = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    plain = PeftModel.from_pretrained(base, tmp_path, is_trainable=True).eval()
    apart = loss_apart(plain, rows, tokenizer)
    apart.backward()
    theirs = adapter_gradients(plain)

    torch.testing.assert_close(packed.detach(), apart.detach(), rtol=1e-4, atol=1e-5)
    assert mine.keys() == theirs.keys()
    assert max(gradient.abs().max() for gradient in theirs.values()) > 1e-3
    largest = max(float(gradient.abs().max()) for gradient in theirs.values())
    for name, gradient in theirs.items():
        torch.testing.assert_close(mine[name], gradient, rtol=1e-3, atol=1e-4 * largest, msg=name)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_adapter_is_the_same_for_training_for_peft_and_for_the_engine(
    folder_of: Callable[[str], Path], tmp_path: Path, family: str
) -> None:
    files = locate(str(folder_of(family)), chat_template=template_for(family))
    spec = TrainSpec(
        model=files.path,
        name=family,
        revision=files.revision,
        chat_template=files.chat_template,
        rows=rows_of(6),
        settings=FLOAT32.model_copy(update={"learning_rate": 2e-2, "epochs": 2}),
        out=tmp_path / "adapter-1",
    )
    result = make(spec, lambda progress: None, time.monotonic())
    assert result.metrics["last_loss"] < result.metrics["first_loss"]

    base = AutoModelForCausalLM.from_pretrained(files.path, dtype=torch.float32, attn_implementation="eager")
    by_peft = PeftModel.from_pretrained(base, result.folder)
    tokens = torch.tensor([result.probe.tokens])
    with torch.no_grad():
        logits = by_peft(input_ids=tokens).logits[0, :-1]
    exact = logits.log_softmax(-1).gather(1, tokens[0, 1:, None])[:, 0]
    torch.testing.assert_close(torch.tensor(result.probe.logprobs), exact, atol=1e-3, rtol=0)

    engine = Engine(files, ModelSettings(dtype="float32", device="cpu", threads=1))
    at_base = engine.logprobs(result.probe.tokens)
    torch.testing.assert_close(torch.tensor(result.probe.start_logprobs), at_base, atol=1e-3, rtol=0)
    engine.register("adapter-1", result.folder, result.weights)
    proof = engine.prove("adapter-1")
    assert (proof.ok, proof.decided) == (True, True)
    assert proof.served < 1e-3
    engine._serve(BASE)
    assert torch.equal(engine.logprobs(result.probe.tokens), at_base)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_prompt_that_is_learnt_is_the_one_that_is_asked_and_rows_end_their_turn(
    folder_of: Callable[[str], Path], family: str
) -> None:
    files = locate(str(folder_of(family)), chat_template=template_for(family))
    engine = Engine(files, ModelSettings(dtype="float32", device="cpu", threads=1))
    tokenizer = load_tokenizer(files.path, family, files.chat_template)
    [row] = rows_of(1)[:1]
    request = Request(messages=row.prompt, sampling=Sampling(max_tokens=1))
    assert list(render(row.prompt, tokenizer)) == engine.renderer.prompt(request)

    end = tokenizer.convert_tokens_to_ids(STYLES[FAMILIES[family]].turn_end)
    words = tuple(tokenizer.encode("4", add_special_tokens=False))
    for tokens in ((), words, (*words, end), (*words, tokenizer.eos_token_id)):
        assert completion_tokens(made_row("q", "4", tokens=tokens), tokenizer) == (*words, end)


def test_a_model_that_dropped_out_by_its_own_config_does_not(folder_of: Callable[[str], Path]) -> None:
    model = lora.load(folder_of("gpt2"), None, FLOAT32).train()
    tokenizer = load_tokenizer(folder_of("gpt2"), "gpt2", template_for("gpt2"))
    objective = RejectionSampling(FLOAT32)
    [batch, *_] = objective.collate(objective.examples(rows_of(2), tokenizer))
    with torch.no_grad():
        assert weighted_nll(model, batch) == weighted_nll(model, batch)


@pytest.mark.parametrize("family", OTHERS)
def test_a_model_of_another_kind_is_tried_and_trained(
    folder_of: Callable[[str], Path], tmp_path: Path, family: str
) -> None:
    spec = TrainSpec(
        model=folder_of(family), name=family, rows=rows_of(2), settings=FLOAT32, out=tmp_path / "adapter-1"
    )
    make(spec, lambda progress: None, time.monotonic())


@pytest.mark.parametrize("family", REFUSED)
def test_a_model_that_cannot_be_trained_right_is_refused_in_one_line(
    folder_of: Callable[[str], Path], tmp_path: Path, family: str
) -> None:
    spec = TrainSpec(
        model=folder_of(family), name=family, rows=rows_of(2), settings=FLOAT32, out=tmp_path / "adapter-1"
    )
    with pytest.raises(TrainError, match=f"models of type '{family}' .*; take another model") as raised:
        make(spec, lambda progress: None, time.monotonic())
    assert "\n" not in str(raised.value)
    assert not spec.out.exists()


@pytest.mark.parametrize(
    ("family", "reason"), [("falcon", "attention of models of type 'falcon'"), ("mixtral", "outside of linear layers")]
)
def test_a_model_that_is_only_served_is_refused_in_one_line(
    folder_of: Callable[[str], Path], family: str, reason: str
) -> None:
    with pytest.raises(TrainError, match=reason) as raised:
        lora.load(folder_of(family), None, FLOAT32)
    assert "\n" not in str(raised.value)


def test_experts_are_left_out_where_the_targets_are_named(folder_of: Callable[[str], Path]) -> None:
    model = lora.load(folder_of("mixtral"), None, FLOAT32.model_copy(update={"targets": ("q_proj", "v_proj")}))
    trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert trained
    assert all("q_proj" in name or "v_proj" in name for name in trained)


def test_a_model_that_lanes_would_train_wrong_is_found_out(
    folder_of: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "KNOWN", frozenset())
    model = lora.load(folder_of("gemma2"), None, FLOAT32)
    trial.try_out(model, list(range(3, 60)))
    monkeypatch.setattr(likelihood, "sight", lambda config: Sight(None))
    with pytest.raises(TrainError, match=r"'gemma2' cannot be trained: in lanes their loss is .* nats from"):
        trial.try_out(model, list(range(3, 60)))


def test_a_row_longer_than_the_models_positions_is_told_before_training(
    folder_of: Callable[[str], Path], tmp_path: Path
) -> None:
    spec = TrainSpec(
        model=folder_of("gpt2"),
        name="gpt2",
        chat_template=template_for("gpt2"),
        rows=(made_row("q", "word " * 190),),
        settings=FLOAT32,
        out=tmp_path / "adapter-1",
    )
    with pytest.raises(TrainError, match=r"the model's context holds 512: set training.max_row_tokens = 512"):
        make(spec, lambda progress: None, time.monotonic())


def test_the_template_is_part_of_a_spec_only_where_it_is_given(
    folder_of: Callable[[str], Path], tmp_path: Path
) -> None:
    spec = TrainSpec(model=folder_of("gpt2"), name="gpt2", rows=rows_of(1), out=tmp_path / "a")
    given = spec.model_copy(update={"chat_template": template_for("gpt2")})
    assert spec.digest() != given.digest()


def test_the_output_head_is_not_trained(folder_of: Callable[[str], Path]) -> None:
    targets = FLOAT32.model_copy(update={"targets": ("q_proj", "lm_head")})
    with pytest.raises(TrainError, match="the output head cannot be trained"):
        lora.load(folder_of("llama"), None, targets)
