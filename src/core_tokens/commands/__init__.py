"""The commands, one module each: ``HELP``, ``arguments`` of the command line, and ``run``.

``run`` returns nothing, or the exit code of a command that has one of its own.
"""
