"""`python -m optimizer` is `trimfit`."""

from optimizer.cli import main

main()
