"""`python -m factory.cli`."""

from factory.cli import main

main()
