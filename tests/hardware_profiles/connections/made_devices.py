"""What the files of three machines say, as `read_facts` gives it: a Raspberry Pi 4, a big.LITTLE phone, a server."""

from __future__ import annotations

CPU = "/sys/devices/system/cpu/cpu"
THERMAL = "/sys/class/thermal/"
FIRMWARE = "/sys/devices/platform/soc/soc:firmware/get_throttled"

Facts = dict[str, str]


def arm_cpu(number: int, part: str, variant: str, revision: int) -> str:
    return (
        f"processor\t: {number}\nBogoMIPS\t: 108.00\nFeatures\t: fp asimd evtstrm crc32 cpuid asimddp\n"
        "CPU implementer\t: 0x41\nCPU architecture: 8\n"
        f"CPU variant\t: {variant}\nCPU part\t: {part}\nCPU revision\t: {revision}\n"
    )


def clock(number: int, governor: str, now: int, allowed: int, most: int) -> Facts:
    folder = f"{CPU}{number}/cpufreq/"
    return {
        f"{folder}scaling_governor": governor,
        f"{folder}scaling_cur_freq": f"{now}000",
        f"{folder}scaling_max_freq": f"{allowed}000",
        f"{folder}cpuinfo_max_freq": f"{most}000",
    }


def zone(number: int, name: str, millidegrees: int, *trips: tuple[str, int]) -> Facts:
    folder = f"{THERMAL}thermal_zone{number}/"
    facts = {f"{folder}type": name, f"{folder}temp": str(millidegrees)}
    for index, (kind, temperature) in enumerate(trips):
        facts |= {
            f"{folder}trip_point_{index}_type": kind,
            f"{folder}trip_point_{index}_temp": str(temperature),
        }
    return facts


def cooling(number: int, name: str, state: int, most: int) -> Facts:
    folder = f"{THERMAL}cooling_device{number}/"
    return {f"{folder}type": name, f"{folder}cur_state": str(state), f"{folder}max_state": str(most)}


def pi4(
    millidegrees: int = 48_686, allowed: int = 1800, firmware: str = "0", governor: str = "ondemand", now: int = 600
) -> Facts:
    cpus = "\n".join(arm_cpu(n, "0xd08", "0x0", 3) for n in range(4))
    facts = {
        "/proc/cpuinfo": f"{cpus}\nRevision\t: c03114\nModel\t\t: Raspberry Pi 4 Model B Rev 1.4",
        "/proc/meminfo": "MemTotal:        3884356 kB\nMemFree:         2816148 kB\nMemAvailable:    3466208 kB",
        "/proc/self/status": "Name:\tgrep\nCpus_allowed:\tf\nCpus_allowed_list:\t0-3",
        "/proc/loadavg": "0.08 0.03 0.01 1/181 1043",
        "/proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.4",
        "/etc/os-release": 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nNAME="Debian GNU/Linux"',
        f"{CPU[:-3]}online": "0-3",
        "uname -s": "Linux",
        "uname -r": "6.6.31+rpt-rpi-v8",
        "uname -m": "aarch64",
        "getconf PAGESIZE": "4096",
        "df -Pk .": "Filesystem     1024-blocks    Used Available Capacity Mounted on\n"
        "/dev/mmcblk0p2    30358692 4892152  24164256      17% /\n",
        FIRMWARE: firmware,
    }
    for n in range(4):
        facts |= clock(n, governor, now, allowed, 1800)
        facts[f"{CPU}{n}/regs/identification/midr_el1"] = "0x00000000410fd083"
        facts[f"{CPU}{n}/topology/thread_siblings_list"] = str(n)
        facts |= {
            f"{CPU}{n}/cache/index2/type": "Unified",
            f"{CPU}{n}/cache/index2/level": "2",
            f"{CPU}{n}/cache/index2/size": "1024K",
            f"{CPU}{n}/cache/index2/shared_cpu_list": "0-3",
        }
    return facts | zone(0, "cpu-thermal", millidegrees, ("critical", 110_000))


def phone(big_millidegrees: int = 41_000, big_state: int = 0, big_allowed: int = 2850) -> Facts:
    """4 Cortex-A55, 2 Cortex-A78, 2 Cortex-X1; the shell may use all but the last."""
    parts = [("0xd05", "0x2", 0)] * 4 + [("0xd41", "0x1", 1)] * 2 + [("0xd44", "0x1", 1)] * 2
    facts = {
        "/proc/cpuinfo": "\n".join(arm_cpu(n, *part) for n, part in enumerate(parts)),
        "/proc/meminfo": "MemTotal:        7835064 kB\nMemAvailable:    3466208 kB",
        "/proc/self/status": "Cpus_allowed_list:\t0-6",
        "getprop ro.product.model": "Pixel 7",
        "getprop ro.build.version.release": "14",
        "uname -s": "Linux",
        "uname -r": "5.10.157-android13-4",
        "uname -m": "aarch64",
        "getconf PAGESIZE": "4096",
    }
    for n, capacity in enumerate([160] * 4 + [498] * 2 + [1024] * 2):
        facts[f"{CPU}{n}/cpu_capacity"] = str(capacity)
        facts |= clock(n, "sched_pixel", 500, big_allowed if n > 5 else 1803, 2850 if n > 5 else 1803)
    facts |= zone(0, "BIG", big_millidegrees, ("active", 20_000), ("passive", 65_000), ("hot", 90_000))
    facts |= zone(1, "battery", 34_000, ("passive", 30_000))
    facts |= zone(2, "LITTLE", -274_000)
    facts |= cooling(0, "thermal-cpufreq-2", big_state, 15)
    return facts | cooling(1, "thermal-gpufreq-0", 3, 6)


def x86(throttles: int = 0) -> Facts:
    def paragraph(n: int) -> str:
        return (
            f"processor\t: {n}\nvendor_id\t: AuthenticAMD\ncpu family\t: 26\nmodel\t\t: 2\nmodel name\t: AMD EPYC\n"
            "stepping\t: 1\ncpu MHz\t\t: 2596.122\nflags\t\t: fpu avx2 avx512_vnni hypervisor\nbogomips\t: 5192.24\n"
        )

    return {
        "/proc/cpuinfo": "\n".join(map(paragraph, range(2))),
        "/proc/meminfo": "MemTotal:       24684092 kB\nMemAvailable:   22000000 kB",
        "/proc/self/status": "Cpus_allowed_list:\t0-1",
        f"{CPU}0/cpu_capacity": "1024",
        f"{CPU}1/cpu_capacity": "1024",
        f"{CPU}0/topology/thread_siblings_list": "0-1",
        f"{CPU}1/topology/thread_siblings_list": "0-1",
        f"{CPU}0/thermal_throttle/core_throttle_count": str(throttles),
        f"{CPU}1/thermal_throttle/core_throttle_count": "0",
        "uname -s": "Linux",
        "uname -r": "6.18.44",
        "uname -m": "x86_64",
    }
