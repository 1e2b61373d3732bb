"""The command line: the only place that turns errors into text and exit codes."""

from dpsynth.cli.app import main

__all__ = ["main"]
