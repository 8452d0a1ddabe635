"""What is read of the machine is complete enough to judge a number by."""

from benchmarks import Environment, machine_peak, memory_bandwidth, read_environment
from benchmarks.environment import cpu_in_words


def test_the_environment_names_the_machine():
    environment = read_environment()
    assert environment.cpu
    assert environment.cores >= 1
    assert environment.memory_bytes > 1 << 20
    assert {"onnxruntime", "numpy"} <= set(environment.packages)


def test_the_state_is_read_again_at_the_end():
    environment = read_environment()
    assert environment.after is None
    assert environment.finished().after is not None


def test_the_environment_survives_json():
    environment = read_environment().finished()
    assert Environment.model_validate_json(environment.model_dump_json()) == environment


def test_the_machines_peak_is_a_rate_with_its_shape():
    peak = machine_peak(1)
    assert peak.gflops > 1
    assert peak.share(peak.gflops) == 1
    assert machine_peak(1) is peak


def test_the_memorys_bandwidth_is_a_rate_with_its_bytes(monkeypatch):
    monkeypatch.setattr(memory_bandwidth, "MOST_BYTES", 1 << 20)
    monkeypatch.setattr(memory_bandwidth, "SECONDS", 0.05)
    found = memory_bandwidth.memory_bandwidth(1)
    assert found.bytes == 1 << 20
    assert found.gigabytes_per_second > 0.1


def test_boards_are_told_apart_by_their_names():
    core = "CPU implementer\t: 0x41\nCPU part\t: 0xd08\n"
    pi = f"model name\t: ARMv7 Processor rev 3 (v7l)\n{core}Hardware\t: BCM2835\n"
    pi += "Model\t\t: Raspberry Pi 4 Model B Rev 1.4\n"
    assert cpu_in_words(pi, "armv7l")[0] == "Raspberry Pi 4 Model B Rev 1.4"
    assert cpu_in_words(f"{core}Hardware\t: Qualcomm SM8550\n", "aarch64")[0] == "Qualcomm SM8550"
    assert cpu_in_words(core, "aarch64")[0] == "aarch64 implementer 0x41 part 0xd08"
    assert cpu_in_words("model\t: 2\nmodel name\t: AMD EPYC\n", "x86_64")[0] == "AMD EPYC"
