"""The teacher's tokenizer: byte-level BPE; the prompts' static text and the answers' glue are single tokens.

Phrase tokens only save prefill time: any other prompt is read through BPE and bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from sample.teacher.spelling import MEANINGS

PAD, EOS, IMAGE = "<pad>", "<end_of_utterance>", "<image>"
FAKE, GLOBAL = "<fake_token_around_image>", "<global-img>"
ROLES = ("<|system|>", "<|user|>", "<|assistant|>")
SPECIAL = (PAD, EOS, IMAGE, FAKE, GLOBAL, *ROLES)
GLUE = (
    '{"claims":["',
    '","',
    '"]}',
    '{"rationale":"',
    '","edits":[{"aspect":"',
    '","from":"',
    '","to":"',
    '"},{"aspect":"',
    '"}],"kept":["',
    '"}],"kept":[]}',
)
ORDERS = tuple(
    f"A. {first}\nB. {second}"
    for pair in dict.fromkeys(MEANINGS.values())
    for first, second in (pair, pair[::-1])
)
SHORTEST_PHRASE = 12

CHAT_TEMPLATE = (
    "{% for m in messages %}"
    "{{ '<|' + m['role'] + '|>' }}"
    "{% if m['content'] is string %}{{ m['content'] }}{% else %}"
    "{% for part in m['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% elif part['type'] == 'text' %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}"
    "{% if m['role'] == 'assistant' %}<end_of_utterance>{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def phrases(prompts: Path, aspect_lists: Iterable[Sequence[str]]) -> list[str]:
    """The prompts' text between placeholders, whole and by line, and each aspect list as prompts spell it."""
    found: dict[str, None] = {}
    for path in sorted(prompts.glob("*.md")):
        for segment in re.split(r"\{\{\w+\}\}", path.read_text(encoding="utf-8").strip()):
            for text in (segment, *segment.splitlines()):
                if len(text) >= SHORTEST_PHRASE:
                    found[text] = None
    for names in aspect_lists:
        found[", ".join([*names, "other"])] = None
    return list(found)


def train_tokenizer(
    texts: Iterable[str], words: Iterable[str], phrase_texts: Sequence[str], size: int = 1280
) -> PreTrainedTokenizerFast:
    """Train the BPE on `texts`; every word of `words` becomes one token, with and without a blank before."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=list(SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    # Repeating the world's words outweighs any count in the texts, so their merges come first.
    wanted = [f"{word} {word}" for word in sorted(set(words))] * 400
    tokenizer.train_from_iterator([*wanted, *texts], trainer)
    added = [*GLUE, *ORDERS, *phrase_texts]
    tokenizer.add_tokens([AddedToken(text, normalized=False, special=False) for text in added])
    make: Any = PreTrainedTokenizerFast
    fast: PreTrainedTokenizerFast = make(
        tokenizer_object=tokenizer,
        eos_token=EOS,
        pad_token=PAD,
        additional_special_tokens=[IMAGE, FAKE, GLOBAL, *ROLES],
        clean_up_tokenization_spaces=False,
        model_max_length=1024,
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast
