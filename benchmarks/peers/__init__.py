"""What a user would do instead: the published procedure, one plain statement per file."""
