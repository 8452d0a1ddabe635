"""Where training happens: a GPU where there is one."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from benchmarks.gpu.gpu import Gpu
from benchmarks.gpu.place import GpuPlace
from benchmarks.place import in_force
from optimizer import compute, export, inference
from optimizer.distillation import trainer
from optimizer.distillation.imitation import Imitation
from optimizer.distillation.minilm import MiniLMv2
from optimizer.distillation.objectives import CrossEntropy
from optimizer.distillation.tinybert import TinyBert
from optimizer.encoding import Encoded
from optimizer.pruning.moments import Moments
from optimizer.pruning.stream import Stream

GPU = Gpu(name="Paper", compute_capability=(9, 0), memory_bytes=8, multiprocessors=7, l2_bytes=1, cuda="13.0")


@pytest.fixture
def gpus(monkeypatch):
    """Two GPUs, the second of which is PyTorch's current one."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (123, 456))
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    monkeypatch.delenv(compute.CPU_VARIABLE, raising=False)


def test_without_a_gpu_training_is_on_the_cpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert compute.training_device() == torch.device("cpu")


def test_the_gpu_that_is_pytorchs_trains(gpus, monkeypatch):
    assert compute.training_device() == torch.device("cuda", 1)
    assert compute.trains_in_bf16()
    assert compute.free_memory() == 123
    monkeypatch.setattr(torch, "autocast", lambda kind, dtype, enabled: (kind, dtype, enabled))
    assert inference.autocast() == ("cuda", torch.bfloat16, True)


def test_the_gpu_that_is_measured_trains(gpus):
    with in_force(GpuPlace(GPU, 0)):
        assert compute.training_device() == torch.device("cuda", 0)


@pytest.mark.parametrize("value", ["true", "1", "YES"])
def test_the_environment_keeps_training_on_the_cpu(gpus, monkeypatch, value):
    monkeypatch.setenv(compute.CPU_VARIABLE, value)
    assert compute.training_device() == torch.device("cpu")


def test_bf16_waits_for_a_gpu_that_multiplies_it(gpus, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    assert not compute.trains_in_bf16()


def test_the_trainer_is_told_to_use_the_cpu_only_where_that_trains(tmp_path, monkeypatch):
    told = {}
    monkeypatch.setattr(trainer, "TrainingArguments", lambda **given: told.update(given) or Given())
    for kind in ("cpu", "cuda"):
        monkeypatch.setattr(compute, "training_device", lambda kind=kind: torch.device(kind))
        monkeypatch.setattr(trainer, "trains_in_bf16", lambda: False)
        found = trainer._arguments(tmp_path, trainer.Schedule(1, 1e-4), 8)
        assert told["use_cpu"] == (kind == "cpu")
        assert found._n_gpu == 1  # a batch is not split over all GPUs


class Given:
    n_gpu = 4


def test_an_update_is_faster_where_memory_is(gpus, monkeypatch):
    on_gpu = compute.optimizer_seconds(10**6)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert compute.optimizer_seconds(10**6) > 10 * on_gpu


# "meta" stands for another device than the CPU: its tensors have no numbers, and are never beside one of the CPU's


def test_moments_lie_where_what_they_are_of_lies():
    x, t = torch.empty(5, 3, device="meta"), torch.empty(5, 2, device="meta")
    moments = Moments(3, 2)
    moments.add(x, t)
    moments.add(x, t)
    found = moments.mean, moments.target_mean, moments.covariance, moments.target_covariance
    assert {tensor.device.type for tensor in found} == {"meta"}


def test_moments_on_the_cpu_are_as_they_were():
    moments = Moments(3)
    moments.add(torch.tensor([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]]))
    torch.testing.assert_close(moments.mean, torch.tensor([2.0, 2.0, 2.0]))


@pytest.mark.parametrize("objective", [CrossEntropy(), MiniLMv2()], ids=lambda each: type(each).__name__)
def test_training_needs_nothing_on_the_cpu_where_the_student_is_elsewhere(objective, make_classifier):
    student, teacher = make_classifier(seed=1).to("meta"), make_classifier(seed=2)
    ids = torch.zeros((4, 12), dtype=torch.long, device="meta")
    imitation = Imitation(objective, student, teacher if objective.needs else None)
    loss = imitation(ids, torch.ones_like(ids), torch.zeros_like(ids[:, 0]))
    loss.backward()
    assert loss.device.type == "meta"
    assert {p.device.type for p in imitation.parameters()} == {"meta"}


def test_projections_of_an_objective_are_beside_the_student(make_classifier):
    imitation = Imitation(TinyBert(), make_classifier(seed=1).to("meta"), make_classifier(seed=2))
    assert imitation.projections
    assert {p.device.type for p in imitation.parameters()} == {"meta"}


def test_calibration_rows_go_where_the_model_is(make_classifier):
    rows = Encoded(([0, 5, 2], [0, 6, 7, 2]), np.zeros(2, int), pad_token_id=1)
    model = make_classifier().to("meta")
    assert {batch.states.device.type for batch in Stream(model, rows)._batches} == {"meta"}


def test_an_export_is_made_on_the_cpu_and_leaves_the_model_where_it_was(monkeypatch, make_classifier):
    model, moved = make_classifier(), []
    monkeypatch.setattr(type(model), "device", torch.device("meta"))
    monkeypatch.setattr(type(model), "to", lambda self, device: moved.append(str(device)))
    with export._on_cpu(model):
        assert moved == ["cpu"]
    assert moved == ["cpu", "meta"]


_FAULTS = """
import resource, sys, torch
from optimizer.compute import keep_freed_memory
if sys.argv[1] == "keep" and not keep_freed_memory():
    sys.exit(3)
torch.ones(2**26)  # what is small takes its room from it, too: the next ones still find theirs
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(4):
    torch.ones(2**24)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    """Pages that four tensors of 64 MiB, one after the other, fault in."""
    done = subprocess.run([sys.executable, "-c", _FAULTS, how], capture_output=True, text=True, check=False)
    if done.returncode == 3:
        pytest.skip("this C library has no mallopt")
    return int(done.stdout)


def test_memory_that_was_freed_is_used_again() -> None:
    assert faults("keep") < faults("give back") / 4
