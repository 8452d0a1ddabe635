"""The process that runs one contestant: `python benchmarks/worker JOB`; needs numpy and the runtime."""
