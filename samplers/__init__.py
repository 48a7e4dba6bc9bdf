"""Language models behind one method: `sample(trace, n, until, seed=...)`.

`vllm_engine.VLLMSampler` runs vLLM inside this process, `hf.HFSampler` plain transformers.
"""
