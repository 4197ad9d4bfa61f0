"""Tables of sections say what a mean over corruptions is over: the standard 15 where they are there, as in papers."""

from helpers.results import made_up
from iaat.corruptions import CORRUPTIONS, EXTRA, STANDARD
from iaat.evaluate.results import CorruptionResult
from iaat.evaluate.section_tables import corruptions_table
from iaat.export.model_card import _notes

ALL = {name: (0.9, 0.7) if name in EXTRA else (0.6, 0.4) for name in CORRUPTIONS}
SOME = {name: ALL[name] for name in (*STANDARD[:2], *EXTRA[:2])}


def result(accuracy: dict[str, tuple[float, ...]], mean_accuracy: float = 0.99) -> CorruptionResult:
    """As of an older file by default, with a mean over something else."""
    return CorruptionResult("made of the test images", "", (1, 2), accuracy, mean_accuracy)


def test_tables_and_model_cards_say_what_it_is_over() -> None:
    assert corruptions_table("run", result(ALL)).title == (
        "run: accuracy in % on corrupted images (made of the test images); mean over the standard 15: 50.00"
    )
    assert corruptions_table("run", result(SOME)).title.endswith("; mean over 4: 65.00")
    (line,) = [each for each in _notes(made_up(corruptions=result(ALL))) if "corruptions" in each]
    assert line == "Mean accuracy on images of the standard 15 corruptions (made of the test images): 50.00 %."
