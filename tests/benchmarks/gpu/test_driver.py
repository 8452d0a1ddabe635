"""What is asked of the driver, and how a machine without one is refused: answered by a GPU of paper."""

from __future__ import annotations

import ctypes
from functools import partial

import numpy as np
import pytest

from benchmarks.errors import TrimfitError
from benchmarks.gpu.accelerator import CudaAccelerator
from benchmarks.gpu.driver import CudaDriver
from benchmarks.gpu.gpu import Gpu, gpu_index, is_gpu, read_gpu
from benchmarks.gpu.nvml import Nvml

PCI = "0000:01:00.0"


@pytest.fixture
def driver(paper_gpu):
    return CudaDriver(paper_gpu)


@pytest.fixture
def accelerator(driver):
    return CudaAccelerator(0, driver)


@pytest.fixture
def facts(driver, paper_gpu):
    return read_gpu(0, driver, partial(Nvml, library=paper_gpu))


def one_line(caught):
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_without_a_driver_the_refusal_says_what_to_do():
    with pytest.raises(TrimfitError, match=r"got no NVIDIA driver on this machine") as caught:
        CudaDriver("libcuda-of-nowhere.so")
    assert one_line(caught).endswith("install it, or use --device local")


def test_a_driver_without_a_gpu_is_refused_by_its_own_word(paper_gpu, monkeypatch):
    monkeypatch.setenv("PAPER_GPU_INIT", "100")
    with pytest.raises(TrimfitError, match=r"got CUDA_ERROR_NO_DEVICE from the NVIDIA driver .cuInit.") as caught:
        CudaDriver(paper_gpu)
    assert one_line(caught).endswith("use --device local")


@pytest.mark.parametrize(("count", "hint"), [("0", "use --device local"), ("2", "cuda:0 to cuda:1")])
def test_a_gpu_that_there_is_not_is_refused_with_those_there_are(driver, monkeypatch, count, hint):
    monkeypatch.setenv("PAPER_GPUS", count)
    with pytest.raises(TrimfitError, match=rf"got device cuda:2, expected one of {count} GPUs") as caught:
        read_gpu(2, driver)
    assert one_line(caught).endswith(hint)


def test_a_gpu_is_what_driver_and_nvml_say_of_it(facts):
    assert facts == Gpu(
        name="Paper GPU",
        compute_capability=(9, 0),
        memory_bytes=8 << 30,
        multiprocessors=7,
        l2_bytes=1 << 20,
        cuda="13.1",
        driver="580.1",
        most_sm_mhz=1980,
        most_memory_mhz=3201,
        power_limit_w=700.0,
    )
    assert str(facts) == "Paper GPU (compute capability 9.0, 9 GB, driver 580.1)"


def test_without_nvml_a_gpu_is_what_the_driver_says(driver, paper_gpu, monkeypatch, facts):
    monkeypatch.setenv("PAPER_NVML_INIT", "9")
    alone = read_gpu(0, driver, partial(Nvml, library=paper_gpu))
    unknown = {"driver": "", "most_sm_mhz": None, "most_memory_mhz": None, "power_limit_w": None}
    assert alone == facts.model_copy(update=unknown)


@pytest.mark.parametrize(
    ("capability", "halves", "two_of_four"),
    [((6, 1), (), False), ((7, 5), ("fp16",), False), ((8, 0), ("fp16", "bf16"), True)],
)
def test_tensor_cores_decide_what_a_gpu_is_good_at(facts, capability, halves, two_of_four):
    gpu = facts.model_copy(update={"compute_capability": capability})
    assert (gpu.halves, gpu.skips_two_of_four) == (halves, two_of_four)


@pytest.mark.parametrize(("name", "index"), [("cuda", 0), ("cuda:0", 0), ("cuda:11", 11)])
def test_a_gpu_is_named_by_its_number(name, index):
    assert is_gpu(name)
    assert gpu_index(name) == index


@pytest.mark.parametrize("name", ["cuda:", "cuda:one", "cuda:-1", "cuda:0:1"])
def test_another_name_of_a_gpu_is_refused(name):
    assert is_gpu(name)
    with pytest.raises(TrimfitError, match=r"expected cuda or cuda:N"):
        gpu_index(name)


def test_what_is_brought_to_the_gpu_comes_back(accelerator):
    values = np.arange(7, dtype=np.float32)
    there, back = accelerator.allocate(values.nbytes), np.zeros_like(values)
    accelerator.copy_in(there, values)
    accelerator.copy_out(back, there)
    accelerator.wait()
    np.testing.assert_array_equal(back, values)


def test_memory_in_use_is_told(accelerator):
    before = accelerator.used_bytes()
    address = accelerator.allocate(1000)
    assert accelerator.used_bytes() == before + 1000
    accelerator.release(address)
    assert accelerator.used_bytes() == before


def test_events_keep_the_time_between_them(accelerator):
    accelerator.start()
    assert 0 <= accelerator.stop() < 1


def test_the_cache_is_emptied_by_more_than_twice_what_it_holds(accelerator, paper_gpu):
    filled = ctypes.CDLL(paper_gpu).paper_filled
    filled.restype = ctypes.c_size_t
    before = filled()
    accelerator.flush()
    assert filled() - before >= 2 * accelerator.driver.attribute(accelerator.driver.device(0), "l2_bytes")


def test_waking_keeps_it_busy_for_a_while_and_ends(accelerator):
    times = iter([0.0, 0.1, 0.2, 10.0])
    accelerator.wake(lambda: next(times))
    assert next(times, None) is None


def test_a_copy_counts_what_is_read_and_what_is_written(accelerator, monkeypatch):
    monkeypatch.setattr(accelerator, "stop", lambda: 0.5)
    assert accelerator.copy_rate(1 << 20) == 4 << 20


def test_an_address_that_is_none_is_refused_by_the_driver(driver):
    CudaAccelerator(0, driver)
    with pytest.raises(TrimfitError, match=r"from the NVIDIA driver .cuMemsetD8Async."):
        driver.fill(0, 0, stream=0x99)


def test_state_and_energy_of_a_gpu_are_nvmls(paper_gpu):
    nvml = Nvml(PCI, paper_gpu)
    state = nvml.state()
    assert (state.sm_mhz, state.memory_mhz, state.temperature_c, state.power_w) == (345, 3201, 31, 71.5)
    assert state.slowed == ("the power limit", "heat")
    assert nvml.energy_mj() == 12345678901


def test_energy_that_is_not_told_is_said(paper_gpu, monkeypatch):
    monkeypatch.setenv("PAPER_NVML_ENERGY", "3")
    with pytest.raises(TrimfitError, match=r"energy unknown: this GPU, or its driver, does not tell it"):
        Nvml(PCI, paper_gpu).energy_mj()


def test_a_gpu_that_nvml_does_not_know_is_refused(paper_gpu):
    with pytest.raises(TrimfitError, match=r"got no GPU at 0000:99:00.0 from NVML"):
        Nvml("0000:99:00.0", paper_gpu)
