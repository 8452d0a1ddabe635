"""How a contestant is loaded that needs more than the worker's own way: run by the worker, never imported."""
