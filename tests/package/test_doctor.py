"""Machines made up from real messages: each diagnosis by its evidence, with one command, and nothing private."""

import getpass
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import devicelab
from devicelab import simulate_gpu
from devicelab.doctor import Gpu, Holder, Machine, Report, doctor, probe
from devicelab.doctor import evidence as looking
from devicelab.doctor import place as placing
from devicelab.doctor.diagnoses import diagnose
from devicelab.doctor.missing import MISSING
from devicelab.doctor.report import private
from devicelab.doctor.script import read_script
from devicelab.doctor.usable import USABLE
from devicelab.errors import InputError
from tools.notebooks import warm

GIB = 2**30
T4 = Gpu(0, "Tesla T4", (7, 5), 15 * GIB)
A100 = Gpu(0, "NVIDIA A100-SXM4-40GB", (8, 0), 40 * GIB)
RTX5090 = Gpu(0, "NVIDIA GeForce RTX 5090", (12, 0), 32 * GIB)
GTX960 = Gpu(0, "NVIDIA GeForce GTX 960", (5, 2), 4 * GIB)
SMI_T4 = Gpu(0, "Tesla T4", None, 15 * GIB, 3 * 2**20, "Default")
ARCHS = ("sm_70", "sm_75", "sm_80", "sm_86", "sm_90")

CPU_WHEEL = Machine(torch="2.13.0+cpu")
CUDA_WHEEL = Machine(torch="2.13.0+cu126", cuda_build="12.6")
WITH_CARD: dict[str, Any] = {
    "driver": "550.54.15",
    "driver_cuda": (12, 4),
    "driver_trace": "/proc/driver/nvidia/version",
    "smi_gpus": (SMI_T4,),
    "device_nodes": ("/dev/nvidia0",),
}
GOOD = replace(CUDA_WHEEL, available=True, gpus=(T4,), arch_list=ARCHS, operators=("ran",), **WITH_CARD)
TWO = replace(GOOD, gpus=(T4, replace(T4, index=1)), smi_gpus=(SMI_T4, SMI_T4), operators=("ran", "ran"))
MAC = Machine(system="Darwin", release="15.3", chip="arm64", torch="2.13.0", mps_built=True)

# What torch and nvidia-smi say, in their own words; sources: docs/sources.md.
NO_DRIVER = (
    "Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU and installed a driver from "
    "http://www.nvidia.com/Download/index.aspx"
)
TOO_OLD = (
    "CUDA initialization: The NVIDIA driver on your system is too old (found version 11040). Please update your GPU driver by "
    "downloading and installing a new version from the URL: http://www.nvidia.com/Download/index.aspx Alternatively, go to: "
    "https://pytorch.org to install a PyTorch version that has been compiled with your version of the CUDA driver."
)
UNKNOWN_ERROR = (
    "CUDA initialization: CUDA unknown error - this may be due to an incorrectly set up environment, e.g. changing env variable "
    "CUDA_VISIBLE_DEVICES after program start. Setting the available devices to be zero."
)
NOT_INITIALIZED = (
    "CUDA initialization: Unexpected error from cudaGetDeviceCount(). Did you run some cuda functions before calling "
    "NumCudaDevices() that might have already set an error? Error 802: system not yet initialized"
)
NO_COMMUNICATION = (
    "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the latest NVIDIA driver is "
    "installed and running."
)
MISMATCH = "Failed to initialize NVML: Driver/library version mismatch NVML library version: 570.133"
BLOCKED = "Failed to initialize NVML: GPU access blocked by the operating system"
BUSY = "CUDA error: all CUDA-capable devices are busy or unavailable"
NO_GPUS = "No CUDA GPUs are available"

PARTS = ("MIG 1g.5gb Device 0", "MIG 1g.5gb Device 1")
HERE = str(Path(devicelab.__file__).parents[1])

NO_LIBCUDA = (
    "Could not load library libcudnn_cnn_infer.so.8. Error: libcuda.so: cannot open shared object file: "
    "No such file or directory"
)
NO_DLL = (
    "OSError: [WinError 126] The specified module could not be found. "
    r'Error loading "C:\py\Lib\site-packages\torch\lib\shm.dll" or one of its dependencies.'
)
ORIN = Gpu(0, "Orin", (8, 7), 30 * GIB)
K80 = Gpu(0, "Tesla K80", (3, 7), 11 * GIB)
GTX1080 = Gpu(0, "NVIDIA GeForce GTX 1080", (6, 1), 8 * GIB)
V100 = Gpu(0, "Tesla V100-SXM2-16GB", (7, 0), 16 * GIB)
SMI_K80 = Gpu(0, "Tesla K80", None, 11 * GIB)
AMD = Machine(
    torch="2.13.0+rocm6.4",
    hip_build="6.4",
    available=True,
    gpus=(Gpu(0, "AMD Radeon RX 6700 XT", (10, 3)),),
    operators=("ran",),
)

