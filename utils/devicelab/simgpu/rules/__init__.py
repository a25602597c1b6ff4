"""What CUDA refuses, and in which words: read from PyTorch's own files where they say it, written by hand where they do not."""
