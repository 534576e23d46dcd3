import collections
import contextlib
import dataclasses
import io
import time
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from google.protobuf.message import Message
from PIL import Image
from tensorflow_serving.apis import input_pb2

from keras_radn.serving.admission import Admission
from keras_radn.serving.errors import invalid
from keras_radn.serving.examples import Task, infer
from keras_radn.serving.metrics import Metrics
from keras_radn.serving.model_manager import ModelManager
from keras_radn.serving.servable import Servable


@dataclasses.dataclass(frozen=True)
class Target:
    """What a request is for."""

    name: str
    version: int | None = None
    label: str | None = None


@dataclasses.dataclass(frozen=True)
class Chosen:
    """The version that answers a request."""

    name: str
    version: int
    servable: Servable


class RequestHandler:
    """What both protocols need to answer requests.

    Args:
        manager: the models.
        admission: who may come in.
        metrics: what is counted.
        timeout: seconds that a request may take.
        max_body: bytes of the largest request.
        max_pixels: pixels of all images of a request together.
    """

    def __init__(
        self,
        manager: ModelManager,
        admission: Admission,
        metrics: Metrics,
        timeout: float,
        max_body: int,
        max_pixels: int,
    ) -> None:
        self.manager = manager
        self.admission = admission
        self.metrics = metrics
        self.timeout = timeout
        self.max_body = max_body
        self._max_pixels = max_pixels

    @contextlib.contextmanager
    def admitted(self, target: Target) -> Iterator[Chosen]:
        """The version that is to answer, and a place in the server.

        Both are kept until the answer is sent: whoever came in before a version
        was replaced is still answered by it.

        Raises:
            ServingError: there is no such version, or no place.
        """
        with (
            self.manager.using(target.name, target.version, target.label) as (
                version,
                servable,
            ),
            self.admission.place(),
        ):
            yield Chosen(target.name, version, servable)

    def predict(
        self,
        chosen: Chosen,
        signature_name: str,
        inputs: Mapping[str, np.ndarray],
        deadline: float,
        output_filter: Sequence[str] = (),
    ) -> dict[str, np.ndarray]:
        """See `Servable.predict`; the images are counted before.

        Raises:
            ServingError: too many pixels, or what `Servable.predict` raises.
        """
        self._check_pixels(sum(map(_count_pixels, inputs.values())))
        started = time.monotonic()
        outputs = chosen.servable.predict(
            signature_name, inputs, output_filter, deadline - started
        )
        self._computed(chosen, "Predict", started)
        return outputs

    def infer(
        self,
        chosen: Chosen,
        tasks: Sequence[Task],
        source: input_pb2.Input,
        deadline: float,
    ) -> list[Message]:
        """See `examples.infer`; the images in the examples are counted before.

        Raises:
            ServingError: too many bytes or pixels, or what `infer` raises.
        """
        self._check_size(source)
        self._check_pixels(_count_example_pixels(source))
        started = time.monotonic()
        results = infer(chosen.servable, tasks, source, deadline - started)
        api = tasks[0].api if len(tasks) == 1 else "MultiInference"
        self._computed(chosen, api, started)
        return results

    def _computed(self, chosen, api, started):
        seconds = time.monotonic() - started
        self.metrics.computed(chosen.name, api, seconds)

    def _check_size(self, source):
        """Refuses examples that grow too large with what is common to all.

        It is once in a request, but then in each example.
        """
        common = source.example_list_with_context
        size = common.context.ByteSize() * len(common.examples)
        if size > self.max_body:
            error = invalid(
                f"The examples would have {size} bytes of what is common to "
                f"all, more than the server's {self.max_body}; send fewer at a "
                "time."
            )
            error.http_status = 413
            raise error

    def _check_pixels(self, pixels):
        if pixels > self._max_pixels:
            error = invalid(
                f"The request has images of {pixels} pixels, more than the "
                f"server's {self._max_pixels}; send smaller ones, or fewer at "
                "a time, or raise the server's limit (`max_pixels`)."
            )
            error.http_status = 413
            raise error

    def answered(
        self,
        name: str,
        api: str,
        entrypoint: str,
        code: str,
        seconds: float,
    ) -> None:
        """Counts a request that is over, by the name of its code."""
        # A name that a client made up must not become a time series.
        known = name if name in self.manager.names() else ""
        self.metrics.answered(known, api, entrypoint, code, seconds)


def _count_pixels(array):
    if array.dtype != object:
        # Images have at least a height, a width and channels.
        return array.size // array.shape[-1] if _is_image(array) else 0
    # A small message can repeat one string a million times.
    pictures = collections.Counter(array.flat)
    return sum(n * _encoded_pixels(data) for data, n in pictures.items())


def _count_example_pixels(source):
    common = source.example_list_with_context
    pictures = collections.Counter(_bytes_values(*source.example_list.examples))
    pictures.update(_bytes_values(*common.examples))
    for data, n in collections.Counter(_bytes_values(common.context)).items():
        pictures[data] += n * len(common.examples)
    return sum(n * _encoded_pixels(data) for data, n in pictures.items())


def _bytes_values(*examples):
    for example in examples:
        for feature in example.features.feature.values():
            yield from feature.bytes_list.value


def _is_image(array):
    return array.ndim >= 3 and array.shape[-1] > 0


def _encoded_pixels(data):
    """Pixels by the header; 0 for other data, which the graph refuses."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            return image.width * image.height
    except Exception:  # Pillow raises many kinds for damaged files
        return 0
