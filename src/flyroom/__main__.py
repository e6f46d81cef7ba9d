"""`python -m flyroom`: the command line, where its script is not on the path."""

from flyroom.cli import main

if __name__ == "__main__":
    main()
