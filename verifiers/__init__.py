"""Judges of traces behind one method: `score(traces)`. Higher is better."""
