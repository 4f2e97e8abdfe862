"""`python -m factory`, where the command is not on the path."""

from factory.cli import main

if __name__ == "__main__":
    main()
