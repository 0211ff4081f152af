"""One page about one or more models, that works without a network."""
