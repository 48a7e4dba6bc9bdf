"""Tiny random checkpoints of every family of reward models: real architectures, tensor names and special tokens.

The vocabularies are our own: single bytes, and one token for each mark or word that the family reads. Heads are of size
32, the least that vLLM's attention takes on a CPU.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.tiny_models import CHAT, reward

LONG = 16_384
"""Positions of the models that read long solutions; the others read `SHORT`."""

SHORT = 2_048

LLAMA_CHAT = (
    "{% for m in messages %}{% if loop.first %}{{ bos_token }}{% endif %}"
    "{{ '<|start_header_id|>' + m['role'] + '<|end_header_id|>\n\n' + (m['content'] | trim) + '<|eot_id|>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)

QWEN = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>", "additional_special_tokens": ["<|im_start|>"]}
LLAMA = {
    "bos_token": "<|begin_of_text|>",
    "eos_token": "<|eot_id|>",
    "pad_token": "<|end_of_text|>",
    "additional_special_tokens": ["<|start_header_id|>", "<|end_header_id|>"],
}
MISTRAL = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "</s>", "unk_token": "<unk>"}


def vocabulary(words: Sequence[str], special: dict[str, Any], template: str | None) -> Any:
    """A byte-level tokenizer in which each of `words` is one token.

    With a `bos_token` it begins what it encodes with that, as those of Llama and Mistral do.

    Args:
        words: whole words, marks and separators.
        special: the special tokens, as a tokenizer names them.
        template: the chat template; None for a model without one.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    pieces = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    merges: list[tuple[str, str]] = []
    for word in words:
        # From the right, so that a leading blank joins last: " +" is "+" with a blank.
        symbols = list(pieces.pre_tokenize_str(word)[0][0])
        right = symbols.pop()
        while symbols:
            merges.append((symbols.pop(), right))
            right = "".join(merges[-1])
    merges = list(dict.fromkeys(merges))
    tokens = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *("".join(pair) for pair in merges)]
    core = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=merges))
    core.pre_tokenizer = pieces
    core.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=core, **special)
    begin = special.get("bos_token")
    if begin is not None:
        core = fast.backend_tokenizer
        core.post_processor = processors.TemplateProcessing(
            single=f"{begin} $A", pair=f"{begin} $A $B", special_tokens=[(begin, fast.bos_token_id)]
        )
    if template is not None:
        fast.chat_template = template
    return fast


def _config(kind: str, tokenizer: Any, positions: int, tied: bool = False, labels: int | None = None) -> Any:
    import transformers

    extra: dict[str, Any] = {} if labels is None else {"num_labels": labels}
    extra |= {"sliding_window": None} if kind == "Mistral" else {}
    return getattr(transformers, f"{kind}Config")(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=positions,
        initializer_range=0.2,
        tie_word_embeddings=tied,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **extra,
    )


def _saved(folder: Path, architecture: str, config: Any, tokenizer: Any, seed: int) -> Path:
    import torch
    import transformers

    torch.manual_seed(seed)
    model = getattr(transformers, architecture)(config)
    for name, tensor in model.named_parameters():
        if name.endswith("bias"):  # they start at zero, and a bias that is left out would not be noticed
            torch.nn.init.normal_(tensor, std=0.2)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def math_shepherd(folder: Path) -> Path:
    """Math-Shepherd: MistralForCausalLM, raw text, mark " ки", words "+" and "-"; reads long solutions."""
    tokenizer = vocabulary([" ки", " +", " -"], MISTRAL, None)
    return _saved(folder, "MistralForCausalLM", _config("Mistral", tokenizer, LONG), tokenizer, 2)


def rlhflow(folder: Path) -> Path:
    """RLHFlow Llama3.1-8B-PRM: LlamaForCausalLM, chat turns of a step each, words "+" and "-"."""
    tokenizer = vocabulary(["\n\n"], LLAMA, LLAMA_CHAT)
    return _saved(folder, "LlamaForCausalLM", _config("Llama", tokenizer, SHORT), tokenizer, 3)


