"""How the embedded policy and process reward model are made: tokenizer, data, models, evaluation."""
