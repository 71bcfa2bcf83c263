"""What machine a run ran on, as far as numbers depend on it."""

from __future__ import annotations

import os
import platform
import sys
from importlib import metadata
from pathlib import Path

# Instructions that decide which number formats are fast on x86 and Arm.
_DTYPE_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_bf16", "amx_int8", "bf16", "i8mm")


def _cpuinfo(path: Path = Path("/proc/cpuinfo")) -> dict[str, str]:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    first = text.split("\n\n", 1)[0]
    pairs = (line.split(":", 1) for line in first.splitlines() if ":" in line)
    return {key.strip(): value.strip() for key, value in pairs}


def describe() -> dict[str, str]:
    """Processor, its number formats, memory, operating system and the versions that set the speed; texts only.

    GPU and torch are named when torch is already loaded: this never loads it.
    """
    info = _cpuinfo()
    flags = set(info.get("flags", info.get("Features", "")).split())
    machine = {
        "cpu": info.get("model name") or platform.processor() or platform.machine(),
        "dtype_support": " ".join(flag for flag in _DTYPE_FLAGS if flag in flags),
        "cores": str(os.cpu_count() or ""),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "virtual": "yes" if "hypervisor" in flags else "no",
    }
    torch = sys.modules.get("torch")
    if torch is not None:
        machine["torch"] = str(torch.__version__)
        machine["threads"] = str(torch.get_num_threads())
        if torch.cuda.is_available():
            names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
            machine["gpu"] = ", ".join(names)
        for package in ("transformers", "bitsandbytes"):
            if package in sys.modules:
                machine[package] = metadata.version(package)
    return {key: value for key, value in machine.items() if value}
