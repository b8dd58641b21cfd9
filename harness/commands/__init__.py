"""The commands of the command line, one a file.

A module here is a command. Its name is the module's, with ``-`` for ``_`` and without one at the end,
which keeps it from being a word of Python's; and it holds

- ``HELP``: one line for ``lamofcbench --help``;
- ``add_arguments(parser)``: declares the command's arguments on an ``argparse.ArgumentParser``;
- ``run(args) -> int | None``: does the work and returns the exit status (None is 0).

Modules are imported to build the help, so what is heavy is imported inside ``run``. A module whose name starts with an
underscore is shared by commands and is none itself.
"""
