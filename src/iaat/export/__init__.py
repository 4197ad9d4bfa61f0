"""Trained models as ONNX, programs of PyTorch, safetensors and folders for the Hugging Face hub."""

from iaat.export.export_run import ExportedModel, export_model

__all__ = ["ExportedModel", "export_model"]
