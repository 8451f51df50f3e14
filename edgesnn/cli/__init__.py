"""The command line: `edgesnn COMMAND`. Every command is a thin call of a public function."""

from edgesnn.cli.app import main

__all__ = ["main"]
