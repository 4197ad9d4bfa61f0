"""What may be chosen by name of a finished run: its checkpoints and its weights."""

CHECKPOINTS = ("best", "last")
"""Checkpoints of a run that are evaluated."""

WEIGHTS = ("averaged", "trained", "both")
"""Which weights of a run are judged, where it keeps their moving average beside those that were trained."""
