"""`python -m iaat`, which is also how launchers such as torchrun start the command line."""

from iaat.cli.main import entry

if __name__ == "__main__":
    entry()
