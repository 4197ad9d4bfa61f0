"""Data sets of samples with stable indices, read from memory or from disk."""

from iaat.data.augment import Augmentation, augment
from iaat.data.batch_order import batch_sizes, epoch_order, sequential_order
from iaat.data.build_data import build_data
from iaat.data.check_data import check_all_samples
from iaat.data.concat_source import ConcatSource
from iaat.data.data_config import DataConfig
from iaat.data.data_splits import DataSplits
from iaat.data.dataset_info import DatasetInfo, read_dataset_info
from iaat.data.extra import ExtraImages
from iaat.data.folder_listing import FolderListing
from iaat.data.folder_scan import scan_folder
from iaat.data.image_folder import folder_splits
from iaat.data.image_split import ImageSplit
from iaat.data.in_memory import InMemorySource
from iaat.data.indexed_dataset import IndexedDataset, with_index
from iaat.data.sample_log import SampleLog
from iaat.data.source import Source
from iaat.data.stratified import stratified_split, stratified_subset
from iaat.data.streaming import StreamingSource
from iaat.data.webdataset import webdataset_splits

__all__ = [
    "Augmentation",
    "DataSplits",
    "DataConfig",
    "DatasetInfo",
    "SampleLog",
    "ExtraImages",
    "FolderListing",
    "ImageSplit",
    "InMemorySource",
    "IndexedDataset",
    "ConcatSource",
    "Source",
    "StreamingSource",
    "augment",
    "batch_sizes",
    "build_data",
    "read_dataset_info",
    "epoch_order",
    "folder_splits",
    "scan_folder",
    "sequential_order",
    "stratified_split",
    "stratified_subset",
    "check_all_samples",
    "webdataset_splits",
    "with_index",
]
