"""Other engines side by side, each in a virtual environment of its own; see `python -m benchmarks.suites.engines`."""
