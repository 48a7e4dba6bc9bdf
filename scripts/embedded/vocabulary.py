"""The tokenizer of the embedded models: one token for each value, letter, sign and step end."""

from __future__ import annotations

import json
from pathlib import Path
from string import ascii_lowercase

import numpy as np
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

PAD, EOS, UNK, USER, ASSISTANT, MARK = "<pad>", "<eos>", "<unk>", "<|user|>", "<|assistant|>", "<extra_0>"
SPECIAL = (PAD, EOS, UNK, USER, ASSISTANT, MARK)
BOX, STEP_END = r"\boxed{", "\n\n"
TOKENS = (
    *SPECIAL,
    *(f"{value:02d}" for value in range(100)),
    *"0123456789",
    *ascii_lowercase,
    *"+-*=;?",
    STEP_END,
    BOX,
    "}",
    "{",
    "\\",
    "\n",
    " ",
)
ID = {token: i for i, token in enumerate(TOKENS)}

# Lookup arrays, so that batches of solutions are built without a loop over tokens.
NUMBER = np.array([ID[f"{value:02d}"] for value in range(100)])
DIGIT = np.array([ID[digit] for digit in "0123456789"])
LETTER = np.array([ID[letter] for letter in ascii_lowercase])
SIGN = np.array([ID[sign] for sign in "+-*"])

# A system message is accepted and left out: the models were trained without one.
CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{%- if message.role == 'user' -%}{{ '<|user|>' + message.content }}"
    "{%- elif message.role == 'assistant' -%}{{ '<|assistant|>' + message.content + eos_token }}"
    "{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|assistant|>' }}{%- endif -%}"
)


def build() -> PreTrainedTokenizerFast:
    """The tokenizer: longest known piece first, anything else is one unknown token a character."""
    core = Tokenizer(models.WordLevel(ID, unk_token=UNK))
    pieces = Regex(r"\n\n|\\boxed\{|[0-9][0-9]|[\s\S]")
    core.pre_tokenizer = pre_tokenizers.Split(pieces, behavior="isolated")
    core.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token=EOS,
        pad_token=PAD,
        unk_token=UNK,
        additional_special_tokens=[USER, ASSISTANT, MARK],
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
        model_max_length=512,
        padding_side="right",
    )


def save(folder: Path) -> None:
    """Writes the tokenizer files into a model folder."""
    build().save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text())
    # The names that every release of transformers reads; newer ones would write names that older ones do not know.
    config["tokenizer_class"] = "PreTrainedTokenizerFast"
    config["additional_special_tokens"] = config.pop("extra_special_tokens")
    path.write_text(json.dumps(config, indent=2) + "\n")
