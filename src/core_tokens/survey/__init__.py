"""Many checkpoints: which, what is found in each, where that is kept, and what it adds up to."""
