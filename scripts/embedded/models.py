"""The embedded models in torch: shapes, the Muon optimiser, sampling with a cache, and checkpoints."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional
from transformers import DynamicCache, LlamaConfig, PreTrainedConfig, Qwen2Config, Qwen2ForCausalLM, Qwen2Model

from ponder.scripts.embedded.vocabulary import EOS, ID, PAD, TOKENS

POLICY_LAYERS, PRM_LAYERS = 3, 6
DRAFT_LAYERS, DRAFT_HIDDEN = 2, 64


def config(layers: int, hidden: int = 128) -> Qwen2Config:
    """The shape of all models; heads of 32 are the smallest that vLLM's CPU attention takes."""
    return Qwen2Config(
        vocab_size=len(TOKENS),
        hidden_size=hidden,
        intermediate_size=3 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 32,
        num_key_value_heads=hidden // 64,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=ID[EOS],
        pad_token_id=ID[PAD],
        use_cache=True,
    )


class RewardModel(nn.Module):
    """Qwen2ForProcessRewardModel, as vLLM and Qwen2.5-Math-PRM have it, plus heads that only training uses.

    What training asks of the added layers, one after the other: to carry the expected token to where it should stand,
    to tell whether the token there is that one, and to gather the verdicts at the marks.

    Args:
        layers: depth of the trunk.
    """

    def __init__(self, layers: int = PRM_LAYERS) -> None:
        super().__init__()
        self.model = Qwen2Model(config(layers))
        hidden = self.model.config.hidden_size
        self.score = nn.Sequential(nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 2))
        self.carried = nn.Linear(hidden, self.model.config.vocab_size)
        self.local = nn.Linear(hidden, 2)

    @classmethod
    def grown(cls, base: Qwen2ForCausalLM) -> RewardModel:
        """A reward model on a language model's trunk; the added layers begin as the identity."""
        prm = cls()
        prm.model.load_state_dict(base.model.state_dict(), strict=False)
        for k in range(base.config.num_hidden_layers, PRM_LAYERS):
            for name in ("self_attn.o_proj", "mlp.down_proj"):
                nn.init.zeros_(prm.get_parameter(f"model.layers.{k}.{name}.weight"))
        return prm

    def forward(self, ids: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Logits at every token.

        Returns:
            Of step labels, shape (b, t, 2); of whether the token is the expected one, (b, t, 2); of the next token and
            of the token expected here, (b, t, v).
        """
        states = self.model(input_ids=ids, use_cache=False, output_hidden_states=True).hidden_states
        shown, told = (functional.rms_norm(states[k], states[k].shape[-1:]) for k in (-3, -2))
        return (
            self.score(states[-1]),
            self.local(told),
            states[-1] @ self.model.embed_tokens.weight.T,
            self.carried(shown),
        )


class Muon:
    """Muon on the trunk's matrices, AdamW on everything else, under one learning-rate factor.

    Muon replaces each momentum matrix by its nearest orthogonal one (Newton-Schulz, five rounds; Jordan 2024). Equal
    shapes are stacked, in float32: on a CPU that is several times as fast as torch.optim.Muon's bfloat16.
    """

    def __init__(self, model: nn.Module, matrix_lr: float = 6e-3, other_lr: float = 3e-3) -> None:
        named = list(model.named_parameters())
        matrices = [p for name, p in named if p.ndim == 2 and ".layers." in name]
        chosen = {id(p) for p in matrices}
        self.groups: dict[torch.Size, list[nn.Parameter]] = {}
        for p in matrices:
            self.groups.setdefault(p.shape, []).append(p)
        self.momentum = {shape: torch.zeros(len(group), *shape) for shape, group in self.groups.items()}
        others = [p for _, p in named if id(p) not in chosen]
        self.adam = torch.optim.AdamW(others, lr=other_lr, betas=(0.9, 0.98), weight_decay=0.0)
        self.parameters = [p for _, p in named]
        self.matrix_lr, self.other_lr = matrix_lr, other_lr

    @torch.no_grad()
    def step(self, factor: float) -> None:
        """One update at `factor` times the learning rates; gradients are cleared."""
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        for group in self.adam.param_groups:
            group["lr"] = self.other_lr * factor
        self.adam.step()
        for shape, matrices in self.groups.items():
            gradient = torch.stack([p.grad if p.grad is not None else torch.zeros(shape) for p in matrices])
            momentum = self.momentum[shape].lerp_(gradient, 0.05)
            update = orthogonal(gradient.lerp(momentum, 0.95)) * max(1.0, shape[0] / shape[1]) ** 0.5
            for p, change in zip(matrices, update, strict=True):
                p.mul_(1 - 0.01 * self.matrix_lr * factor).add_(change, alpha=-self.matrix_lr * factor)
        for p in self.parameters:
            p.grad = None


def orthogonal(matrices: Tensor) -> Tensor:
    """The orthogonal factor of each matrix, roughly; shape (k, rows, columns)."""
    x: Tensor = matrices / matrices.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    tall = x.shape[1] > x.shape[2]
    if tall:
        x = x.mT
    for _ in range(5):
        gram = x @ x.mT
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x.mT if tall else x


@torch.no_grad()
def sample(
    policy: Qwen2ForCausalLM, prompts: Tensor, n: int, max_tokens: int, seed: int, rows: int = 1024
) -> list[list[list[int]]]:
    """N solutions of each prompt at temperature 1.

    Args:
        policy: the model.
        prompts: token ids of equal length, shape (b, t).
        n: solutions a prompt.
        max_tokens: the ceiling a solution.
        seed: of all draws.
        rows: how many solutions are drawn side by side.

    Returns:
        For each prompt n token lists; a list that lacks <eos> was cut off.
    """
    generator = torch.Generator().manual_seed(seed)
    drawn: list[list[int]] = []
    for chunk in torch.split(prompts.repeat_interleave(n, dim=0), rows):
        cache = DynamicCache(config=policy.config)
        tokens, current = [], chunk
        done = torch.zeros(len(chunk), dtype=torch.bool)
        for _ in range(max_tokens):
            logits = policy(input_ids=current, past_key_values=cache, use_cache=True, logits_to_keep=1).logits[:, -1]
            current = torch.multinomial(logits.softmax(-1), 1, generator=generator)
            tokens.append(current.masked_fill(done[:, None], ID[PAD]))
            done |= current[:, 0] == ID[EOS]
            if bool(done.all()):
                break
        drawn += [[t for t in row if t != ID[PAD]] for row in torch.cat(tokens, dim=1).tolist()]
    return [drawn[i : i + n] for i in range(0, len(drawn), n)]


@torch.no_grad()
def score(prm: RewardModel, rows: Iterable[list[int]], mark: int, batch: int = 512) -> Iterator[list[float]]:
    """P(still right) at each step mark of each row of token ids."""
    pending = list(rows)
    for i in range(0, len(pending), batch):
        part = pending[i : i + batch]
        ids = torch.full((len(part), max(map(len, part))), ID[PAD])
        for k, row in enumerate(part):
            ids[k, : len(row)] = torch.tensor(row)
        probabilities = prm(ids)[0].softmax(-1)[..., 1]
        for k in range(len(part)):
            yield probabilities[k][ids[k] == mark].tolist()


def save_policy(policy: Qwen2ForCausalLM, folder: Path) -> None:
    """Writes config.json and model.safetensors in float16, in Llama's shape.

    The two shapes differ in the output projection's bias alone, which is zero here. For Llama transformers 5
    takes the tokenizer as it is stored; for Qwen2 it puts its own byte-level one in the place.
    """
    state = {key: value for key, value in policy.state_dict().items() if not key.startswith("lm_head.")}
    shape = policy.config
    for k in range(shape.num_hidden_layers):
        state[f"model.layers.{k}.self_attn.o_proj.bias"] = torch.zeros(shape.hidden_size)
    names = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    more = ("num_key_value_heads", "max_position_embeddings", "tie_word_embeddings", "rms_norm_eps", "rope_parameters")
    ends = ("bos_token_id", "eos_token_id", "pad_token_id")
    llama = LlamaConfig(attention_bias=True, **{name: getattr(shape, name) for name in (*names, *more, *ends)})
    _save(state, llama, "LlamaForCausalLM", folder)


def save_prm(prm: RewardModel, folder: Path) -> None:
    """Writes config.json and model.safetensors in float16, tensors named as Qwen2.5-Math-PRM names them."""
    state = {key: value for key, value in prm.state_dict().items() if not key.startswith(("local.", "carried."))}
    shape = copy.deepcopy(prm.model.config)
    shape.num_labels = 2
    _save(state, shape, "Qwen2ForProcessRewardModel", folder)


def _save(state: dict[str, Tensor], shape: PreTrainedConfig, name: str, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    kept = {key: value.half().contiguous() for key, value in state.items()}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    fields = {**shape.to_diff_dict(), "architectures": [name], "dtype": "float16", "model_type": shape.model_type}
    (folder / "config.json").write_text(json.dumps(fields, indent=2, sort_keys=True) + "\n")


def load_policy(folder: Path) -> Qwen2ForCausalLM:
    """The policy, or one of its siblings, in float32, in the shape that is trained."""
    shape = json.loads((folder / "config.json").read_text())
    policy = Qwen2ForCausalLM(config(shape["num_hidden_layers"], shape["hidden_size"]))
    state = {key: value.float() for key, value in load_file(folder / "model.safetensors").items()}
    policy.load_state_dict({key: value for key, value in state.items() if "o_proj.bias" not in key}, strict=False)
    policy.tie_weights()
    policy.eval()
    return policy


def load_prm(folder: Path) -> RewardModel:
    """The reward model, in float32; the heads of training are not stored."""
    prm = RewardModel()
    state = {key: value.float() for key, value in load_file(folder / "model.safetensors").items()}
    prm.load_state_dict(state, strict=False)
    return prm.eval()
