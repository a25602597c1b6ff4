"""The published times of recordings/published, and the functions whose time they are."""

import csv
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

import devicelab as lab
from benchmarks import models
from devicelab.estimate import Estimate

FOLDER = Path(__file__).parents[1] / "recordings" / "published"
NUMBERS = {"batch": int, "length": int, "value": float, "trained_network_s": float, "roofline_s": float}
TERA = 1e12
FUSED = "PyTorch 2"  # from there on attention is one kernel in timm's models
LOW = {"bfloat16": torch.bfloat16, "float16": torch.float16}
LLAMA = {
    "Llama 3.1 8B": {"hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32},
    "Llama 3.2 1B": {
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 16,
        "tie_word_embeddings": True,
    },
}


@dataclass(frozen=True)
class Published:
    """One published time; `use` says whether an estimate is graded by it, and `why` not."""

    source: str
    place: str
    card: str
    model: str
    mode: str
    precision: str
    value: float
    unit: str
    software: str
    date: str
    use: str
    layout: str = "nchw"
    batch: int = 1
    length: int = 0
    why: str = ""
    trained_network_s: float | None = None
    roofline_s: float | None = None
    origin: str = "published"

    @property
    def seconds(self) -> float:
        """Return the seconds of one call."""
        if self.unit == "images/s":
            return self.batch / self.value
        if self.unit == "TFLOPS":
            rows, inner, columns = self.sizes
            return 2 * rows * inner * columns / (self.value * TERA)
        return self.value / (1e3 if self.unit == "ms" else 1)

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Return a product's rows, columns and inner dimension, as the name says them."""
        first, second, third = (int(part) for part in self.model.removeprefix("product ").split(" x "))
        return first, second, third

    @property
    def library(self) -> bool:
        """Say whether the model is one of the transformers library."""
        return self.source in ("neusight", "ml-engineering") and self.mode != "product"


def cells(folder: Path = FOLDER) -> list[dict[str, Any]]:
    """Return the rows as they stand in the file, numbers as numbers, empty cells left out."""
    with (folder / "times.csv").open(encoding="utf-8", newline="") as file:
        return [
            {name: NUMBERS.get(name, str)(cell) for name, cell in row.items() if cell}
            for row in csv.DictReader(file)
        ]


def times(folder: Path = FOLDER) -> list[Published]:
    """Return the published times."""
    return [Published(**row) for row in cells(folder)]


def sources(folder: Path = FOLDER) -> dict[str, Any]:
    """Return who published them, and what of theirs is not used."""
    return json.loads((folder / "sources.json").read_text(encoding="utf-8"))


def step(row: Published) -> Callable[[], object]:
    """Return the function that was timed, on meta."""
    if row.mode == "product":
        return product(row)
    if row.source == "neusight":
        return words(row)
    return llama(row) if row.library else images(row)


def product(row: Published) -> Callable[[], object]:
    """Return a matrix product."""
    rows, columns, inner = row.sizes
    dtype = LOW.get(row.precision, torch.float32)
    first = torch.empty(rows, inner, dtype=dtype, device="meta")
    second = torch.empty(inner, columns, dtype=dtype, device="meta")
    return lambda: first @ second


def images(row: Published) -> Callable[[], object]:
    """Return a pass over images, or a training step with SGD and momentum."""
    order: Any = torch.channels_last if row.layout == "nhwc" else torch.contiguous_format
    dtype = LOW.get(row.precision, torch.float32)
    with torch.device("meta"):
        model: Any = models.IMAGES[row.model]().to(dtype=dtype)
        model = model.to(memory_format=order)
        x = torch.zeros(row.batch, 3, row.length, row.length, dtype=dtype).contiguous(memory_format=order)
        labels = torch.zeros(row.batch, dtype=torch.int64)
    for part in model.modules():
        if isinstance(part, models.Attention):
            part.fused = row.software.startswith(FUSED)
    mixed = row.precision == "amp"
    if row.mode == "forward":
        model.eval()

        def look() -> None:
            with torch.no_grad(), torch.autocast("cuda", torch.float16, enabled=mixed):
                model(x)

        return look
    optimizer = (
        torch.optim.SGD(model.parameters(), 1e-4, 0.9, nesterov=True) if row.mode == "training step" else None
    )

    def learn() -> None:
        model.zero_grad()
        with torch.autocast("cuda", torch.float16, enabled=mixed):
            loss = F.cross_entropy(model(x), labels)
        loss.backward()
        if optimizer:
            optimizer.step()

    return learn


def words(row: Published) -> Callable[[], object]:
    """Return a pass over texts as NeuSight's authors timed it: backward begins at the outputs, without a loss."""
    training = row.mode != "forward"
    with torch.device("meta"):
        model: nn.Module = models.language(row.model, training).train(training)
        given = {"input_ids": torch.zeros(row.batch, row.length, dtype=torch.int64)}
        if row.model.startswith("bert"):  # which added a mask to every score then
            given["attention_mask"] = torch.zeros(row.batch, 1, 1, row.length)

    def run() -> None:
        with torch.set_grad_enabled(training):
            found = model(**given)
        if training:
            outputs = [
                found[name]
                for name in ("prediction_logits", "seq_relationship_logits", "logits")
                if name in found
            ]
            torch.autograd.backward(outputs, [torch.empty_like(one) for one in outputs])

    return run


def llama(row: Published) -> Callable[[], object]:
    """Return a pass or a training step of a Llama in bfloat16."""
    import transformers as library

    heads = {"num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256}
    config = library.LlamaConfig(**LLAMA[row.model], **heads, max_position_embeddings=8192)
    with torch.device("meta"):
        model = library.LlamaForCausalLM(config).to(torch.bfloat16)
        ids = torch.zeros(row.batch, row.length, dtype=torch.int64)
    if row.mode == "forward":

        def look() -> None:
            with torch.no_grad():
                model(input_ids=ids, use_cache=False)

        return look
    model.train()
    model.gradient_checkpointing_enable()
    optimizer = torch.optim.AdamW(model.parameters()) if row.mode.startswith("training step") else None

    def learn() -> None:
        model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
        if optimizer:
            optimizer.step()

    return learn


@contextmanager
def precision(row: Published) -> Iterator[None]:
    """Let float32 use TF32, or not, as the published run did; convolutions may by default, where the run was not older."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = row.precision == "tf32"
    try:
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=row.precision != "float32"):
            yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def estimate(row: Published) -> Estimate:
    """Return the estimate of what was published."""
    with precision(row):
        return lab.estimate(step(row), gpu=row.card, budget=300)
