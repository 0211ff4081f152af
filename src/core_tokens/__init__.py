"""Core Tokens: the never-trained tokens of a language model, measured and versioned."""