def skywork(folder: Path) -> Path:
    """Skywork-o1-Open-PRM: Qwen2 with a value head as TRL saves it, config of Qwen2ForPrmModel."""
    import torch
    from safetensors.torch import load_file, save_file

    # The special tokens of Qwen2.5, and a beginning: the family's inputs start with `tokenizer.bos_token`.
    tokenizer = vocabulary(["\n\n"], QWEN, CHAT)
    tokenizer.bos_token = "<|endoftext|>"
    config = _config("Qwen2", tokenizer, SHORT, tied=True)
    _saved(folder, "Qwen2ForCausalLM", config, tokenizer, 4)
    tensors = load_file(folder / "model.safetensors")
    tensors["v_head.summary.weight"] = torch.randn(1, config.hidden_size) * 0.2
    tensors["v_head.summary.bias"] = torch.randn(1) * 0.2
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config.architectures = ["Qwen2ForPrmModel"]
    config.save_pretrained(folder)
    return folder


def math_psa(folder: Path) -> Path:
    r"""Math-psa of OpenR: Qwen2ForCausalLM, mark " \n\n\n\n\n", words " +" and " -"; head tied to the embeddings."""
    tokenizer = vocabulary([" \n\n\n\n\n", " +", " -"], QWEN, CHAT)
    return _saved(folder, "Qwen2ForCausalLM", _config("Qwen2", tokenizer, SHORT, tied=True), tokenizer, 5)


def trl(folder: Path) -> Path:
    r"""A model of TRL's PRMTrainer: Qwen2ForTokenClassification, two labels, separator "\n\n"."""
    tokenizer = vocabulary(["\n\n"], QWEN, CHAT)
    config = _config("Qwen2", tokenizer, SHORT, labels=2)
    return _saved(folder, "Qwen2ForTokenClassification", config, tokenizer, 6)


def pure(folder: Path) -> Path:
    r"""PURE-PRM-7B: Qwen2ForTokenClassification, two labels, read at "\n"."""
    tokenizer = vocabulary(["\n\n"], QWEN, CHAT)
    config = _config("Qwen2", tokenizer, SHORT, labels=2)
    return _saved(folder, "Qwen2ForTokenClassification", config, tokenizer, 7)


def outcome_llama(folder: Path) -> Path:
    """An outcome reward model as Skywork-Reward's: LlamaForSequenceClassification, one label."""
    tokenizer = vocabulary(["\n\n"], LLAMA, LLAMA_CHAT)
    config = _config("Llama", tokenizer, SHORT, labels=1)
    return _saved(folder, "LlamaForSequenceClassification", config, tokenizer, 8)


def outcome_qwen(folder: Path) -> Path:
    """An outcome reward model on Qwen2: Qwen2ForSequenceClassification, one label; reads long solutions."""
    tokenizer = vocabulary(["\n\n"], QWEN, CHAT)
    config = _config("Qwen2", tokenizer, LONG, labels=1)
    return _saved(folder, "Qwen2ForSequenceClassification", config, tokenizer, 9)


def objectives(folder: Path) -> Path:
    """An outcome reward model of several objectives: LlamaForSequenceClassification, five labels."""
    tokenizer = vocabulary(["\n\n"], LLAMA, LLAMA_CHAT)
    config = _config("Llama", tokenizer, SHORT, labels=5)
    return _saved(folder, "LlamaForSequenceClassification", config, tokenizer, 10)


def armorm(folder: Path) -> Path:
    """ArmoRM: several objectives in a layer of its own name, beside a gate that only its own code knows."""
    import torch
    from safetensors.torch import load_file, save_file

    objectives(folder)
    tensors = load_file(folder / "model.safetensors")
    tensors["regression_layer.weight"] = tensors.pop("score.weight")
    tensors["reward_transform_matrix"] = torch.eye(5)
    tensors["gating.layers.0.weight"] = torch.randn(5, tensors["regression_layer.weight"].shape[1])
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config["architectures"] = ["LlamaForRewardModelWithGating"]
    config["auto_map"] = {"AutoModelForSequenceClassification": "modeling_custom.LlamaForRewardModelWithGating"}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


FAMILIES: dict[str, Callable[[Path], Path]] = {
    "qwen": reward,
    "math_shepherd": math_shepherd,
    "rlhflow": rlhflow,
    "skywork": skywork,
    "math_psa": math_psa,
    "trl": trl,
    "pure": pure,
}
"""Process reward models: family to what builds one in a folder."""

OUTCOMES: dict[str, Callable[[Path], Path]] = {
    "outcome_llama": outcome_llama,
    "outcome_qwen": outcome_qwen,
    "objectives": objectives,
    "armorm": armorm,
}
"""Outcome reward models."""
