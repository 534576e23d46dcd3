"""What CONTRIBUTING and pyproject.toml say of the package, and what it is."""

import re
import tomllib
from pathlib import Path

import grimp

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
ROW = r"^\| `keras_radn/([a-z_]+)(?:\.py`, `([a-z_]+))?(?:\.py)?` \|.*\|(.*)\|$"


def table():
    """Returns for each part of the package the parts that it may import."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    rows = {}
    for first, second, imports in re.findall(ROW, text, re.MULTILINE):
        # In brackets there is what a part is imported for.
        names = re.sub(r"\(.*?\)", "", imports).replace(",", " ").split()
        for name in filter(None, (first, second)):
            rows[name] = set(names)
    return rows


def test_parts_import_what_the_table_says():
    graph = grimp.build_graph("keras_radn", exclude_type_checking_imports=True)
    parts = {child.split(".")[1] for child in graph.find_children("keras_radn")}
    rows = table()
    assert parts - rows.keys() <= {"__main__", "custom_ops"}
    assert "ops" in rows["layers"]
    for part in parts & rows.keys() - {"cli"}:  # which imports all of them
        found = {
            other
            for other in parts - {part}
            if any(
                target.split(".")[1:2] == [other]
                for module in modules_of(graph, f"keras_radn.{part}")
                for target in graph.find_modules_directly_imported_by(module)
            )
        }
        assert found == rows[part], part


def modules_of(graph, part):
    return {part, *graph.find_descendants(part)}


def test_without_tensorflow_nothing_else_is_missing():
    def names(requirements):
        return {re.match(r"[\w-]+", text)[0] for text in requirements}

    needed = names(PROJECT["project"]["dependencies"]) - {"tensorflow"}
    group = names(PROJECT["dependency-groups"]["without-tensorflow"])
    assert group == needed | {"scikit-build-core"}
