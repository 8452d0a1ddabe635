"""Published latencies of a Raspberry Pi 4, fitted, scored on what was held out, and put into the catalog."""
