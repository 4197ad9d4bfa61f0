from iaat.experiments.sweep.cell import Cell
from iaat.experiments.sweep.preview import cost_of_cells, schedule_differences, time_of_cells
from iaat.experiments.sweep.read_cells import is_sweep, read_cells, select_cells

__all__ = ["Cell", "read_cells", "select_cells", "is_sweep", "schedule_differences", "cost_of_cells", "time_of_cells"]
