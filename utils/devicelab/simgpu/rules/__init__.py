"""What CUDA refuses, and in which words: read from PyTorch's own files where they say it, written by hand where they do not.

`decide` asks the others. `published` reads native_functions.yaml and the wheel: most operators need no more. By hand:

- an operator of a kind: `pointwise`, `layers`, `convolution`, `indexing`, `linear_algebra`, `foreach`, `copying`, `sparse`;
  `by_name` puts them together, and a new kind is entered there;
- normalization with a weight of another type: `normalization`; an `out=` that lies elsewhere: `outputs`;
- a type that CUDA's kernel lacks, or that only CUDA's has: `dtypes` (products of integers: `run.integers`; transforms of
  halves: `fourier`); an operator that only one of the two has: `run.only`;
- which kernel attention gets, and why not another: `attention`, with `attention_checks` and `attention_cudnn`;
- a function that checks before it is taken apart into operators: `functions`;
- what determinism forbids: `nondeterministic`; what a kernel asserts, so that it comes late: `asserts`;
- where CUDA makes the host wait: `waits`;
- what NCCL refuses: `collectives`;
- the words of the errors: `refusals`; the register that a rule is entered into: `register`;
- autocast("cuda"): `autocast`, with the operators in `autocast_lists`.
"""
