from iaat.train.loop import train

__all__ = ["train"]
