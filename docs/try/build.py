"""Hook of mkdocs: what `try/` needs beside the files in this folder.

The look and the slider are those of the demo, the runtime comes from npm at the
version and checksum of `package-lock.json`, and the network is exported by
`keras-radn export`. What is up to date is not made again.
"""

import fcntl
import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

_FOLDER = Path(__file__).parent
_ROOT = _FOLDER.parents[1]
_DEMO = _ROOT / "keras_radn" / "demo" / "static"
_NETWORK = _ROOT / "build" / "try" / "lite.onnx"
_RUNTIME = _FOLDER / "node_modules" / "onnxruntime-web" / "dist"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the files to the site.

    Raises:
        PluginError: if npm is missing, or it or the export fails.
    """
    _NETWORK.parent.mkdir(parents=True, exist_ok=True)
    with (_NETWORK.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests in several processes
        _install_runtime()
        _export_network()
    for name, path in _parts().items():
        files.append(
            File.generated(config, f"try/{name}", abs_src_path=str(path))
        )
    return files


def _parts():
    styles = ("style.css", "viewer.css")
    demo = ("example.jpg", "icon.svg", *styles, "viewer.js")
    runtime = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")
    # The package on npm holds no licence; it is the same project's.
    wheel = Path(importlib.util.find_spec("onnxruntime").origin).parent
    return {
        **{name: _DEMO / name for name in demo},
        **{name: _RUNTIME / name for name in runtime},
        "onnxruntime-web.LICENSE.txt": wheel / "LICENSE",
        "onnxruntime-web.NOTICES.txt": wheel / "ThirdPartyNotices.txt",
        "lite.onnx": _NETWORK,
    }


def _install_runtime():
    installed = _FOLDER / "node_modules" / ".package-lock.json"
    if _is_newer(installed, [_FOLDER / "package-lock.json"]):
        return
    npm = shutil.which("npm")
    if npm is None:
        raise PluginError(
            "The page that deblurs in the browser needs npm, which is not "
            "installed: apt-get install npm, or see nodejs.org."
        )
    _run(npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund")


def _export_network():
    sources = [
        source
        for room in ("export", "layers", "models", "ops")
        for source in (_ROOT / "keras_radn" / room).rglob("*.*")
        if source.suffix in (".py", ".npz")
    ]
    if _is_newer(_NETWORK, sources):
        return
    # DeformConv, with which onnxruntime-web takes three quarters of the time.
    _run(
        *(sys.executable, "-m", "keras_radn", "export", "--format", "onnx"),
        *("--preset", "lite", "--deform-conv", "--force", "-o", _NETWORK),
    )


def _is_newer(path: Path, sources: Iterable[Path]) -> bool:
    if not path.exists():
        return False
    newest = max(source.stat().st_mtime for source in sources)
    return path.stat().st_mtime >= newest


def _run(*command):
    finished = subprocess.run(
        command, cwd=_FOLDER, capture_output=True, text=True, check=False
    )
    if finished.returncode != 0:
        name = Path(command[0]).name
        raise PluginError(f"{name} failed: {finished.stderr.strip()}")
