from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field
from small_models import EXACT, ask

from quintet.models.catalogue import locate
from quintet.models.engine import Engine


class Verdict(BaseModel):
    verdict: Literal["accept", "revise", "reject"]
    score: int = Field(ge=0, le=10)
    why: str = Field(max_length=12)


class Recipe(BaseModel):
    rank: Literal[4, 8, 16]
    steps: list[bool] = Field(max_length=3)
    parent: Verdict | None


@pytest.mark.parametrize("model", [Verdict, Recipe])
def test_constrained_replies_always_parse(llama: Engine, model: type[BaseModel]) -> None:
    requests = [
        ask("Judge!", schema_=model.model_json_schema(), n=6, temperature=1.5, top_k=0, max_tokens=200),
        ask("Judge!", schema_=model.model_json_schema(), temperature=0, max_tokens=200),
        ask("Say what you like.", n=2, max_tokens=20),
    ]
    *held, free = llama.generate(requests)
    for reply in held:
        assert reply.error is None
        for completion in reply.completions:
            assert completion.finish == "stop"
            model.model_validate_json(completion.text)
    assert all(completion.finish == "length" for completion in free.completions)


LEAVES = st.one_of(
    st.just({"type": "boolean"}),
    st.just({"type": "null"}),
    st.integers(0, 50).map(lambda top: {"type": "integer", "minimum": 0, "maximum": top}),
    st.lists(st.text('abc é"\\', max_size=4), min_size=1, max_size=3, unique=True).map(lambda all_: {"enum": all_}),
    st.integers(0, 6).map(lambda longest: {"type": "string", "maxLength": longest}),
)


def _objects(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    fields = st.dictionaries(st.sampled_from(["a", "b", "c d"]), inner, min_size=1, max_size=3)
    objects = fields.map(
        lambda found: {
            "type": "object",
            "properties": found,
            "required": sorted(found),
            "additionalProperties": False,
        }
    )
    return st.one_of(objects, inner.map(lambda item: {"type": "array", "items": item, "maxItems": 2}))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(schema=st.recursive(LEAVES, _objects, max_leaves=4), seed=st.integers(0, 99))
def test_any_bounded_schema_is_kept(llama: Engine, schema: dict[str, Any], seed: int) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    [reply] = llama.generate([ask("Go", schema_=schema, n=2, seed=str(seed), temperature=1, top_k=0, max_tokens=300)])
    for completion in reply.completions:
        assert completion.finish == "stop"
        jsonschema.validate(json.loads(completion.text), schema)


def test_behaviour_logprobs_know_of_the_constraint_and_raw_ones_do_not(llama: Engine) -> None:
    schema = {"enum": ["yes"]}
    [reply] = llama.generate([ask("Go", schema_=schema, temperature=1, top_k=0)])
    [completion] = reply.completions
    assert completion.text == '"yes"'
    assert sum(completion.behaviour_logprobs) > -3
    assert sum(completion.logprobs) < 2 * sum(completion.behaviour_logprobs) - 3


def test_a_schema_that_cannot_be_used_fails_its_request_alone(llama: Engine) -> None:
    bad, fine = llama.generate([ask("Go", schema_={"type": "wrong"}), ask("Go", max_tokens=2)])
    assert bad.error
    assert bad.error.startswith("JSON schema cannot be used: ")
    assert "\n" not in bad.error
    assert fine.error is None


def test_a_reply_that_runs_out_of_tokens_says_so(llama: Engine) -> None:
    [reply] = llama.generate([ask("Go", schema_=Recipe.model_json_schema(), max_tokens=3)])
    assert reply.completions[0].finish == "length"


def test_constraints_work_for_a_tokenizer_smaller_than_the_vocabulary(
    architectures: Callable[[str], Path], tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source = architectures("llama")
    model = AutoModelForCausalLM.from_pretrained(source)
    model.resize_token_embeddings(model.config.vocab_size + 37, mean_resizing=False)
    model.save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(source).save_pretrained(tmp_path)
    engine = Engine(locate(str(tmp_path)), EXACT)
    [reply] = engine.generate([ask("Go", schema_=Verdict.model_json_schema(), n=3, top_k=0, max_tokens=100)])
    for completion in reply.completions:
        Verdict.model_validate_json(completion.text)
