"""cuFFT's plans of one card, of which PyTorch keeps those that were used last: aten/src/ATen/native/cuda/CuFFTPlanCache.h."""

from collections.abc import Hashable

MOST = 4096  # CUFFT_DEFAULT_CACHE_SIZE


class Plans:
    """The plans that are kept, the one that was used last at the end."""

    def __init__(self) -> None:
        self.most = MOST
        self.kept: dict[Hashable, None] = {}

    def use(self, plan: Hashable) -> None:
        """Use a plan, and keep it."""
        self.kept.pop(plan, None)
        self.kept[plan] = None
        self._forget()

    def limit(self, most: int) -> None:
        """Keep at most so many."""
        if most < 0:
            raise RuntimeError(f"cuFFT plan cache size must be non-negative, but got {most}")
        self.most = most
        self._forget()

    def _forget(self) -> None:
        for plan in list(self.kept)[: max(0, len(self.kept) - self.most)]:
            del self.kept[plan]
