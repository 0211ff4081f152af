"""The commands, one module each: ``HELP``, ``arguments`` of the command line, and ``run``."""
