"""The house rules that can be counted: sizes, imports, public names, and whose `factory` is imported."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("manifests", "prompts", "factory", "downstream")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
FUNCTION = ast.FunctionDef | ast.AsyncFunctionDef
MAX_FILE, MAX_FUNCTION, MAX_PARAMETERS = 400, 60, 5
OPTIONAL = {
    "factory/executor_ray.py",
    "factory/spread_ray.py",
    "downstream/classifier.py",
    "downstream/fidelity/networks.py",
    "downstream/patches.py",
    "downstream/trainers/autocast.py",
    "downstream/trainers/averaged.py",
    "downstream/trainers/batches.py",
    "downstream/trainers/folded.py",
    "downstream/trainers/muon.py",
    "downstream/trainers/squeeze.py",
    "downstream/trainers/nnUNetTrainerArm.py",
    "downstream/trainers/nnUNetTrainerTransfer.py",
}
"""Modules that import an optional package at their top."""
TORCH_ROOMS = ("factory/diffusion/", "factory/models/", "factory/training/", "factory/engines/guidegen/")
"""Rooms made of torch; nothing outside imports them at its top, as `test_importing_is_light` sees."""


def name_of(path: Path) -> str:
    relative = path.relative_to(ROOT).with_suffix("")
    return str(relative)


def is_command(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """A Typer command or callback has one parameter for each option."""
    return any(
        "command" in ast.unparse(decorator) or "callback" in ast.unparse(decorator)
        for decorator in function.decorator_list
    )


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_files_and_functions_stay_small(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= MAX_FILE
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, FUNCTION):
            assert (node.end_lineno or 0) - node.lineno < MAX_FUNCTION, node.name


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_functions_take_few_parameters(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, FUNCTION) and not is_command(node):
            names = [argument.arg for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
            assert len([name for name in names if name not in ("self", "cls")]) <= MAX_PARAMETERS, node.name
            assert node.args.kwarg is None, f"{node.name} passes keywords through"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_modules_say_what_they_define_then_what_is_public(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), "no docstring"
    body = [node for node in tree.body[1:] if not isinstance(node, ast.Import | ast.ImportFrom)]
    if not body:
        return  # a package without names of its own
    public = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["__all__"]
    ]
    assert len(public) == 1, "one __all__"
    assert public[0] == sorted(set(public[0]), key=_order), "sorted, each name once"
    defined = {name for node in tree.body for name in _names(node)}
    assert set(public[0]) <= defined, "names that are not there"
    own = {node.name for node in tree.body if isinstance(node, FUNCTION | ast.ClassDef)}
    commands = {node.name for node in tree.body if isinstance(node, FUNCTION) and is_command(node)}
    hidden = {name for name in own - commands if not name.startswith("_")} - set(public[0])
    assert not hidden, "public names that __all__ lacks"


def _order(name: str) -> tuple[int, str]:
    """As ruff sorts: constants, classes, the rest."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2), name


def _names(node: ast.stmt) -> set[str]:
    if isinstance(node, FUNCTION | ast.ClassDef):
        return {node.name}
    if isinstance(node, ast.Assign):
        return {name.id for target in node.targets for name in ast.walk(target) if isinstance(name, ast.Name)}
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return {node.target.id}
    if isinstance(node, ast.Import | ast.ImportFrom):
        return {(alias.asname or alias.name).split(".")[0] for alias in node.names}
    return set()


LIGHT = [
    path for path in MODULES if name_of(path) + ".py" not in OPTIONAL and not name_of(path).startswith(TORCH_ROOMS)
]


@pytest.mark.parametrize("path", LIGHT, ids=name_of)
def test_no_module_imports_torch_or_ray_at_its_top(path: Path) -> None:
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            assert not {name.split(".")[0] for name in names} & {"torch", "ray", "nnunetv2", "monai"}


def outside(program: str, cwd: Path) -> str:
    """Output of a program run from a directory that is not the repository."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=cwd, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_factory_is_ours_from_anywhere(tmp_path: Path) -> None:
    """A PyPI package, factory_boy, installs a module of the same name."""
    assert Path(outside("import factory; print(factory.__file__)", tmp_path)) == ROOT / "factory" / "__init__.py"


@pytest.mark.parametrize("module", [*PACKAGES, "factory.cli", "factory.run", "factory.plan", "manifests.dataset"])
def test_importing_is_light(module: str, tmp_path: Path) -> None:
    heavy = ("torch", "ray", "monai", "matplotlib.pyplot", "nnunetv2", "SimpleITK")
    program = f"import sys, {module}; print([name for name in {heavy!r} if name in sys.modules])"
    assert outside(program, tmp_path) == "[]"


def test_the_version_is_written_once() -> None:
    assert importlib.import_module("manifests.case").FACTORY_VERSION in (ROOT / "pyproject.toml").read_text()
