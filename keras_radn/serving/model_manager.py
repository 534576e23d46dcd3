import contextlib
import dataclasses
import logging
import threading
from collections.abc import Callable, Iterator

import tensorflow as tf
from grpc import StatusCode
from tensorflow_serving.apis import get_model_status_pb2

from keras_radn.serving.errors import ServingError, from_tensorflow, invalid
from keras_radn.serving.model_config import (
    ModelConfig,
    ModelServerConfig,
    check_config,
)
from keras_radn.serving.servable import Servable
from keras_radn.serving.versions import aspired, candidates, fingerprint
from keras_radn.serving.warmup import load

_logger = logging.getLogger("keras_radn.serving")
_State = get_model_status_pb2.ModelVersionStatus.State


@dataclasses.dataclass
class _Version:
    """What is known of a version's folder."""

    fingerprint: tuple = ()
    state: int = _State.START
    error: ServingError | None = None
    servable: Servable | None = None
    users: int = 0


class ModelManager:
    """Loads versions of models as they appear, and unloads the old ones.

    A version is unloaded when the one that replaces it has been loaded and the
    requests that use it are answered. One that cannot be loaded is reported
    in the status, and the next older one stays; it is tried again when its
    files change. All methods may be called from several threads.

    Args:
        config: the models; TF-Serving's policies `latest` (the default, of one
            version), `all` and `specific`, and its labels.
        read_config: gives the configuration at each poll, should it come from a
            file; it is taken when it has changed.
    """

    def __init__(
        self,
        config: ModelServerConfig,
        read_config: Callable[[], ModelServerConfig] | None = None,
    ) -> None:
        check_config(config)
        self._config = self._config_read = config
        self._read_config = read_config
        self._models: dict[str, dict[int, _Version]] = {}
        self._lock = threading.Lock()  # of the fields above
        self._polling = threading.Lock()  # one poll at a time
        self._reloading = threading.Lock()  # one new configuration at a time
        self._config_error = None
        self._poll(at_once=True)

    def poll(self) -> None:
        """Looks for new versions, and for a new configuration."""
        if self._read_config is not None:
            try:
                config = self._read_config()
                # Not the one in use: a client may have changed that.
                if config != self._config_read:
                    self.reload(config)
                self._config_read = config
                self._config_error = None
            except (ValueError, OSError, ServingError) as error:
                if str(error) != self._config_error:
                    _logger.error("The configuration stays: %s", error)
                self._config_error = str(error)
        self._poll()

    def reload(self, config: ModelServerConfig) -> None:
        """Replaces the configuration and loads what it names.

        Raises:
            ServingError: it is not usable (`INVALID_ARGUMENT`), or gives a
                label to a version that is not available, nor becomes so by it
                (`FAILED_PRECONDITION`). The old one then stays.
        """
        try:
            check_config(config)
        except ValueError as error:
            raise invalid(str(error)) from error
        with self._reloading:
            with self._lock:
                old, labels = self._config, self._labels()
            given = [
                (model, version)
                for model in config.model_config_list.config
                for label, version in model.version_labels.items()
                if labels.get((model.name, label)) != version
            ]
            for model, version in given:
                if version not in aspired(model):
                    self._check_available(model.name, version)
            self._replace(config)
            try:
                for model, version in given:
                    self._check_available(model.name, version)
            except ServingError:
                self._replace(old)
                raise
        _logger.info("There is a new configuration")

    @contextlib.contextmanager
    def using(
        self, name: str, version: int | None = None, label: str | None = None
    ) -> Iterator[tuple[int, Servable]]:
        """A version of a model, which stays loaded in the meantime.

        Args:
            name: the model.
            version: its version; `None` for the latest, or that of the label.
            label: one of the configuration's labels.

        Yields:
            The version's number and the version.

        Raises:
            ServingError: it is not available (`NOT_FOUND`), or the label is
                unknown (`INVALID_ARGUMENT`).
        """
        with self._lock:
            version, entry = self._find(name, version, label)
            entry.users += 1
        try:
            yield version, entry.servable
        finally:
            with self._lock:
                entry.users -= 1

    def status(
        self, name: str, version: int | None = None, label: str | None = None
    ) -> get_model_status_pb2.GetModelStatusResponse:
        """The states of a model's versions, or of the one that is asked for.

        Raises:
            ServingError: it is not known (`NOT_FOUND`).
        """
        response = get_model_status_pb2.GetModelStatusResponse()
        with self._lock:
            if label is not None:
                version = self._labelled(name, label)
            versions = self._models.get(name, {})
            if version is not None:
                if version not in versions:
                    raise ServingError(
                        StatusCode.NOT_FOUND,
                        f"Could not find version {version} of model {name}",
                    )
                versions = {version: versions[version]}
            for number, entry in sorted(versions.items(), reverse=True):
                status = response.model_version_status.add(
                    version=number, state=entry.state
                )
                status.status.SetInParent()
                if entry.error is not None:
                    status.status.error_code = entry.error.code.value[0]
                    status.status.error_message = entry.error.message
        if not response.model_version_status:
            raise ServingError(
                StatusCode.NOT_FOUND,
                f"Could not find any versions of model {name}",
            )
        return response

    def names(self) -> list[str]:
        """The names of the models."""
        with self._lock:
            return [m.name for m in self._config.model_config_list.config]

    def unavailable(self) -> dict[str, str]:
        """The models without an available version, and why."""
        missing = {}
        with self._lock:
            for model in self._config.model_config_list.config:
                versions = self._models.get(model.name, {})
                if not any(v.servable for v in versions.values()):
                    missing[model.name] = _why(model, versions)
        return missing

    def close(self) -> None:
        """Unloads everything."""
        with self._polling, self._lock:
            for versions in self._models.values():
                for entry in versions.values():
                    if entry.servable is not None:
                        entry.servable.close()
            self._models.clear()

    def _replace(self, config):
        with self._lock:
            self._config = config
        self._poll(at_once=True)

    def _poll(self, at_once=False):
        with self._polling:
            with self._lock:
                models = list(self._config.model_config_list.config)
            for model in models:
                self._update(model, at_once)
            kept = {model.name for model in models}
            with self._lock:
                gone = [name for name in self._models if name not in kept]
            for name in gone:
                self._retire(name, ())
                with self._lock:
                    states = {v.state for v in self._models[name].values()}
                    if states <= {_State.END}:
                        del self._models[name]

    def _update(self, model: ModelConfig, at_once):
        """Loads what the policy asks for, then retires the rest."""
        folders, wanted = candidates(model)
        with self._lock:
            versions = self._models.setdefault(model.name, {})
        chosen = []
        for number in sorted(folders, reverse=True):
            if len(chosen) == wanted:
                break
            with self._lock:
                entry = versions.setdefault(number, _Version())
            if entry.servable is None or entry.state != _State.AVAILABLE:
                self._load(model.name, number, entry, folders[number], at_once)
            if entry.state == _State.AVAILABLE:
                chosen.append(number)
        if chosen:
            self._retire(model.name, chosen)
        with self._lock:
            for number in set(versions) - set(folders):
                if versions[number].servable is None:
                    del versions[number]

    def _load(self, name, number, entry, path, at_once):
        if entry.servable is not None:  # wanted again while being unloaded
            entry.state = _State.AVAILABLE
            return
        current = fingerprint(path)
        tried = entry.state == _State.END and entry.error is not None
        changed = current != entry.fingerprint
        entry.fingerprint = current
        # Files that are still being copied change from one poll to the next.
        if changed and not at_once:
            entry.state, entry.error = _State.START, None
            return
        if tried and not changed:
            return
        entry.state, entry.error = _State.LOADING, None
        try:
            servable = load(path)
        except Exception as error:  # whatever the files hold
            entry.error = _load_error(error)
            entry.state = _State.END
            _logger.error(
                "%s: version %d cannot be loaded: %s",
                name,
                number,
                entry.error.message,
            )
            return
        with self._lock:
            entry.servable = servable
            entry.state = _State.AVAILABLE
        _logger.info("%s: version %d is available", name, number)

    def _retire(self, name, kept):
        with self._lock:
            unused = []
            for number, entry in self._models[name].items():
                if number in kept or entry.servable is None:
                    continue
                entry.state = _State.UNLOADING
                if not entry.users:
                    unused.append((entry.servable, number))
                    entry.servable = None
                    entry.state = _State.END
        for servable, number in unused:
            servable.close()
            _logger.info("%s: version %d is unloaded", name, number)

    def _find(self, name, version, label):
        if label is not None:
            version = self._labelled(name, label)
        available = {
            number: entry
            for number, entry in self._models.get(name, {}).items()
            if entry.state == _State.AVAILABLE
        }
        wanted = max(available, default=None) if version is None else version
        if wanted not in available:
            request = (
                f"Latest({name})"
                if version is None
                else f"Specific({name}, {version})"
            )
            raise ServingError(
                StatusCode.NOT_FOUND,
                f"Servable not found for request: {request}",
            )
        return wanted, available[wanted]

    def _labels(self):
        return {
            (model.name, label): version
            for model in self._config.model_config_list.config
            for label, version in model.version_labels.items()
        }

    def _labelled(self, name, label):
        try:
            return self._labels()[name, label]
        except KeyError:
            raise invalid(
                f"Unrecognized servable version label: {label}"
            ) from None

    def _check_available(self, name, version):
        with self._lock:
            entry = self._models.get(name, {}).get(version)
            if entry is None or entry.state != _State.AVAILABLE:
                raise ServingError(
                    StatusCode.FAILED_PRECONDITION,
                    f"Request to assign label to version {version} of model "
                    f"{name}, which is not currently available for inference",
                )


def _load_error(error):
    if isinstance(error, ServingError):
        return error
    if isinstance(error, tf.errors.OpError):
        return from_tensorflow(error)
    return ServingError(StatusCode.UNKNOWN, f"{error}")


def _why(model, versions):
    for number, entry in sorted(versions.items(), reverse=True):
        if entry.error is not None:
            return f"version {number} cannot be loaded: {entry.error.message}"
    return (
        f"{model.base_path}: holds no version, that is, no numbered folder "
        "with a saved_model.pb"
    )
