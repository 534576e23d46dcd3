def pytest_collection_modifyitems(items):
    """Notebooks are executed by nbmake, which takes no marks."""
    for item in items:
        if item.path.suffix == ".ipynb":
            item.add_marker("slow")
