"""`python -m mlops`: the same as the command `mlops`."""

from mlops.cli.app import main

if __name__ == "__main__":
    main()
