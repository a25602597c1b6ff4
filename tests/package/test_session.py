import pytest
import torch

from devicelab import devices, off, session, start
from devicelab.errors import InputError


@pytest.fixture(autouse=True)
def leave_no_simulation(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(off, "hide_gpus", lambda: None)  # it would hide them from all tests that follow
    yield
    from devicelab.simgpu.session import current

    while (running := current()) is not None:
        running.stop()


def test_start_simulates_where_asked_and_says_so_in_one_line(monkeypatch, capsys):
    monkeypatch.setenv("DEVICELAB_GPU", "simulated")
    start()
    assert capsys.readouterr().out == (
        "cuda:0 is a simulated Tesla T4, in this kernel only: values are real, times are estimates.\n"
    )
    assert torch.ones(2, device="cuda").is_cuda


def test_starting_twice_says_the_same_and_changes_nothing(monkeypatch, capsys):
    monkeypatch.setenv("DEVICELAB_GPU", "simulated")
    start()
    kept = torch.ones(2, device="cuda")
    first = capsys.readouterr().out
    start()
    assert capsys.readouterr().out == first
    assert (kept + 1).is_cuda


@pytest.mark.parametrize("card", ["NVIDIA L4", "l4"])
def test_the_card_that_start_names_is_simulated(monkeypatch, capsys, card):
    monkeypatch.setenv("DEVICELAB_GPU", "simulated")
    start(card)
    start(card)
    assert capsys.readouterr().out.splitlines() == 2 * [
        "cuda:0 is a simulated NVIDIA L4, in this kernel only: values are real, times are estimates."
    ]
    assert torch.cuda.get_device_name() == "NVIDIA L4"


@pytest.mark.parametrize("mode", ["simulated", "off"])
def test_a_card_that_no_catalogue_has_is_refused_in_every_mode(monkeypatch, mode):
    monkeypatch.setenv("DEVICELAB_GPU", mode)
    with pytest.raises(InputError, match=r'No card is called "gpu". Known are .*Tesla T4'):
        start("gpu")
    assert devices.simulated() is None


def test_off_simulates_no_card_by_name_either(monkeypatch, capsys):
    monkeypatch.setenv("DEVICELAB_GPU", "off")
    start("NVIDIA L4")
    assert "No GPU is used" in capsys.readouterr().out and devices.simulated() is None


def test_another_card_needs_a_new_kernel(monkeypatch):
    monkeypatch.setenv("DEVICELAB_GPU", "simulated")
    start("NVIDIA L4")
    with pytest.raises(
        InputError, match=r"simulated NVIDIA L4 runs .* Restart the kernel for a simulated Tesla T4"
    ):
        start("Tesla T4")
    start()
    assert torch.cuda.get_device_name() == "NVIDIA L4", "it goes on, whatever was not asked for"


def test_off_simulates_nothing(monkeypatch, capsys):
    monkeypatch.setenv("DEVICELAB_GPU", "off")
    start()
    assert "No GPU is used" in capsys.readouterr().out
    assert devices.simulated() is None


def test_off_says_when_it_could_not_hide_the_gpus_and_promises_no_skipping(monkeypatch, capsys):
    monkeypatch.setenv("DEVICELAB_GPU", "off")
    monkeypatch.setattr(off, "hide_gpus", lambda: off.VISIBLE)
    monkeypatch.setattr(off, "skip_cells", lambda: pytest.fail("the real GPU would be used all the same"))
    start()
    assert capsys.readouterr().out == f"{off.VISIBLE}\n"


def test_real_without_a_gpu_is_refused(monkeypatch):
    if torch.cuda.is_available():
        pytest.skip("this machine has an NVIDIA GPU")
    monkeypatch.setenv("DEVICELAB_GPU", "real")
    with pytest.raises(InputError, match="needs an NVIDIA GPU, but none was found"):
        start()


def test_an_unknown_mode_is_refused_with_the_allowed_ones(monkeypatch):
    monkeypatch.setenv("DEVICELAB_GPU", "yes")
    with pytest.raises(InputError, match="must be auto, real, simulated or off, but it is 'yes'"):
        start()


def test_the_mode_cannot_change_under_a_running_simulation(monkeypatch):
    monkeypatch.setenv("DEVICELAB_GPU", "simulated")
    start()
    monkeypatch.setenv("DEVICELAB_GPU", "off")
    with pytest.raises(InputError, match="Restart the kernel"):
        start()


def test_a_driver_with_a_cpu_only_torch_is_said_before_anything_is_simulated(monkeypatch, capsys):
    monkeypatch.setenv("DEVICELAB_GPU", "auto")
    monkeypatch.setattr(session, "nvidia_driver", lambda: "/proc/driver/nvidia/version")
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    start()
    warned = capsys.readouterr().err
    assert (
        "ATTENTION" in warned
        and "built for the CPU" in warned
        and "pip install --force-reinstall torch" in warned
    )


def test_a_cuda_torch_that_finds_no_card_is_said_too(monkeypatch):
    monkeypatch.setattr(session, "nvidia_driver", lambda: "nvidia-smi")
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    [warning] = session.obstacles()
    assert "built for CUDA 13.0" in warning and "finds no usable GPU" in warning


def test_a_mac_is_told_where_its_own_gpu_waits(monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    [warning] = session.obstacles()
    assert "mps" in warning and "lesson 08" in warning


def test_a_plain_machine_has_no_obstacles(monkeypatch):
    monkeypatch.setattr(session, "nvidia_driver", lambda: None)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert session.obstacles() == []


@pytest.mark.parametrize(
    ("limit", "threads"),
    [("100000 100000\n", 1), ("max 100000\n", 2), ("800000 100000\n", 2), ("rubbish", 2)],
)
def test_a_containers_limit_of_cores_is_respected(monkeypatch, tmp_path, limit, threads):
    (tmp_path / "cpu.max").write_text(limit)
    monkeypatch.setattr(session, "CPU_LIMIT", tmp_path / "cpu.max")
    monkeypatch.setenv("DEVICELAB_GPU", "off")
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        start()
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def test_an_unknown_card_is_refused_with_the_names_there_are():
    with pytest.raises(InputError, match="Tesla T4"):
        session.prepare("gpu")


def test_a_card_by_name_conflicts_with_off(monkeypatch):
    monkeypatch.setenv("DEVICELAB_GPU", "off")
    with pytest.raises(InputError, match="Unset one of them"):
        session.prepare("Tesla T4")
