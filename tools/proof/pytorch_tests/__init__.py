"""Run PyTorch's own CUDA tests on the simulated card: `python -m tools.proof.pytorch_tests FOLDER --into RESULTS`.

FOLDER holds PyTorch's test files, or a copy of them for another backend (tests/README.md says where there is one). They are
read, and run from a temporary copy; nothing of them comes into the project. Needs `pip install expecttest hypothesis scipy`.
"""
