"""What the papers say is so: commands, versions, names of files, terms; and what no file of ours may hold."""

from __future__ import annotations

import ast
import os
import re
import tomllib
from pathlib import Path

import pytest

from tests.unit.house.sources import HOUSE, modules, texts

SHARED_DESIGN = HOUSE.parent / "shared" / "design.md"
# Put together here, so that this file does not hold them itself.
REGISTRY_HOSTS = (
    "pypi" + ".org",
    "python" + "hosted",
    "registry.npm" + "js",
    "proxy.golang" + ".org",
    "artifact" + "ory",
)
UNFINISHED = ("raise NotImplemented" + "Error", "TO" + "DO", "FIX" + "ME", "X" + "XX")
OTHERS_BYTES = ("tests/corpus/", "edxml/data/", "routing/data/", "tests/unit/routing/data/")


def version() -> str:
    return str(tomllib.loads((HOUSE / "pyproject.toml").read_text("utf-8"))["project"]["version"])


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (HOUSE / "Makefile").read_text("utf-8"), re.MULTILINE))


def pages() -> list[Path]:
    top = [HOUSE / name for name in ("README.md", "README.vi.md", "CONTRIBUTING.md", "CHANGELOG.md")]
    return top + sorted((HOUSE / "docs").rglob("*.md"))


def test_every_make_command_in_the_papers_is_a_target() -> None:
    command = re.compile(r"(?:^|`|&& )make ([a-z]+)", re.MULTILINE)
    said = {(page.name, target) for page in pages() for target in command.findall(page.read_text("utf-8"))}
    assert {target for _, target in said} >= {"demo", "test"}
    assert {pair for pair in said if pair[1] not in make_targets()} == set()


