"""One module per DVC stage, run as ``python -m core_tokens.stages.STAGE MODEL``."""
