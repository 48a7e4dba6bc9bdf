"""Search strategies: one paper, one file; resampling, weights and selection beside them."""
