"""Where a tensor is: a mark on its storage, who may adopt one without, and marking results."""
