"""Command line as `python -m iaat`, also for launchers such as torchrun."""

from iaat.cli.main import entry

if __name__ == "__main__":
    entry()
