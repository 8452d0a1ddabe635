"""The house: imports run one way, optimizer -> hardware_profiles -> benchmarks."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TORCH = ROOT / "hardware_profiles" / "runtimes" / "torch_graph"
ABOVE = {"benchmarks": {"hardware_profiles", "optimizer"}, "hardware_profiles": {"optimizer"}, "optimizer": set()}
FLOORS = {
    "benchmarks": {"torch", "transformers", "optimum"},
    "hardware_profiles": {"torch", "transformers", "optimum"},
    "optimizer": set(),
}


def imported(file: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("package", ABOVE)
def test_a_room_imports_nothing_from_above_it(package: str) -> None:
    for file in (ROOT / package).rglob("*.py"):
        if file.is_relative_to(ROOT / "benchmarks" / "suites"):
            continue  # studies may import everything; nothing imports them
        allowed = {"torch"} if file.is_relative_to(TORCH) else set()
        assert not imported(file) & (ABOVE[package] | FLOORS[package]) - allowed, file


def test_pytorch_is_imported_by_its_runtime_only_when_that_is_used() -> None:
    for file in (ROOT / "hardware_profiles").rglob("*.py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        at_once = [node.module or "" for node in tree.body if isinstance(node, ast.ImportFrom)]
        assert file.is_relative_to(TORCH) or not any("torch_graph" in module for module in at_once), file


def test_nothing_imports_the_suites() -> None:
    for package in ABOVE:
        for file in (ROOT / package).rglob("*.py"):
            if not file.is_relative_to(ROOT / "benchmarks" / "suites"):
                assert "benchmarks.suites" not in file.read_text(encoding="utf-8"), file


def test_only_export_imports_optimum() -> None:
    users = [file.name for file in (ROOT / "optimizer").rglob("*.py") if "optimum" in imported(file)]
    assert users == ["export.py"]


def test_every_module_says_what_it_exports() -> None:
    scripts = {"__main__.py", "run_template.py", "run_mnn_template.py"}
    silent = [
        str(file.relative_to(ROOT))
        for package in ABOVE
        for file in (ROOT / package).rglob("*.py")
        if file.name not in scripts
        and "suites" not in file.parts
        and _defines_something(file)
        and "__all__ = " not in file.read_text(encoding="utf-8")
    ]
    assert silent == []


def _defines_something(file: Path) -> bool:
    body = ast.parse(file.read_text(encoding="utf-8")).body
    return any(not isinstance(node, ast.Expr) for node in body)
