"""Data sets whose samples have stable indices, read from memory or from disk."""

from iaat.data.augment import Augmentation, augment
from iaat.data.build_data import build_data
from iaat.data.bundle import DataBundle
from iaat.data.data_config import DataConfig
from iaat.data.encoded import ImageSplit
from iaat.data.examination import Examination
from iaat.data.extra import ExtraImages
from iaat.data.facts import DataFacts, data_facts
from iaat.data.image_folder import folder_splits
from iaat.data.in_memory import InMemorySource
from iaat.data.indexed_dataset import IndexedDataset, with_index
from iaat.data.joined import JoinedSource
from iaat.data.order import batch_sizes, epoch_order, sequential_order
from iaat.data.scan import FolderListing, scan_folder
from iaat.data.source import Source
from iaat.data.split import stratified_split, stratified_subset
from iaat.data.streaming import StreamingSource
from iaat.data.survey import survey
from iaat.data.webdataset import webdataset_splits

__all__ = [
    "Augmentation",
    "DataBundle",
    "DataConfig",
    "DataFacts",
    "Examination",
    "ExtraImages",
    "FolderListing",
    "ImageSplit",
    "InMemorySource",
    "IndexedDataset",
    "JoinedSource",
    "Source",
    "StreamingSource",
    "augment",
    "batch_sizes",
    "build_data",
    "data_facts",
    "epoch_order",
    "folder_splits",
    "scan_folder",
    "sequential_order",
    "stratified_split",
    "stratified_subset",
    "survey",
    "webdataset_splits",
    "with_index",
]
