"""Configuration: one folder a group, one yaml a choice; run.yaml is the root."""
