"""Held-out whole models, predicted and then measured; see `python -m benchmarks.suites.latency_prediction`."""
