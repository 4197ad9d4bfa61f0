"""Names of a finished run's checkpoints and weights, as the command line takes them."""

CHECKPOINTS = ("best", "last")
"""Checkpoints of a run that are evaluated."""

WEIGHTS = ("averaged", "trained", "both")
"""Weights of a run that are evaluated, where it keeps a moving average beside the trained ones."""
