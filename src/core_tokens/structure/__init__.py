"""What the distinct vectors of a cluster or a core look like: one question per module."""