# name: machine, kind, words of the sentence, words of the evidence, words of the command
CASES = {
    "CPU-only wheel beside a card": (
        replace(CPU_WHEEL, **WITH_CARD), "cpu wheel", "built for the CPU only", ("2.13.0+cpu", "Tesla T4", "550.54.15"),
        "pip install --force-reinstall torch --index-url https://download.pytorch.org/whl/cu126",
    ),
    "CPU-only wheel on Windows": (
        replace(CPU_WHEEL, system="Windows", driver_trace=r"C:\Windows\System32\nvcuda.dll"), "cpu wheel", "CPU only",
        ("nvcuda.dll",), "--index-url https://download.pytorch.org/whl/cu128",
    ),
    "CPU-only wheel, new driver": (
        replace(CPU_WHEEL, **{**WITH_CARD, "driver_cuda": (13, 0)}), "cpu wheel", "CPU only", ("None",),
        "python -m pip install --force-reinstall torch",
    ),
    "hidden by an empty variable": (
        replace(CUDA_WHEEL, visible="", cuda_said=NO_GPUS, **WITH_CARD), "hidden", "hides every card",
        ("CUDA_VISIBLE_DEVICES=", "Tesla T4"), "unset CUDA_VISIBLE_DEVICES",
    ),
    "hidden by -1": (
        replace(CUDA_WHEEL, visible="-1", cuda_said=NO_GPUS, **WITH_CARD), "hidden", "'-1'", ("Tesla T4",),
        "unset CUDA_VISIBLE_DEVICES",
    ),
    "hidden by a number that is not there": (
        replace(CUDA_WHEEL, visible="3", cuda_said=NO_GPUS, **WITH_CARD), "hidden", "'3'", ("nvidia-smi sees 1",), "unset",
    ),
    "hidden on Windows": (
        replace(CUDA_WHEEL, system="Windows", visible="-1", **WITH_CARD), "hidden", "hides", ("Tesla T4",), "Remove-Item Env:",
    ),
    "driver too old": (
        replace(CUDA_WHEEL, cuda_said=TOO_OLD, **{**WITH_CARD, "driver": "470.82", "driver_cuda": (11, 4)}), "old driver",
        "too old", ("found version 11040", "470.82"), "whl/cu118",
    ),
    "a card and no driver": (
        replace(CUDA_WHEEL, cuda_said=NO_DRIVER, pci=("Intel", "NVIDIA")), "no driver", "no NVIDIA driver", ("Intel, NVIDIA",),
        "sudo ubuntu-drivers install",
    ),
    "a card and no driver, CPU wheel": (
        replace(CPU_WHEEL, pci=("NVIDIA",)), "no driver", "no NVIDIA driver", ("built for the CPU only",), "ubuntu-drivers",
    ),
    "the kernel module is not loaded": (
        replace(CUDA_WHEEL, cuda_said=NO_DRIVER, pci=("NVIDIA",), driver_trace="/usr/bin/nvidia-smi", smi_error=NO_COMMUNICATION),
        "driver not loaded", "kernel module", ("couldn't communicate",), "sudo modprobe nvidia",
    ),
    "the driver was updated": (
        replace(CUDA_WHEEL, cuda_said=NO_GPUS, driver_trace="/proc/driver/nvidia/version", smi_error=MISMATCH), "driver mismatch",
        "restarted", ("Driver/library version mismatch",), "sudo reboot",
    ),
    "after the machine slept": (
        replace(CUDA_WHEEL, cuda_said=UNKNOWN_ERROR, **WITH_CARD), "cuda unknown error", "slept", ("CUDA unknown error",),
        "modprobe nvidia_uvm",
    ),
    "no fabric manager": (
        replace(CUDA_WHEEL, cuda_said=NOT_INITIALIZED, **WITH_CARD), "fabric manager", "fabric manager", ("Error 802",),
        "nvidia-fabricmanager",
    ),
    "the card is closed": (
        replace(CUDA_WHEEL, cuda_said=BUSY, **{**WITH_CARD, "smi_gpus": (replace(SMI_T4, compute_mode="Exclusive_Process"),)}),
        "closed", "holds it alone", ("busy or unavailable", "Exclusive_Process"), "nvidia-smi -q -d COMPUTE",
    ),
    "WSL without the card": (
        replace(CUDA_WHEEL, wsl=True, release="5.15.153.1-microsoft-standard-WSL2", cuda_said=NO_DRIVER), "wsl", "WSL",
        ("/dev/dxg does not exist",), "wsl.exe --update",
    ),
    "WSL without the driver in Windows": (
        replace(CUDA_WHEEL, wsl=True, device_nodes=("/dev/dxg",), cuda_said=NO_DRIVER), "wsl driver", "installed in Windows",
        ("libcuda.so.1 does not",), "powershell.exe -Command nvidia-smi",
    ),
    "ROCm without a card": (
        Machine(torch="2.13.0+rocm6.4", hip_build="6.4", cuda_said="No HIP GPUs are available"), "rocm", "ROCm",
        ("/dev/kfd, ROCm's device, does not exist", "No HIP GPUs"), "rocminfo",
    ),
    "a container without the card": (
        replace(CUDA_WHEEL, container="docker", cuda_said=NO_DRIVER, pci=("NVIDIA",), driver_trace="/proc/driver/nvidia/version"),
        "container", "container", ("no /dev/nvidia*",), "docker run --rm --gpus all",
    ),
    "no card at all": (
        replace(CPU_WHEEL, pci=("Intel",)), "other vendor", "Intel", ("Intel",), "whl/xpu",
    ),
    "an AMD card": (
        replace(CPU_WHEEL, pci=("AMD",)), "other vendor", "AMD", ("AMD",), "whl/rocm",
    ),
    "no graphics card at all": (
        CPU_WHEEL, "no card", "No NVIDIA card", ("neither a driver", "built for the CPU only"), "compare --gpu 'Tesla T4'",
    ),
    "a CUDA wheel on a machine without a card": (
        replace(CUDA_WHEEL, cuda_said=NO_DRIVER), "no card", "No NVIDIA card", ("Found no NVIDIA driver",), "compare --gpu",
    ),
    "Rosetta": (
        replace(MAC, chip="x86_64", translated=True), "rosetta", "Rosetta", ("proc_translated is 1",), "osx-arm64",
    ),
    "an Intel Mac": (replace(MAC, chip="x86_64"), "intel mac", "Intel Mac", ("macOS 15.3",), "compare --gpu"),
    "an old macOS": (replace(MAC, release="13.6"), "old macos", "macOS 13.6 is too old", ("is_available() is False",),
        "softwareupdate",
    ),
    "mps not built": (replace(MAC, mps_built=False), "mps not built", "without mps", ("is_built() is False",), "pip install"),
    "no torch": (
        Machine(torch_error="ModuleNotFoundError: No module named 'torch'"), "no torch", "not installed", ("No module named",),
        "pip install torch",
    ),
    "broken torch": (
        Machine(torch_error="OSError: libcublas.so.12: cannot open shared object file: No such file or directory"),
        "broken torch",
        "cannot be loaded", ("libcublas.so.12",), "pip install --force-reinstall torch",
    ),
    "card newer than the wheel": (
        replace(GOOD, gpus=(RTX5090,), driver_cuda=(12, 8)), "architecture",
        "newer than this wheel", ("sm_120", "sm_90"), "whl/cu128",
    ),
    "card older than the wheel": (
        replace(GOOD, gpus=(GTX960,)), "architecture", "older than this wheel", ("sm_52", "sm_70"), "whl/cu126",
    ),
    "the variable was set too late": (
        replace(GOOD, gpus=(A100, replace(A100, index=1)), visible="1", initialized=True, operators=("ran", "ran")),
        "set too late",
        "after CUDA had started",
        ("None at the start", "'1' now", "torch still sees 2"), "CUDA_VISIBLE_DEVICES=1 python",
    ),
    "some cards are hidden": (
        replace(GOOD, visible="1", visible_at_start="1", smi_gpus=(SMI_T4, replace(SMI_T4, index=1))),
        "some hidden", "1 of 2 cards",
        ("CUDA_VISIBLE_DEVICES=1",), "unset",
    ),
    "the cards are counted differently": (
        replace(GOOD, gpus=(A100, replace(T4, index=1)), smi_gpus=(SMI_T4, replace(SMI_T4, index=1, name=A100.name))),
        "numbering",
        "count the cards differently", ("torch: 0: NVIDIA A100", "nvidia-smi: 0: Tesla T4"), "CUDA_DEVICE_ORDER=PCI_BUS_ID",
    ),
    "Colab without a GPU": (
        replace(CUDA_WHEEL, host="Colab", container="docker", cuda_said=NO_DRIVER), "no gpu runtime", "Colab session",
        ("no sign of",), "Runtime > Change runtime type",
    ),
    "a Jetson with the wheel of PyPI": (
        replace(CPU_WHEEL, host="Jetson", chip="aarch64", release="5.15.148-tegra"), "jetson wheel", "JetPack",
        ("5.15.148-tegra",), "pypi.jetson-ai-lab.io",
    ),
    "Orin with a wheel for desktop cards": (
        replace(GOOD, host="Jetson", chip="aarch64", gpus=(ORIN,), arch_list=("sm_80", "sm_86", "sm_90")), "architecture",
        "than this wheel", ("sm_87",), "pypi.jetson-ai-lab.io",
    ),
    "CPU-only wheel on aarch64": (
        replace(CPU_WHEEL, chip="aarch64", **{**WITH_CARD, "driver_cuda": (13, 0)}), "cpu wheel", "CPU only", ("T4",),
        "whl/cu128",
    ),
    "CPU-only wheel in an environment of uv": (
        replace(CPU_WHEEL, packages="uv", **WITH_CARD), "cpu wheel", "CPU only", ("T4",), "uv pip install --python python",
    ),
    "driver too old on Windows": (
        replace(CUDA_WHEEL, system="Windows", cuda_said=TOO_OLD, driver_trace="nvcuda.dll"), "old driver", "too old",
        ("11040",), "start https://www.nvidia.com/drivers",
    ),
    "a card and no driver on Fedora": (
        replace(CUDA_WHEEL, distribution="fedora", cuda_said=NO_DRIVER, pci=("NVIDIA",)), "no driver", "no NVIDIA driver",
        ("NVIDIA",), "sudo dnf install akmod-nvidia",
    ),
    "Kepler, whose driver knows CUDA 11.4": (
        replace(CUDA_WHEEL, cuda_said=TOO_OLD, **{**WITH_CARD, "driver_cuda": (11, 4), "smi_gpus": (SMI_K80,)}), "old driver",
        "too old", ("11040",), "torch==1.12.1+cu113",
    ),
    "Kepler, older than the wheel": (
        replace(GOOD, gpus=(K80,)), "architecture", "older than this wheel", ("sm_37",), "torch==1.12.1+cu113",
    ),
    "Pascal, whose driver knows CUDA 13": (
        replace(CPU_WHEEL, **{**WITH_CARD, "driver_cuda": (13, 0), "smi_gpus": (GTX1080,)}), "cpu wheel", "CPU only",
        ("GTX 1080",), "whl/cu126",
    ),
    "Pascal on Windows": (
        replace(CPU_WHEEL, system="Windows", **{**WITH_CARD, "driver_cuda": (12, 9), "smi_gpus": (GTX1080,)}), "cpu wheel",
        "CPU only", ("GTX 1080",), "whl/cu126",
    ),
    "Volta, whose driver is too old for CUDA 13": (
        replace(CUDA_WHEEL, cuda_said=TOO_OLD, **{**WITH_CARD, "driver_cuda": (12, 8), "smi_gpus": (V100,)}), "old driver",
        "too old", ("11040",), "whl/cu126",
    ),
    "Blackwell, whose driver knows CUDA 12.8": (
        replace(CPU_WHEEL, **{**WITH_CARD, "driver_cuda": (12, 8), "smi_gpus": (RTX5090,)}), "cpu wheel", "CPU only",
        ("RTX 5090",), "whl/cu128",
    ),
    "Blackwell, whose driver is older than its first wheel": (
        replace(CPU_WHEEL, **{**WITH_CARD, "smi_gpus": (RTX5090,)}), "cpu wheel", "CPU only", ("RTX 5090",),
        "sudo ubuntu-drivers install",
    ),
    "an old card beside a new one": (
        replace(CPU_WHEEL, **{**WITH_CARD, "driver_cuda": (13, 0), "smi_gpus": (GTX1080, RTX5090)}), "cpu wheel", "CPU only",
        ("GTX 1080",), "python -m pip install --force-reinstall torch",
    ),
    "Kepler before the K80": (
        replace(CPU_WHEEL, **{**WITH_CARD, "driver_cuda": (11, 4), "smi_gpus": (Gpu(0, "Tesla K40m"),)}), "cpu wheel",
        "CPU only", ("K40m",), "python3.7 -m pip install torch==1.2.0",
    ),
    "Kepler that no wheel ever had": (
        replace(CPU_WHEEL, **{**WITH_CARD, "driver_cuda": (11, 4), "smi_gpus": (Gpu(0, "GeForce GTX 680"),)}), "cpu wheel",
        "CPU only", ("GTX 680",), "compare --gpu 'Tesla T4'    # no wheel",
    ),
    "hidden by a name in place of a number": (
        replace(CUDA_WHEEL, visible="cuda:0", cuda_said=NO_GPUS, **WITH_CARD), "hidden", "'cuda:0'",
        ("neither a number nor a UUID",), "unset CUDA_VISIBLE_DEVICES",
    ),
    "hidden by a UUID of another machine": (
        replace(CUDA_WHEEL, visible="GPU-deadbeef", cuda_said=NO_GPUS, **WITH_CARD), "hidden", "'GPU-deadbeef'",
        ("no card or part of one has a UUID",), "nvidia-smi -L",
    ),
    "a driver under which no card came up": (
        replace(CUDA_WHEEL, cuda_said=NO_GPUS, pci=("NVIDIA",), driver_trace="/usr/bin/nvidia-smi",
                smi_error="No devices were found"),
        "smi finds no device", "no card came up", ("it said: No devices were found",), "dmesg",
    ),
    "WSL to which Windows gives nothing": (
        replace(CUDA_WHEEL, wsl=True, device_nodes=("/dev/dxg",), cuda_said=NO_GPUS, driver_trace="/usr/lib/wsl/lib/libcuda.so.1",
                smi_error=BLOCKED),
        "wsl blocked", "does not let it use the card", ("blocked by the operating system",), "wsl.exe --update",
    ),
    "the driver was updated under a container without a device file": (
        replace(CUDA_WHEEL, container="docker", cuda_said=NO_GPUS, smi_error=MISMATCH), "driver mismatch", "restarted",
        ("mismatch",), "sudo reboot    # on the host",
    ),
    "CPU-only wheel in an environment of poetry": (
        replace(CPU_WHEEL, packages="poetry", **{**WITH_CARD, "driver_cuda": (13, 0)}), "cpu wheel", "CPU only", ("T4",),
        "poetry source add --priority=explicit pytorch-gpu https://download.pytorch.org/whl/cu128 && poetry add --source",
    ),
    "CPU-only wheel in an environment of pixi": (
        replace(CPU_WHEEL, packages="pixi", **WITH_CARD), "cpu wheel", "CPU only", ("T4",),
        'pixi add pytorch-gpu    # first in pixi.toml: platforms = [{ platform = "linux-64", cuda = "12.0" }]',
    ),
    "a job of Slurm without a card": (
        replace(CUDA_WHEEL, host="Slurm", visible="NoDevFiles", cuda_said=NO_GPUS, **WITH_CARD), "hidden", "'NoDevFiles'",
        ("Tesla T4",), "srun --gres=gpu:1",
    ),
    "a container of podman": (
        replace(CUDA_WHEEL, container="podman", cuda_said=NO_DRIVER), "container", "container", ("podman",),
        "podman run --rm --device nvidia.com/gpu=all",
    ),
    "a pod of Kubernetes": (
        replace(CUDA_WHEEL, container="kubernetes", cuda_said=NO_DRIVER), "container", "container", ("kubernetes",),
        "nvidia.com/gpu: 1",
    ),
    "the driver was updated under a container": (
        replace(CUDA_WHEEL, container="docker", cuda_said=NO_GPUS, device_nodes=("/dev/nvidia0",), smi_error=MISMATCH),
        "driver mismatch", "restarted", ("mismatch",), "sudo reboot    # on the host",
    ),
    "Kepler on Windows": (
        replace(GOOD, system="Windows", gpus=(K80,)), "architecture", "older than this wheel", ("sm_37",), "py -3.10 -m pip",
    ),
    "set too late on Windows": (
        replace(GOOD, system="Windows", gpus=(A100, replace(A100, index=1)), visible="1", operators=("ran", "ran")),
        "set too late", "after CUDA had started", ("'1' now",), '$env:CUDA_VISIBLE_DEVICES = "1"; python train.py',
    ),
    "a card in MIG mode that nobody divided": (
        replace(CUDA_WHEEL, mig_mode=True, cuda_said=NO_GPUS, **WITH_CARD), "mig", "no part of it was made",
        ("mig.mode.current",), "nvidia-smi mig -cgi 0 -C",
    ),
    "one part of a divided card": (
        replace(GOOD, mig_mode=True, mig=PARTS), "mig", "one part at a time, and there are 2",
        ("MIG 1g.5gb Device 1", "torch sees 0: Tesla T4"), "CUDA_VISIBLE_DEVICES=MIG-... python train.py",
    ),
    "after the machine slept, in WSL": (
        replace(CUDA_WHEEL, wsl=True, cuda_said=UNKNOWN_ERROR, **{**WITH_CARD, "device_nodes": ("/dev/dxg",)}),
        "cuda unknown error", "slept", ("CUDA unknown error",), "wsl.exe --shutdown",
    ),
    "a card of AMD without code in the wheel": (
        replace(AMD, operators=("AcceleratorError: HIP error: invalid device function",)), "hip invalid device function",
        "no code for this AMD card", ("one operator on 0: AMD Radeon RX 6700 XT",), "HSA_OVERRIDE_GFX_VERSION",
    ),
    "a card that computes nothing": (
        replace(GOOD, operators=("RuntimeError: something new",)), "operator failed", "one operator",
        ("something new",),
        "torch.ones(2, device='cuda')",
    ),
    "WSL, where cuDNN ends the process": (
        replace(GOOD, wsl=True, operators=(f"the process ended with -6 and said: {NO_LIBCUDA}",)), "libcuda in wsl",
        "under the name libcuda.so.1", ("libcudnn_cnn_infer",), "LD_LIBRARY_PATH=/usr/lib/wsl/lib",
    ),
    "a card that nobody tried": (
        replace(GOOD, operators=()), "untried", "no operator was run", ("is_available()",), "torch.ones(2, device='cuda')",
    ),
    "a Mac's GPU that nobody tried": (
        replace(MAC, mps_available=True), "untried", "no operator was run", ("is_available()",), "torch.ones(2, device='mps')",
    ),
    "torch with another NCCL in its way": (
        Machine(torch_error="ImportError: libtorch_cuda.so: undefined symbol: ncclCommRegister"), "broken torch", "older NCCL",
        ("ncclCommRegister",), "env -u LD_LIBRARY_PATH",
    ),
    "torch with a new MKL": (
        Machine(torch_error="ImportError: libtorch_cpu.so: undefined symbol: iJIT_NotifyEvent"), "broken torch", "MKL 2024.1",
        ("iJIT_NotifyEvent",), "mkl<2024.1",
    ),
    "torch without Visual C++": (
        Machine(system="Windows", torch_error=NO_DLL), "broken torch", "Visual C++", ("WinError 126",), "VCRedist",
    ),
    "memory taken by others": (
        replace(GOOD, smi_gpus=(replace(SMI_T4, used=14 * GIB),), holders=(Holder("python3", 14 * GIB),)), "memory taken",
        "14.0 GiB of the 15.0 GiB of Tesla T4", ("python3 holds 14.0 GiB",), "nvidia-smi",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_diagnosis_with_its_evidence_and_one_command(name):
    machine, kind, sentence, evidence, command = CASES[name]
    found = diagnose(machine)
    assert found[0].kind == kind, found
    assert sentence in found[0].sentence
    for words in evidence:
        assert words in " | ".join(found[0].evidence)
    assert command in found[0].command and "\n" not in found[0].command
    text = str(Report(machine, tuple(found)))
    assert found[0].sentence in text and found[0].command in text and "evidence:" in text


@pytest.mark.parametrize("driver_says", [TOO_OLD, UNKNOWN_ERROR])
def test_a_uuid_hides_nothing_where_another_reason_is_told(driver_says):
    machine = replace(CUDA_WHEEL, visible="GPU-5d5ba0d6", cuda_said=driver_says, **WITH_CARD)
    assert diagnose(machine)[0].kind != "hidden"


def test_the_doctor_does_not_send_to_itself():
    [found] = diagnose(replace(CUDA_WHEEL, cuda_said=NO_GPUS, **WITH_CARD))
    assert found.kind == "no device" and "devicelab" not in found.command and "torch.zeros" in found.command


def test_every_check_has_a_case_in_which_it_speaks():
    kinds = {diagnose(machine)[0].kind for machine, *_ in CASES.values()}
    for check in (*MISSING, *USABLE):
        spoken = [finding.kind for machine, *_ in CASES.values() if (finding := check(machine))]
        assert kinds.intersection(spoken), check.__name__


@pytest.mark.parametrize(
    "machine",
    [
        GOOD,
        replace(GOOD, visible="0", visible_at_start="0"),
        replace(MAC, mps_available=True, operators=("ran",)),
    ],
)
def test_a_good_machine_is_left_in_peace(machine):
    report = Report(machine, tuple(diagnose(machine)))
    assert report.ok and report.exit_code == 0 and "Nothing is wrong" in str(report)


@pytest.mark.parametrize(
    "machine",
    [
        replace(CUDA_WHEEL, **WITH_CARD),
        replace(CUDA_WHEEL, cuda_said="CUDA error: something new", **WITH_CARD),
        MAC,
    ],
)
def test_what_fits_no_reason_is_said_to_be_unknown(machine):
    [found] = diagnose(machine)
    assert found.kind == "unknown" and "none of the reasons" in found.sentence
    assert "torch said" in found.evidence[0] and "import torch" in found.command
    assert Report(machine, (found,)).exit_code == 1


def test_a_report_holds_no_names_of_people_or_computers(monkeypatch):
    monkeypatch.setattr("getpass.getuser", lambda: "annabel")
    monkeypatch.setattr("platform.node", lambda: "annas-laptop")
    machine = replace(
        CPU_WHEEL,
        executable=f"{Path.home()}/env/bin/python",
        torch_place="/home/annabel/env/lib/torch",
        cuda_said=r"annabel on annas-laptop loaded C:\Users\annabel\x.dll and /Users/annabel/y",
    )
    report = Report(machine, tuple(diagnose(machine)))
    for text in (str(report), report.to_json(), report._repr_html_()):
        assert "annabel" not in text and "annas-laptop" not in text and str(Path.home()) + "/env" not in text
    assert "~/env/bin/python" in str(report)


def test_privacy_leaves_other_words_alone():
    assert private("nvidia-smi sees 0: Tesla T4") == "nvidia-smi sees 0: Tesla T4"
    assert private("/home/bob/x/y.py and /dev/nvidia0") == "~/x/y.py and /dev/nvidia0"


def test_json_has_everything():
    machine = CASES["memory taken by others"][0]
    data = json.loads(Report(machine, tuple(diagnose(machine))).to_json())
    assert data["ok"] is False and data["findings"][0]["kind"] == "memory taken"
    assert data["machine"]["smi_gpus"][0]["used"] == 14 * GIB


SMI_TABLE = "0, Tesla T4, 550.54.15, 15360, 3, Default\n1, NVIDIA H100 80GB HBM3, 550.54.15, 81559, 70000, Exclusive_Process\n"
SMI_HEADING = "| NVIDIA-SMI 550.54.15              Driver Version: 550.54.15      CUDA Version: 12.4     |"
SMI_CAPABILITY = "0, 7.5\n1, 9.0\n"
SMI_APPS = "/home/bob/env/bin/python, 69000\nC:\\Games\\game.exe, 512\n[Not Found], [N/A]\n"


def test_what_nvidia_smi_says_is_read(monkeypatch):
    answers = {
        looking._SMI_GPUS: (0, SMI_TABLE),
        looking._SMI_APPS: (0, SMI_APPS),
        looking._SMI_CAPABILITY: (0, SMI_CAPABILITY),
    }
    monkeypatch.setattr(
        looking, "_run", lambda *command: answers.get(command[1] if command[1:] else "", (0, SMI_HEADING))
    )
    monkeypatch.setattr("shutil.which", lambda name: sys.executable)
    facts = looking._driver()
    assert facts["driver"] == "550.54.15" and facts["driver_cuda"] == (12, 4)
    assert [gpu.name for gpu in facts["smi_gpus"]] == ["Tesla T4", "NVIDIA H100 80GB HBM3"]
    assert (
        facts["smi_gpus"][1].used == 70000 * 2**20
        and facts["smi_gpus"][1].compute_mode == "Exclusive_Process"
    )
    assert [gpu.capability for gpu in facts["smi_gpus"]] == [(7, 5), (9, 0)]
    assert facts["holders"] == (Holder("python", 69000 * 2**20), Holder("game.exe", 512 * 2**20))


def test_a_driver_that_knows_no_capabilities_is_asked_in_vain():
    assert looking.capabilities('Field "compute_cap" is not a valid field to query.') == {}
    assert looking.capabilities("0, [N/A]\n") == {}


MIG_LIST = """GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-e86cb44c-6756-fd30-cd4a-1e6da3caf9b0)
  MIG 1g.5gb      Device  0: (UUID: MIG-c6d4f1ef-42e4-5de3-91c7-45d71c87eb3f)
  MIG 3g.20gb     Device  1: (UUID: MIG-cba663e8-9bed-5b25-b243-5985ef7c9beb)
"""


def test_the_parts_of_a_divided_card_are_read_without_their_numbers():
    assert looking.mig_parts(MIG_LIST) == ("MIG 1g.5gb      Device  0", "MIG 3g.20gb     Device  1")
    assert looking.mig_parts(MIG_LIST.splitlines()[0]) == ()


@pytest.mark.parametrize(
    ("prefix", "variables", "found"),
    [
        ("/w/.pixi/envs/default", {}, "pixi"),
        ("/c/pypoetry/virtualenvs/x-py3.12", {}, "poetry"),
        ("/w/.venv", {"POETRY_ACTIVE": "1"}, "poetry"),
        ("/w/.venv", {}, ""),
    ],
)
def test_who_installs_is_known_by_the_environment(prefix, variables, found, monkeypatch):
    monkeypatch.setattr(sys, "prefix", prefix)
    monkeypatch.delenv("POETRY_ACTIVE", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert placing.place()["packages"] == found


def test_a_job_of_slurm_is_known_by_its_number(monkeypatch):
    monkeypatch.setattr("os.environ", {"SLURM_JOB_ID": "17"})
    assert placing.place()["host"] == "Slurm"


def test_nvidia_smi_that_fails_is_quoted(monkeypatch):
    monkeypatch.setattr(looking, "_run", lambda *command: (9, MISMATCH))
    monkeypatch.setattr("shutil.which", lambda name: sys.executable)
    assert looking._driver()["smi_error"] == MISMATCH


def test_what_nvidia_smi_says_does_not_steer_the_terminal():
    assert looking.one_line("\x1b[31mNo devices\x07 were\nfound\n") == "[31mNo devices were found"


def test_a_question_that_cannot_be_asked_stops_nothing(monkeypatch):
    def broken(*_):
        raise PermissionError("no")

    for name in ("_system", "_surroundings", "_driver"):
        monkeypatch.setattr(looking, name, broken)
    assert looking.gather().torch is not None


def test_on_this_machine_and_twice_the_same():
    first, second = doctor(), doctor()
    assert [found.kind for found in first.findings] == [found.kind for found in second.findings]
    assert getpass.getuser() == "root" or getpass.getuser() not in str(first)


def test_a_simulated_gpu_is_not_taken_for_a_real_one():
    with simulate_gpu("NVIDIA L4"):
        report = doctor()
    assert report.findings[0].kind == "simulated" and not report.machine.available and report.exit_code == 1
    assert "NVIDIA L4" in str(report)


LATE = "import os\nimport torch\nprint(torch.cuda.device_count())\nos.environ['CUDA_VISIBLE_DEVICES'] = '1'\n"


@pytest.mark.parametrize(
    ("text", "late"),
    [
        (LATE, True),
        ("import os, torch\nx = torch.zeros(3).cuda()\nos.environ['CUDA_VISIBLE_DEVICES'] = '1'", True),
        ("import os, torch\nx = torch.zeros(3, device='cuda')\nos.environ.update(CUDA_VISIBLE_DEVICES='1')", True),
        ("import os\nos.environ['CUDA_VISIBLE_DEVICES'] = '1'\nimport torch\ntorch.zeros(3).cuda()", False),
        ("import os, torch\ndevice = torch.device('cuda')\nos.environ['CUDA_VISIBLE_DEVICES'] = '1'", False),
        ("import torch\ndef f():\n    return torch.cuda.device_count()\nos.environ['CUDA_VISIBLE_DEVICES'] = '1'", False),
        ("import torch\ntorch.zeros(3).cuda()", False),
    ],
)  # fmt: skip
def test_a_script_that_sets_the_variable_too_late(text, late, tmp_path):
    path = tmp_path / "train.py"
    path.write_text(text)
    [found] = read_script(path, TWO) or [None]
    assert (found is not None) is late
    if found:
        assert "line " in found.evidence[0] and found.command == "CUDA_VISIBLE_DEVICES=1 python train.py"


IN_MAIN = """import os
import torch

def main():
    model = torch.nn.Linear(2, 2).cuda()
    os.environ["CUDA_VISIBLE_DEVICES"] = "1"

if __name__ == "__main__":
    main()
"""
IN_A_BRANCH = """import os, torch
if torch.cuda.device_count() > 1:
    os.environ["CUDA_VISIBLE_DEVICES"] = "1"
"""


@pytest.mark.parametrize(("text", "lines"), [(IN_MAIN, (5, 6)), (IN_A_BRANCH, (2, 3))])
def test_functions_and_branches_are_read_where_they_run(text, lines, tmp_path):
    (tmp_path / "train.py").write_text(text)
    [found] = read_script(tmp_path / "train.py", TWO)
    assert [
        int(word.split()[1])
        for word in (part.partition(" uses")[0].partition(" sets")[0] for part in found.evidence)
    ] == [*lines]


@pytest.mark.parametrize(
    "text",
    [
        "import os, torch\ndef setup():\n    os.environ['CUDA_VISIBLE_DEVICES'] = '1'\nsetup()\ntorch.zeros(3).cuda()",
        "import os, torch\ntorch.cuda.manual_seed(0)\nos.environ['CUDA_VISIBLE_DEVICES'] = '1'",
        "import os, torch\ntorch.zeros(3).cuda()\nprint(os.environ['CUDA_VISIBLE_DEVICES'])",
    ],
)
def test_what_is_set_in_time_or_only_read_is_left_alone(text, tmp_path):
    (tmp_path / "train.py").write_text(text)
    assert read_script(tmp_path / "train.py", TWO) == []


@pytest.mark.parametrize(
    ("line", "number"),
    [
        ("device = torch.device('cuda:1')", 1),
        ("model.cuda(2)", 2),
        ("x = x.to('cuda:3')", 3),
        ("torch.cuda.set_device(1)", 1),
        ("torch.device('cuda', 1)", 1),
        ("model = torch.nn.DataParallel(model, device_ids=[0, 1])", 1),
        ("os.environ['CUDA_VISIBLE_DEVICES'] = '3'", 3),
    ],
)
def test_a_card_that_this_machine_lacks_is_seen(line, number, tmp_path):
    (tmp_path / "train.py").write_text(f"import os, torch\ndef main():\n    {line}\nmain()\n")
    [found] = read_script(tmp_path / "train.py", GOOD)
    assert (
        found.kind == "no such card" and f"card {number}" in found.sentence and "line 3" in found.evidence[0]
    )


@pytest.mark.parametrize("line", ["device = torch.device('cuda:0')", "model.cuda()", "x = x.to('cuda:1')"])
def test_cards_that_are_there_are_left_alone(line, tmp_path):
    (tmp_path / "train.py").write_text(f"import torch\n{line}\n")
    assert read_script(tmp_path / "train.py", TWO) == []


def test_the_command_fits_the_line_that_names_the_card_and_the_others_are_told(tmp_path):
    one = replace(GOOD, smi_gpus=(SMI_T4,))
    (tmp_path / "train.py").write_text("import os\nos.environ['CUDA_VISIBLE_DEVICES'] = '1'\nimport torch\n")
    [found] = read_script(tmp_path / "train.py", one)
    assert found.command == 'os.environ["CUDA_VISIBLE_DEVICES"] = "0"    # in line 2'
    lines = "".join(f"x = x.to('cuda:{number}')\n" for number in range(1, 7))
    (tmp_path / "train.py").write_text("import torch\nx = torch.ones(2)\n" + lines)
    [found] = read_script(tmp_path / "train.py", one)
    assert [text.partition(":")[0] for text in found.evidence[:4]] == ["line 3", "line 4", "line 5", "line 6"]
    assert found.evidence[4] == "and 2 more" and found.command == 'torch.device("cuda")    # in line 3'


HARD_CODED = (
    "model.cuda()",
    "x = x.to('cuda')",
    "torch.cuda.set_device(0)",
    "torch.set_default_device('cuda:0')",
)


@pytest.mark.parametrize("line", HARD_CODED)
def test_cuda_that_is_written_into_a_script_is_seen_where_there_is_none(line, tmp_path):
    script = tmp_path / "train.py"
    script.write_text(f"import torch\n\ndef main():\n    {line}\n\nif __name__ == '__main__':\n    main()\n")
    [found] = read_script(script, CPU_WHEEL)
    assert (
        found.kind == "hard-coded cuda" and "line 4: " in found.evidence[0] and 'else "cpu"' in found.command
    )
    assert 'else "mps"' in read_script(script, replace(MAC, mps_available=True))[0].command
    assert read_script(script, GOOD) == []
    script.write_text(f"import torch\nif torch.cuda.is_available():\n    {line}\n")
    assert read_script(script, CPU_WHEEL) == []


FILES = [
    ("torch.py", True),
    ("torch/__init__.py", True),
    ("torch/x.py", False),
    ("random.py", True),
    ("model.py", False),
]


@pytest.mark.parametrize(("name", "found"), FILES)
def test_a_file_in_the_way_of_torch_is_seen(name, found, tmp_path):
    (tmp_path / "train.py").write_text("import torch\n")
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("raise SystemExit('this must not run')\n")
    assert [one.kind for one in read_script(tmp_path / "train.py", GOOD)] == (["shadowed"] if found else [])


@pytest.mark.parametrize("name", ["torch.py", "torch/__init__.py"])
def test_a_file_that_is_taken_for_torch_is_named_and_not_run(name, tmp_path):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("print('I ran')")
    result = subprocess.run(
        [sys.executable, "-m", "devicelab", "doctor"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, env=dict(os.environ, PYTHONPATH=HERE),
    )  # fmt: skip
    assert result.returncode == 1 and "does not import PyTorch" in result.stdout, result.stderr
    assert str(Path(name)) in result.stdout and "I ran" not in result.stdout


@pytest.mark.parametrize(
    ("printed", "errors", "code", "cards", "wanted"),
    [
        ("ran\nran\n", "", 0, 2, ("ran", "ran")),
        ("failed RuntimeError: CUDA error: busy\n", "", 0, 1, ("RuntimeError: CUDA error: busy",)),
        ("ran\n", "Aborted\n", -6, 2, ("ran", "the process ended with -6 and said: Aborted")),
        ("", "", 1, 1, ("the process ended with 1 and said: nothing",)),
    ],
)
def test_what_the_process_with_the_operator_says_is_read(printed, errors, code, cards, wanted):
    assert probe.read(printed, errors, code, cards) == wanted


def test_one_operator_is_run_on_every_card():
    with simulate_gpu("Tesla T4"):
        assert probe.in_this(torch, "cuda", 1) == ("ran",)
    assert "no answer" in probe.in_this(SimpleNamespace(device=fails, ones=fails), "cuda", 1)[0]


def fails(*arguments, **named):
    raise RuntimeError("no answer")


def test_a_script_that_is_not_python_is_refused(tmp_path):
    (tmp_path / "train.py").write_text("def (:")
    with pytest.raises(InputError, match=r"train\.py cannot be read .*\(train\.py, line 1\)"):
        read_script(tmp_path / "train.py", GOOD)


def test_a_script_that_names_its_encoding_is_read(tmp_path):
    text = "# -*- coding: latin-1 -*-\n# Größe\nimport torch\nx = torch.ones(2).to('cuda:1')\n"
    (tmp_path / "train.py").write_text(text, encoding="latin-1")
    assert [one.kind for one in read_script(tmp_path / "train.py", GOOD)] == ["no such card"]


@pytest.mark.parametrize(
    ("fails_with", "words"),
    [
        ("OSError('libcublas.so.12: cannot open shared object file')", "cannot be loaded"),
        ("ModuleNotFoundError(\"No module named 'torch'\")", "torch is not installed"),
    ],
)
def test_it_answers_where_torch_itself_cannot_be_imported(fails_with, words, tmp_path):
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text(f"raise {fails_with}")
    (tmp_path / "torch" / "version.py").touch()
    paths = os.pathsep.join([str(tmp_path), HERE])
    result = subprocess.run(
        [sys.executable, "-m", "devicelab", "doctor"],
        capture_output=True, text=True, timeout=60, env=dict(os.environ, PYTHONPATH=paths),
    )  # fmt: skip
    assert result.returncode == 1 and words in result.stdout, result.stderr


def run(*arguments: str) -> subprocess.CompletedProcess:
    return warm.run("-m", "devicelab", "doctor", *arguments)


def test_the_command_line_and_its_exit_codes(tmp_path):
    report = doctor()
    plain, as_json = run(), run("--json")
    assert plain.returncode == as_json.returncode == report.exit_code
    assert report.sentence in plain.stdout and json.loads(as_json.stdout)["sentence"] == report.sentence
    (tmp_path / "train.py").write_text(LATE)
    late = run(str(tmp_path / "train.py"))
    assert late.returncode == 1 and "line 4 sets CUDA_VISIBLE_DEVICES" in late.stdout
    missing = run("nothing.py")
    assert (
        missing.returncode == 2
        and "nothing.py cannot be read" in missing.stderr
        and "Traceback" not in missing.stderr
    )


def test_what_would_hide_a_card_is_said_beside_another_reason():
    [found] = diagnose(replace(CPU_WHEEL, visible=""))
    assert found.kind != "hidden" and any("it hides every card" in one for one in found.evidence)
    assert not any(
        "it hides every card" in one for one in diagnose(replace(CPU_WHEEL, visible="0"))[0].evidence
    )
