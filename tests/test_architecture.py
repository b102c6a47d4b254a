"""The rules of the house, read off the source: import levels, size, documentation, randomness, quiet imports."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

import moldiff

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGE = REPOSITORY / "moldiff"

# The parts of the package, lowest level first. Imports go down only; parts of one level are blind to one another, save
# the first level, whose modules share the contract (the test for cycles covers them).
LEVELS = [
    {"state", "denoiser", "config", "allocator", "openmp", "device", "interrupts", "shipped"},
    {"diffusion", "networks", "molecules", "crystals"},
    {"data", "guidance"},
    {"training", "generator", "evaluation", "pictures"},
    {"commands"},
    {"cli", "__init__", "__main__"},
]
# Where a part may know less than its level allows.
KNOWS = {
    "molecules": set(),
    "crystals": set(),
    "guidance": {"state", "denoiser", "config", "diffusion"},
    "data": {"state", "config", "molecules", "crystals"},
    "__main__": {"cli"},
}
CHEMISTRY = {"rdkit", "ase", "pymatgen", "spglib", "smact", "matminer", "tblite", "posebusters", "py3Dmol"}
TENSORS = {"torch", "torch_geometric", "e3nn"}
# Parts that run where only torch, numpy, e3nn, torch-geometric, safetensors, tqdm and tyro are installed.
WITHOUT_CHEMISTRY = {"state", "denoiser", "config", "diffusion", "networks", "guidance", "training"}
# What the core does not install, or what is slow and rarely needed: never imported at the top of a module.
ONLY_INSIDE_FUNCTIONS = CHEMISTRY - {"rdkit", "ase"} | {"matplotlib", "pandas", "scipy", "IPython"}

DRAWS_OF_TORCH = {
    "rand",
    "randn",
    "randint",
    "randperm",
    "normal",
    "poisson",
    "rand_like",
    "randn_like",
    "randint_like",
}
DRAWS_OF_ANY = {"multinomial", "bernoulli"}
DRAWS_IN_PLACE = {
    *(
        "normal_",
        "uniform_",
        "bernoulli_",
        "exponential_",
        "random_",
        "cauchy_",
        "geometric_",
        "log_normal_",
        "trunc_normal_",
    ),
    *("xavier_uniform_", "xavier_normal_", "kaiming_uniform_", "kaiming_normal_", "orthogonal_", "sparse_"),
}
GLOBAL_AT_IMPORT = {
    *("torch.manual_seed", "torch.cuda.manual_seed", "torch.cuda.manual_seed_all", "torch.set_default_dtype"),
    *(
        "torch.set_default_device",
        "torch.set_num_threads",
        "torch.set_float32_matmul_precision",
        "torch.set_grad_enabled",
    ),
    *("np.random.seed", "numpy.random.seed", "random.seed", "logging.basicConfig", "warnings.filterwarnings"),
    *("warnings.simplefilter", "os.environ.setdefault", "os.putenv"),
}


@cache
def modules() -> dict[str, Path]:
    """Dotted name of every module of the package, and its file."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(REPOSITORY).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(modules()[module].read_text(encoding="utf-8"))


def part(module: str) -> str:
    """`moldiff.data.files` -> `data`; the package itself -> `__init__`."""
    return [*module.split("."), "__init__"][1]


def level(name: str) -> int:
    for number, names in enumerate(LEVELS):
        if name in names:
            return number
    raise AssertionError(f"moldiff/{name} has no place in the levels: {LEVELS}")


