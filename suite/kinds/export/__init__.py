"""Deployed models in torch.compile, torch.export and ONNX Runtime."""
