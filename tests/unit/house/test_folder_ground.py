"""Nothing in an agency's folder is opened by its path: whoever may write there could put a link under any name."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.unit.house.sources import Module, modules

_GROUND = "adapters/folder_ground.py"
_BY_PATH = frozenset(
    {
        "access", "chmod", "chown", "fwalk", "link", "listdir", "lstat", "makedirs", "mkdir", "open", "readlink",
        "remove", "removedirs", "rename", "renames", "replace", "rmdir", "scandir", "stat", "symlink", "truncate",
        "unlink", "utime", "walk",
    }
)  # fmt: skip
_OF_A_PATH = frozenset(
    {
        "exists", "glob", "is_dir", "iterdir", "lstat", "mkdir", "read_bytes", "read_text", "rglob", "rmdir", "unlink",
        "write_bytes",
    }
)  # fmt: skip
_LIBRARIES = frozenset({"glob", "shutil", "tempfile"})


def opened_by_path(module: Module) -> Iterator[str]:
    """What a module does to files by their paths."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import) and _LIBRARIES & {each.name for each in node.names}:
            yield f"{module.path}:{node.lineno}: {ast.unparse(node)}"
        elif isinstance(node, ast.Attribute):
            of = ast.unparse(node.value)
            if of != "entry" and node.attr in (_BY_PATH if of == "os" else _OF_A_PATH):
                yield f"{module.path}:{node.lineno}: {ast.unparse(node)}"


def test_only_the_ground_opens_what_lies_in_an_agency_s_folder() -> None:
    folders = [module for module in modules() if module.path.startswith("adapters/folder")]
    assert len(folders) > 5
    assert [found for module in folders if module.path != _GROUND for found in opened_by_path(module)] == []
    [ground] = [module for module in folders if module.path == _GROUND]
    assert list(opened_by_path(ground)), "the rule sees nothing"


def test_whatever_the_ground_opens_by_a_name_follows_no_link() -> None:
    """A handle of a folder with it, or the root itself; and no link is followed, whatever else is asked for."""
    [ground] = [module for module in modules() if module.path == _GROUND]
    for name, call in ground.calls():
        if not isinstance(call.func, ast.Attribute) or ast.unparse(call.func.value) != "os" or name not in _BY_PATH:
            continue
        said, keywords = ast.unparse(call), {each.arg for each in call.keywords}
        is_root = said == "os.open(root, _AS_PLACE)"
        assert is_root or keywords & {"dir_fd", "src_dir_fd"} or said == "os.scandir(self.handle)", said
        if name == "open":
            assert "_SAFE" in said or "_AS_PLACE" in said, said
        if name in ("stat", "utime", "link"):
            assert "follow_symlinks=False" in said, said
