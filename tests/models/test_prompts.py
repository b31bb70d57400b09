"""What is put before a dated template changes nothing but the date."""

from __future__ import annotations

import pytest

from quintet.models.catalogue import locate
from quintet.models.prompts import load_tokenizer

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
