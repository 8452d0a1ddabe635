"""Do deployed files compute on ARM what they compute here? See `python -m benchmarks.suites.emulated`."""
