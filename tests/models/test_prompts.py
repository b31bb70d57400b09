"""Prompts: dated templates, and replies that have begun."""

from __future__ import annotations

import pytest

from quintet.models.catalogue import locate
from quintet.models.prompts import load_tokenizer, render
from quintet.records import Message

BODY = "{% for message in messages %}<{{ message.role }}>{{ message.content }}\n{% endfor %}"


@pytest.mark.parametrize(
    "begin", ["", "\n", "\n\n  ", "  ", "  {% set a = 1 %}\n", "\n  {%- set a = 1 %}", "\t hello "]
)
def test_a_dated_template_begins_as_it_is_written(begin: str) -> None:
    folder, chat = locate("smollm2-135m").path, [{"role": "user", "content": "Hello?"}]
    plain = load_tokenizer(folder, "m", begin + BODY)
    dated = load_tokenizer(folder, "m", begin + BODY + "{{ strftime_now('%d %b %Y') }}")
    text = plain.apply_chat_template(chat, tokenize=False)
    assert dated.apply_chat_template(chat, tokenize=False) == text + "26 Jul 2024"


def test_a_reply_that_has_begun_is_gone_on_with() -> None:
    tokenizer = load_tokenizer(locate("smollm2-135m").path, "m")
    asked = [Message(role="system", content="You add."), Message(role="user", content="What is 1 + 1?")]
    opened = tokenizer.decode(render(tokenizer, asked))
    for begun in ("Let me see.\n", "One and one", "  is 2 ", "<|im_start|>"):
        text = tokenizer.decode(render(tokenizer, [*asked, Message(role="assistant", content=begun)]))
        assert text == opened + begun
    # What has been said is no beginning.
    said = [*asked, Message(role="assistant", content="2"), Message(role="user", content="Sure?")]
    assert tokenizer.decode(render(tokenizer, said)).endswith("Sure?<|im_end|>\n<|im_start|>assistant\n")


def test_a_template_that_trims_what_is_said_goes_on_too() -> None:
    folder = locate("smollm2-135m").path
    trimming = load_tokenizer(
        folder,
        "m",
        BODY.replace("message.content", "message.content | trim") + "{% if add_generation_prompt %}<>{% endif %}",
    )
    chat = [Message(role="user", content="Hello?"), Message(role="assistant", content="I say ")]
    assert trimming.decode(render(trimming, chat)) == "<user>Hello?\n<assistant>I say"
