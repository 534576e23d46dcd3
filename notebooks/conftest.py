def pytest_collection_modifyitems(items):
    """Marks notebooks as slow, since nbmake takes no marks from them."""
    for item in items:
        if item.path.suffix == ".ipynb":
            item.add_marker("slow")
