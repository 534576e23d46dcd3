from collections.abc import Callable, Iterable

import prometheus_client
from prometheus_client.core import GaugeMetricFamily, Metric

# Microseconds; TF-Serving's buckets begin at 10 and grow by 1.8, these by 2.
_BUCKETS = [100 * 2**i for i in range(20)]


class Metrics:
    """What Prometheus reads. TF-Serving's names, where it has the metric.

    Args:
        taken: gives the number of requests in the server.
        statuses: gives `(model, version, state)` of all versions.
    """

    def __init__(
        self,
        taken: Callable[[], int],
        statuses: Callable[[], Iterable[tuple[str, int, str]]],
    ) -> None:
        self._registry = prometheus_client.CollectorRegistry()
        self._registry.register(prometheus_client.PROCESS_COLLECTOR)
        self._requests = prometheus_client.Counter(
            ":tensorflow:serving:request_count",
            "Requests, by model and status.",
            ["model_name", "status"],
            registry=None,
        )
        self._registry.register(_WithoutSuffix(self._requests))
        self._latency = prometheus_client.Histogram(
            ":tensorflow:serving:request_latency",
            "Microseconds from the arrival of a request to its answer.",
            ["model_name", "API", "entrypoint"],
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._runtime = prometheus_client.Histogram(
            ":tensorflow:serving:runtime_latency",
            "Microseconds in TensorFlow's runtime.",
            ["model_name", "API"],
            buckets=_BUCKETS,
            registry=self._registry,
        )
        prometheus_client.Gauge(
            "keras_radn_serving_requests_in_progress",
            "Requests that wait, are computed or are being sent.",
            registry=self._registry,
        ).set_function(taken)
        self._registry.register(_Versions(statuses))

    def answered(
        self,
        model: str,
        api: str,
        entrypoint: str,
        status: str,
        seconds: float,
    ) -> None:
        """Counts a request that is over."""
        self._requests.labels(model, status).inc()
        if status == "OK":
            self._latency.labels(model, api, entrypoint).observe(seconds * 1e6)

    def computed(self, model: str, api: str, seconds: float) -> None:
        """Counts the time in the runtime."""
        self._runtime.labels(model, api).observe(seconds * 1e6)

    def page(self) -> bytes:
        """Prometheus' text format, of the type `page_type`."""
        return prometheus_client.generate_latest(self._registry)

    page_type = prometheus_client.CONTENT_TYPE_LATEST


class _WithoutSuffix:
    """A counter under TF-Serving's name, to which the client adds "_total"."""

    def __init__(self, counter):
        self._counter = counter

    def collect(self):
        for family in self._counter.collect():
            metric = Metric(family.name, family.documentation, "unknown")
            metric.samples = [
                sample._replace(name=family.name)
                for sample in family.samples
                if sample.name.endswith("_total")
            ]
            yield metric


class _Versions:
    def __init__(self, statuses):
        self._statuses = statuses

    def collect(self):
        family = GaugeMetricFamily(
            "keras_radn_serving_version_state",
            "1 for the state of a version.",
            labels=["model_name", "version", "state"],
        )
        for model, version, state in self._statuses():
            family.add_metric([model, str(version), state], 1)
        yield family
