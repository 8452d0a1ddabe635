"""Studies run by hand: `python -m benchmarks.suites.NAME [--quick] --json FILE`. Nothing imports them."""
