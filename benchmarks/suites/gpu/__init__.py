"""What a GPU makes of encoders: see `python -m benchmarks.suites.gpu --help`."""