def module_level(node: ast.AST) -> Iterator[ast.AST]:
    """Every node that runs at import: bodies of functions left out, as are blocks under TYPE_CHECKING."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            continue
        yield child
        yield from module_level(child)


def imported(module: str, nodes: Iterator[ast.AST]) -> Iterator[tuple[str, int]]:
    """(dotted name, line) of what these nodes import; relative imports resolved, `from package import module` too."""
    is_package = modules()[module].name == "__init__.py"
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = module.split(".")
                above = above[: len(above) - node.level + is_package]
                base = ".".join([*above, *([base] if base else [])])
            for alias in node.names:
                longer = f"{base}.{alias.name}"
                yield (longer if longer in modules() else base), node.lineno


def everywhere(module: str) -> Iterator[tuple[str, int]]:
    return imported(module, ast.walk(tree(module)))


def at_import(module: str) -> Iterator[tuple[str, int]]:
    return imported(module, module_level(tree(module)))


def violations(check: Callable[[str], Iterator[tuple[int, str]]]) -> list[str]:
    """`file:line: what is wrong` for every module."""
    return [
        f"{path.relative_to(REPOSITORY)}:{line}: {text}"
        for name, path in modules().items()
        for line, text in check(name)
    ]


def test_imports_go_down_the_levels_only() -> None:
    def check(module: str) -> Iterator[tuple[int, str]]:
        here = part(module)
        for name, line in everywhere(module):
            if name.split(".")[0] != "moldiff" or part(name) == here:
                continue
            there = part(name)
            down = level(there) < level(here) or level(there) == level(here) == 0
            if here != "__main__" and not down:
                yield line, f"{here} (level {level(here)}) imports {name} (level {level(there)})"
            elif here in KNOWS and there not in KNOWS[here]:
                yield line, f"{here} imports {name}, but may know only {sorted(KNOWS[here]) or 'itself'}"

    assert violations(check) == []


def test_diffusion_and_networks_do_not_import_each_other() -> None:
    for one, other in (("diffusion", "networks"), ("networks", "diffusion")):
        names = [name for module in modules() if part(module) == one for name, _ in everywhere(module)]
        assert names, f"moldiff/{one} is missing"
        assert not [name for name in names if name.startswith(f"moldiff.{other}")]


def test_there_are_no_import_cycles() -> None:
    graph = {
        module: {name for name, _ in everywhere(module) if name in modules() and name != module} for module in modules()
    }
    done: set[str] = set()

    def visit(module: str, path: list[str]) -> None:
        assert module not in path, "cycle: " + " -> ".join([*path[path.index(module) :], module])
        if module not in done:
            for name in sorted(graph[module]):
                visit(name, [*path, module])
            done.add(module)

    for module in graph:
        visit(module, [])


def test_third_party_packages_stay_in_their_places() -> None:
    def check(module: str) -> Iterator[tuple[int, str]]:
        here = part(module)
        for name, line in everywhere(module):
            root = name.split(".")[0]
            if here in {"molecules", "crystals"} and root in TENSORS:
                yield line, f"{here} knows no torch, but imports {name}"
            if here in WITHOUT_CHEMISTRY and root in CHEMISTRY:
                yield line, f"{here} runs without RDKit, ASE and pymatgen, but imports {name}"
            if root in {"pickle", "dill", "joblib", "cloudpickle"}:
                yield line, f"no pickles: {name}"
        for name, line in at_import(module):
            if name.split(".")[0] in ONLY_INSIDE_FUNCTIONS:
                yield line, f"import {name} inside the function that needs it"

    assert violations(check) == []


def test_no_file_is_longer_than_400_lines() -> None:
    files = [path for folder in ("moldiff", "tests", "datasets") for path in (REPOSITORY / folder).rglob("*.py")]
    lengths = {str(path.relative_to(REPOSITORY)): len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    assert {path: length for path, length in lengths.items() if length > 400} == {}


def test_every_public_name_is_documented_and_annotated() -> None:
    def check_function(
        node: ast.FunctionDef | ast.AsyncFunctionDef, owner: str, *, method: bool
    ) -> Iterator[tuple[int, str]]:
        decorators = {ast.unparse(decorator) for decorator in node.decorator_list}
        if decorators & {"overload", "typing.overload"} or any(
            name.endswith((".setter", ".deleter")) for name in decorators
        ):
            return
        name = f"{owner}{node.name}"
        if not ast.get_docstring(node) and node.name != "__init__":
            yield node.lineno, f"{name} has no docstring"
        arguments = [*node.args.posonlyargs, *node.args.args]
        if method and "staticmethod" not in decorators:
            arguments = arguments[1:]
        arguments += [*node.args.kwonlyargs, *filter(None, (node.args.vararg, node.args.kwarg))]
        missing = [argument.arg for argument in arguments if argument.annotation is None]
        if missing:
            yield node.lineno, f"{name}: no annotation for {', '.join(missing)}"
        if node.returns is None:
            yield node.lineno, f"{name}: no annotation of what is returned"

    def check_class(node: ast.ClassDef, owner: str) -> Iterator[tuple[int, str]]:
        name = f"{owner}{node.name}"
        if not ast.get_docstring(node):
            yield node.lineno, f"{name} has no docstring"
        for child in node.body:
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                if not child.name.startswith("_") or child.name == "__init__":
                    yield from check_function(child, f"{name}.", method=True)
            elif isinstance(child, ast.ClassDef) and not child.name.startswith("_"):
                yield from check_class(child, f"{name}.")

    def check(module: str) -> Iterator[tuple[int, str]]:
        if not ast.get_docstring(tree(module)):
            yield 1, "the module has no docstring"
        for node in tree(module).body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
                yield from check_function(node, "", method=False)
            elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                yield from check_class(node, "")

    assert violations(check) == []


def test_bad_input_raises_and_nothing_is_unfinished() -> None:
    def check(module: str) -> Iterator[tuple[int, str]]:
        for node in ast.walk(tree(module)):
            if isinstance(node, ast.Assert):
                yield node.lineno, "assert is stripped by python -O: raise ValueError with the value and the remedy"
            if isinstance(node, ast.Name) and node.id == "NotImplementedError":
                yield node.lineno, "unfinished: NotImplementedError"
            if isinstance(node, ast.ExceptHandler) and node.type is None:
                yield node.lineno, "a bare except also swallows Ctrl-C"
        for line, text in enumerate(modules()[module].read_text(encoding="utf-8").splitlines(), start=1):
            for word in ("TODO", "FIXME", "XXX"):
                if word in text:
                    yield line, f"unfinished: {word}"

    assert violations(check) == []


def test_every_random_draw_takes_a_generator() -> None:
    def check(module: str) -> Iterator[tuple[int, str]]:
        for node in ast.walk(tree(module)):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            owner, name = ast.unparse(node.func.value), node.func.attr
            given = {keyword.arg for keyword in node.keywords}
            torch_draw = owner == "torch" and name in DRAWS_OF_TORCH
            draw = torch_draw or name in DRAWS_IN_PLACE or (name in DRAWS_OF_ANY and "generator" not in owner)
            numpy_generator = owner.endswith(("rng", "random_state"))
            if draw and not numpy_generator and "generator" not in given:
                yield node.lineno, f"{owner}.{name} without generator="
            if owner in {"np.random", "numpy.random"}:
                if name not in {"default_rng", "Generator", "RandomState", "SeedSequence", "PCG64", "Philox"}:
                    yield node.lineno, f"{owner}.{name} draws from the global state: use default_rng(seed)"
                elif not (node.args or given):
                    yield node.lineno, f"{name}() without a seed"
            if owner == "random" and (name != "Random" or not node.args):
                yield node.lineno, f"random.{name}: use random.Random(seed)"

    assert violations(check) == []


def test_nothing_global_happens_at_import() -> None:
    def check(module: str) -> Iterator[tuple[int, str]]:
        for node in module_level(tree(module)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in GLOBAL_AT_IMPORT:
                yield node.lineno, f"{ast.unparse(node.func)} at import"
            if isinstance(node, ast.Assign) and any("environ" in ast.unparse(target) for target in node.targets):
                yield node.lineno, "the environment is changed at import"

    assert violations(check) == []


def run_python(code: str) -> str:
    """What a fresh interpreter prints; its error output is shown where it fails."""
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_import_moldiff_loads_nothing_heavy() -> None:
    heavy = sorted(CHEMISTRY | TENSORS | {"numpy", "matplotlib", "scipy", "tyro", "PIL"})
    code = f"import sys, moldiff; dir(moldiff); print([name for name in {heavy} if name in sys.modules])"
    assert run_python(code) == "[]"


def test_training_and_drawing_import_without_chemistry() -> None:
    blocked = sorted(CHEMISTRY | {"matplotlib", "PIL"})
    parts = ["training", "diffusion", "networks", "data", "data.archive", "data.dataset", "data.batching", "generator"]
    code = f"""
import importlib, sys
for name in {blocked}:
    sys.modules[name] = None
for name in {parts}:
    if importlib.import_module("moldiff." + name).__file__ is None:
        raise ImportError("moldiff." + name + " is an empty folder")
print("imported")
"""
    assert run_python(code) == "imported"


def test_public_names_resolve() -> None:
    for name in moldiff.__all__:
        assert name in dir(moldiff)
        value = getattr(moldiff, name)
        assert name == "__version__" or callable(value)
    with pytest.raises(AttributeError, match="no attribute 'lode'; it has load"):
        moldiff.lode  # noqa: B018
