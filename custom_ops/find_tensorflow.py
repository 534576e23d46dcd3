"""Prints TensorFlow's folder and version without the seconds of an import."""

import importlib.metadata
import importlib.util

spec = importlib.util.find_spec("tensorflow")
if spec is None:
    raise SystemExit("no TensorFlow")
for name in ("tensorflow", "tensorflow-cpu", "tensorflow-gpu", "tf-nightly"):
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        continue
    print(f"{spec.submodule_search_locations[0]};{version}")
    break
else:
    raise SystemExit("TensorFlow has no distribution")
