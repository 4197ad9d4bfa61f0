from iaat.sweep.cell import Cell
from iaat.sweep.facts import cost_of_cells, schedule_differences
from iaat.sweep.read import is_sweep, only, read_cells

__all__ = ["Cell", "read_cells", "only", "is_sweep", "schedule_differences", "cost_of_cells"]
