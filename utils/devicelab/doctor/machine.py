"""The evidence about one machine, gathered once: what torch, the driver and the system say."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Gpu:
    """One card as torch or nvidia-smi sees it; sizes in bytes, 0 and None where nobody told."""

    index: int
    name: str
    capability: tuple[int, int] | None = None
    total: int = 0
    used: int = 0
    compute_mode: str = ""

    def __str__(self) -> str:
        sm = f", sm_{self.capability[0]}{self.capability[1]}" if self.capability else ""
        return f"{self.index}: {self.name}{sm}"


@dataclass(frozen=True)
class Holder:
    """A process that holds GPU memory: the name of its program, and bytes."""

    program: str
    bytes: int


@dataclass(frozen=True)
class Machine:
    """What is known of a machine; every field has the value for "nothing found", so that tests can make machines up.

    `visible` is CUDA_VISIBLE_DEVICES now, `visible_at_start` what it was when this process started (None: unset or unknown).
    `cuda_said` is what torch said while it looked for a GPU: the error of starting CUDA, and its warnings. `pci` are the vendors
    of the graphics cards on the bus, `driver_trace` a file or program that only an NVIDIA driver brings. `host` is a service, a
    scheduler or a board with ways of its own (Colab, Kaggle, Jetson, Slurm), `packages` who installs ("conda", "uv", "poetry",
    "pixi" or "" for pip). `mig` are the names of a divided card's parts, `mig_mode` whether one is to be divided. `operators` has
    for each card "ran", or what was said when one operator was run there; it is empty where none was tried.
    """

    system: str = "Linux"
    release: str = ""
    chip: str = "x86_64"
    translated: bool = False
    python: str = "3.12.0"
    executable: str = "python"
    wsl: bool = False
    container: str = ""
    torch: str | None = None
    torch_error: str = ""
    torch_place: str = ""
    cuda_build: str | None = None
    hip_build: str | None = None
    available: bool = False
    initialized: bool = False
    arch_list: tuple[str, ...] = ()
    gpus: tuple[Gpu, ...] = ()
    cuda_said: str = ""
    mps_built: bool = False
    mps_available: bool = False
    driver: str | None = None
    driver_cuda: tuple[int, int] | None = None
    driver_trace: str | None = None
    smi_gpus: tuple[Gpu, ...] = ()
    smi_error: str = ""
    mig_mode: bool = False
    mig: tuple[str, ...] = ()
    holders: tuple[Holder, ...] = ()
    pci: tuple[str, ...] = ()
    device_nodes: tuple[str, ...] = ()
    visible: str | None = None
    visible_at_start: str | None = None
    device_order: str | None = None
    host: str = ""
    packages: str = ""
    distribution: str = ""
    operators: tuple[str, ...] = ()
    simulated: str = ""
    simulation_lacks: tuple[str, ...] = ()

    @property
    def has_nvidia(self) -> bool:
        """Whether there is any sign of an NVIDIA card: on the bus, in the driver, or as a device file."""
        nodes = any(node.startswith("/dev/nvidia") for node in self.device_nodes)
        signs = self.smi_gpus or "NVIDIA" in self.pci or self.driver_trace or nodes
        return bool(signs) or self.host == "Jetson"

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of machine that this one is, as the catalogue of messages names them."""
        system = {"Darwin": "macOS"}.get(self.system, self.system)
        container = "container" if self.container and not self.host else ""
        arm = "aarch64" if self.system == "Linux" and self.chip in ("aarch64", "arm64") else ""
        found = (self.host, "WSL" if self.wsl else "", container, arm, self.packages, system)
        return tuple(kind for kind in found if kind)

    @property
    def usable(self) -> bool:
        """Whether torch says that it can use a GPU here."""
        return self.available or self.mps_available

    @property
    def facts(self) -> list[str]:
        """Everything that was looked at, a line each."""
        torch = f"torch {self.torch}" if self.torch else "no torch"
        built = [("CUDA", self.cuda_build), ("ROCm", self.hip_build)]
        build = next((f"{name} {version}" for name, version in built if version), "the CPU")
        place = [
            word
            for word in (
                self.host,
                "WSL" if self.wsl else "",
                self.container and f"container ({self.container})",
            )
            if word
        ]
        rows = {
            "system": " ".join([self.system, self.release, self.chip, *place]),
            "python": f"{self.python}, {self.executable}"
            + (" (translated by Rosetta)" if self.translated else ""),
            "torch": f"{torch}, built for {build}" if self.torch else torch,
            "torch.cuda.is_available()": str(self.available) if self.torch else "",
            "torch sees": "; ".join(str(gpu) for gpu in self.gpus),
            "torch said": self.cuda_said,
            "wheel's architectures": " ".join(self.arch_list),
            "one operator on each": "; ".join(self.operators),
            "mps": f"built: {self.mps_built}, available: {self.mps_available}"
            if self.system == "Darwin"
            else "",
            "driver": self.driver or self.driver_trace or "none found",
            "driver's CUDA": "{}.{}".format(*self.driver_cuda) if self.driver_cuda else "",
            "nvidia-smi sees": "; ".join(str(gpu) for gpu in self.smi_gpus) or self.smi_error,
            "parts of a divided card (MIG)": "; ".join(self.mig),
            "graphics cards on the bus": ", ".join(self.pci),
            "device files": " ".join(self.device_nodes),
            "names of torch that the simulated GPU misses": ", ".join(self.simulation_lacks),
            "CUDA_VISIBLE_DEVICES": "not set" if self.visible is None else repr(self.visible),
        }
        return [f"{name}: {text}" for name, text in rows.items() if text]