def test_every_target_of_the_makefile_is_phony() -> None:
    """A folder named like a target (`image/`) would else make `make` say that there is nothing to do."""
    declared = re.findall(r"^\.PHONY: (.+)$", (HOUSE / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert set(" ".join(declared).split()) == make_targets()


@pytest.mark.parametrize("name", ["README.md", "README.vi.md"])
def test_the_first_screen_of_the_readme_holds_the_two_commands(name: str) -> None:
    first_screen = "\n".join((HOUSE / name).read_text("utf-8").splitlines()[:30])
    assert "make demo" in first_screen
    assert "make test" in first_screen


def test_the_changelog_begins_with_this_version() -> None:
    found = re.search(r"^## (\d+\.\d+\.\d+)", (HOUSE / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert found is not None
    assert found[1] == version()


def test_every_link_of_the_papers_at_the_top_leads_somewhere() -> None:
    """Links inside docs/ are checked by the docs build."""
    link = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
    top = [page for page in pages() if page.parent == HOUSE]
    broken = [(p.name, to) for p in top for to in link.findall(p.read_text("utf-8")) if not (HOUSE / to).exists()]
    assert broken == []


def test_every_file_that_the_papers_name_exists() -> None:
    path = re.compile(
        r"`((?:gateway|edxml|adapters|routing|monitoring|tests|scripts|benchmarks|docs)/[\w/.\-]*?)(?:::\w+)?`"
    )
    missing = [
        (page.name, name)
        for page in pages()
        for name in path.findall(page.read_text("utf-8"))
        if not (HOUSE / name).exists()
    ]
    assert missing == []


def test_every_test_that_the_papers_name_exists() -> None:
    """The guarantees name the tests that prove them; a renamed test must not leave its promise without proof."""
    named = re.compile(r"`(tests/[\w/.\-]+\.py)::(\w+)`")
    gone = []
    for page in pages():
        for name, test in named.findall(page.read_text("utf-8")):
            path = HOUSE / name
            if not path.exists() or f"def {test}(" not in path.read_text("utf-8"):
                gone.append((page.name, name, test))
    assert gone == []


def test_a_proof_that_the_guarantees_name_is_run_by_make_test_or_names_what_runs_it() -> None:
    """`make test` leaves out what is marked long."""
    long = re.compile(r"@pytest\.mark\.long\n(?:@.+\n)*def (\w+)")
    silent = []
    for paragraph in re.split(r"\n(?:- |\n)", (HOUSE / "docs/guarantees.md").read_text("utf-8")):
        for name, test in re.findall(r"`(tests/[\w/.\-]+\.py)(?:::(\w+))?`", paragraph):
            source = (HOUSE / name).read_text("utf-8")
            whole = re.search(r"^pytestmark = .*mark\.long", source, re.MULTILINE)
            if (whole or test in long.findall(source)) and not re.search("`make (?!test)", paragraph):
                silent.append((name, test))
    assert silent == []


def test_every_function_that_the_papers_name_exists() -> None:
    """`gateway.model.machine.conclude` and the like: the module exists and defines the name."""
    dotted = re.compile(
        r"`((?:gateway|edxml|adapters|routing|monitoring)(?:\.[a-z_]\w*)+)\.([A-Za-z_]\w*)(?:\([^`]*\))?`"
    )
    gone = []
    for page in pages():
        for module, name in dotted.findall(page.read_text("utf-8")):
            base = HOUSE.joinpath(*module.split("."))
            path = base / "__init__.py" if base.is_dir() else base.with_suffix(".py")
            inside = (base / name).exists() or (base / f"{name}.py").exists()
            if not inside and (not path.exists() or not re.search(rf"\b{name}\b", path.read_text("utf-8"))):
                gone.append((page.name, module, name))
    assert gone == []


def glossary_terms() -> set[str]:
    text = (HOUSE / "docs/glossary.md").read_text("utf-8")
    return {term for row in re.findall(r"^\| ([^|]+) \|", text, re.MULTILINE) for term in split_terms(row)}


def split_terms(cell: str) -> set[str]:
    return {term.strip(" `*") for term in re.split(r"[/,]", cell)}


@pytest.mark.shared
@pytest.mark.skipif(not SHARED_DESIGN.exists(), reason="design.md of the shared folder is absent")
def test_the_glossary_has_every_name_of_the_design() -> None:
    names = SHARED_DESIGN.read_text("utf-8").split("## 10. Names")[1].split("## 11.")[0]
    cells = [row for row in re.findall(r"^\| ([^|]+) \|", names, re.MULTILINE) if row not in ("code", "---")]
    wanted = {term for cell in cells for term in split_terms(cell)}
    assert len(wanted) > 25
    assert {term.lower() for term in wanted} - {term.lower() for term in glossary_terms()} == set()


def test_no_file_names_a_registry_host_or_a_place_on_somebodys_machine() -> None:
    places = ("/" + "work/", "/" + "home/", os.path.expanduser("~") + "/")
    wrong = [
        (path, word)
        for path, text in texts()
        if not path.startswith(OTHERS_BYTES)
        for word in (*REGISTRY_HOSTS, *places)
        if word in text
    ]
    assert wrong == []


def test_the_lock_file_has_hashes_and_no_address() -> None:
    for name in ("requirements.lock", "requirements.build.lock"):
        text = (HOUSE / name).read_text("utf-8")
        assert "--hash=sha256:" in text
        assert "://" not in text
        assert "--index-url" not in text


def test_nothing_is_left_unfinished() -> None:
    kinds = (".py", ".toml", ".sh", ".yml")
    wrong = [
        (path, word)
        for path, text in texts()
        if path.endswith(kinds) and not path.startswith(OTHERS_BYTES)
        for word in UNFINISHED
        if not (path.startswith("tests/") and word == UNFINISHED[0])  # a contract suite leaves gaps to be filled
        if re.search(rf"\b{word}\b", text)
    ]
    assert wrong == []


def test_no_test_mocks_our_own_code() -> None:
    mocks = ("unittest" + ".mock", "mock" + ".patch")
    wrong = [(path, word) for path, text in texts() if path.startswith("tests/") for word in mocks if word in text]
    assert wrong == []


def test_no_folder_of_the_house_is_empty() -> None:
    rooms = (
        "gateway",
        "edxml",
        "adapters",
        "routing",
        "monitoring",
        "docs",
        "tests",
        "benchmarks",
        "scripts",
        "docker",
    )
    empty = [
        str(folder.relative_to(HOUSE))
        for room in rooms
        if (HOUSE / room).exists()
        for folder in [HOUSE / room, *(p for p in (HOUSE / room).rglob("*") if p.is_dir())]
        if "__pycache__" not in folder.parts and not [p for p in folder.iterdir() if p.name != "__pycache__"]
    ]
    assert empty == []


def test_public_functions_of_the_packages_have_docstrings() -> None:
    """What a module offers in `__all__` promises something in words."""
    silent: list[str] = []
    for module in modules():
        offered = exported(module.tree)
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
        defined = [node for node in module.tree.body if isinstance(node, kinds)]
        silent += [f"{module.path}:{n.name}" for n in defined if n.name in offered and not ast.get_docstring(n)]
    assert silent == []


def exported(tree: ast.Module) -> set[str]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets):
            return set(ast.literal_eval(node.value))
    return set()


_BUILT = {
    "docs/guides/pdf-signatures.md": ("signatures of PDFs", "chữ ký trong tệp PDF"),
    "docs/guides/packet-signatures.md": ("signing", "ký gói tin"),
    "docs/guides/seal.md": ("seals", "niêm phong"),
}
"""What each guide is about, as a paper would say that it is missing."""


@pytest.mark.parametrize(("name", "begins"), [("README.md", "Not built yet:"), ("README.vi.md", "Chưa có:")])
def test_nothing_that_has_a_guide_is_said_to_be_missing(name: str, begins: str) -> None:
    missing = " ".join((HOUSE / name).read_text("utf-8").partition(begins)[2].partition(". ")[0].split())
    assert missing
    for guide, words in _BUILT.items():
        assert (HOUSE / guide).exists()
        assert not [word for word in words if word in missing], f"{guide} is there"
