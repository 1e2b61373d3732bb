"""Error, time and memory of the synthesizers, measured on the command that a user runs. `python -m benchmarks.run` is the way in."""
