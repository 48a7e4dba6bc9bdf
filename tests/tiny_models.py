"""Tiny random checkpoints, built in a second: real formats, meaningless weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

MARK = "<extra_0>"
CHAT = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def tokenizer() -> Any:
    """Byte-level tokenizer of 260-odd tokens: any text, a few merges, Qwen's special tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    symbols = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("Ċ", "Ċ"), ("=", "5"), ("Ġ", "a")]
    vocab = {symbol: i for i, symbol in enumerate([*symbols, *("".join(pair) for pair in merges)])}
    core = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=["<|im_start|>", MARK],
    )
    fast.chat_template = CHAT
    return fast


def _config(size: int, labels: int | None = None) -> Any:
    from transformers import Qwen2Config

    tok = tokenizer()
    extra = {} if labels is None else {"num_labels": labels}
    return Qwen2Config(
        vocab_size=size,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=512,
        initializer_range=0.2,
        tie_word_embeddings=labels is None,
        eos_token_id=tok.eos_token_id,
        pad_token_id=tok.pad_token_id,
        **extra,
    )


def policy(folder: Path) -> Path:
    """A Qwen2ForCausalLM checkpoint with random weights."""
    import torch
    from transformers import Qwen2ForCausalLM

    tok = tokenizer()
    torch.manual_seed(0)
    Qwen2ForCausalLM(_config(len(tok))).save_pretrained(folder)
    tok.save_pretrained(folder)
    return folder


def reward(folder: Path) -> Path:
    """A Qwen2ForProcessRewardModel checkpoint (Qwen2.5-Math-PRM's layout) with random weights."""
    import torch
    from safetensors.torch import save_file
    from transformers import Qwen2Model

    tok = tokenizer()
    torch.manual_seed(1)
    config = _config(len(tok), labels=2)
    tensors = {f"model.{name}": value.contiguous() for name, value in Qwen2Model(config).state_dict().items()}
    hidden = config.hidden_size
    for name, rows in (("score.0", hidden), ("score.2", 2)):
        tensors[f"{name}.weight"] = torch.randn(rows, hidden) * 0.2
        tensors[f"{name}.bias"] = torch.randn(rows) * 0.2
    config.architectures = ["Qwen2ForProcessRewardModel"]
    config.save_pretrained(folder)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    tok.save_pretrained(folder)
    return folder
