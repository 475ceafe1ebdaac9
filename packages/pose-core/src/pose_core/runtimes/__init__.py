"""What computes a network on a CPU: PyTorch, ONNX Runtime or OpenVINO, whichever was measured to be the fastest."""
