"""The files in serving/, as the programs that they are for read them."""

import json
import re
from importlib.resources import files
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest
import yaml
from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    text_format,
    wrappers_pb2,
)
from tensorflow_serving.config import model_server_config_pb2

from keras_radn.serving.model_config import ModelServerConfig

ROOT = Path(__file__).parents[2]
SERVING = ROOT / "serving"
KUBERNETES = "1.34"


def read(name):
    return (SERVING / name).read_text()


@pytest.fixture(scope="module")
def protos():
    """TF-Serving's messages that its Python package lacks.

    The fields are those of monitoring_config.proto and
    session_bundle_config.proto.
    """
    field = descriptor_pb2.FieldDescriptorProto
    int64 = ".google.protobuf.Int64Value"
    messages = {
        "PrometheusConfig": {"enable": field.TYPE_BOOL}
        | {"path": field.TYPE_STRING},
        "MonitoringConfig": {"prometheus_config": ".t.PrometheusConfig"},
        "BatchingParameters": dict.fromkeys(
            (
                *("max_batch_size", "batch_timeout_micros"),
                *("max_enqueued_batches", "num_batch_threads"),
            ),
            int64,
        ),
    }
    file = descriptor_pb2.FileDescriptorProto(
        name="t.proto",
        package="t",
        syntax="proto3",
        dependency=[wrappers_pb2.DESCRIPTOR.name],
    )
    for name, fields in messages.items():
        message = file.message_type.add(name=name)
        for number, (key, kind) in enumerate(fields.items(), 1):
            added = message.field.add(
                name=key, number=number, label=field.LABEL_OPTIONAL
            )
            if isinstance(kind, str):
                added.type, added.type_name = field.TYPE_MESSAGE, kind
            else:
                added.type = kind
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(
            pool.FindMessageTypeByName(f"t.{name}")
        )
        for name in messages
    }


def test_models_config():
    config = text_format.Parse(
        read("config/models.config"), ModelServerConfig()
    )
    (model,) = config.model_config_list.config
    assert (model.name, model.base_path) == ("radn", "/models/radn")
    assert model.model_version_policy.WhichOneof("policy_choice") == "latest"


def test_labels_in_the_comment():
    """The comment in models.config is right for two versions."""
    comment = re.findall(
        r"^    # {3}(model_version_policy.*|version_labels.*)$",
        read("config/models.config"),
        re.MULTILINE,
    )
    model = text_format.Parse(
        "\n".join(comment), model_server_config_pb2.ModelConfig()
    )
    assert list(model.model_version_policy.specific.versions) == [1, 2]
    assert dict(model.version_labels) == {"stable": 1, "canary": 2}


def test_monitoring_and_batching(protos):
    monitoring = text_format.Parse(
        read("config/monitoring.config"), protos["MonitoringConfig"]()
    )
    assert monitoring.prometheus_config.enable
    assert monitoring.prometheus_config.path == "/monitoring/prometheus/metrics"
    batching = text_format.Parse(
        read("config/batching.config"), protos["BatchingParameters"]()
    )
    assert batching.max_batch_size.value > 1


def test_compose():
    compose = yaml.safe_load(read("compose.yaml"))
    schema = files("check_jsonschema.builtin_schemas.vendor")
    jsonschema.validate(
        compose, json.loads((schema / "compose-spec.json").read_text())
    )
    (service,) = compose["services"].values()
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    for volume in service["volumes"]:
        folder = volume.split(":")[0]
        # What is exported is not in the repository.
        assert (SERVING / folder).is_dir() or folder == "./models"


def test_all_run_the_same_server():
    """Dockerfile, compose.yaml and kubernetes.yaml agree."""
    version = re.search(r"TF_SERVING_VERSION=(\S+)", read("Dockerfile"))[1]
    assert f"TF_SERVING_VERSION={version}\n" in read("Dockerfile.native-op")
    image = f"tensorflow/serving:{version}"
    (service,) = yaml.safe_load(read("compose.yaml"))["services"].values()
    pod = kubernetes_documents()["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert service["image"] == container["image"] == image
    assert inference_service()["spec"]["predictor"]["model"][
        "runtimeVersion"
    ] == (version)
    common = {
        "--port=8500",
        "--rest_api_port=8501",
        "--rest_api_timeout_in_ms=60000",
        "--monitoring_config_file=/config/monitoring.config",
        "--enable_grpc_healthcheck_service=true",
    }
    entrypoint = read("Dockerfile").partition("ENTRYPOINT")[2]
    for flags in (
        json.loads(entrypoint.replace("\\\n", "")),
        service["entrypoint"],
        container["command"] + container["args"],
    ):
        assert flags[0] == "tensorflow_model_server"
        assert common <= set(flags)


def kubernetes_documents():
    documents = yaml.safe_load_all(read("kubernetes.yaml"))
    return {document["kind"]: document for document in documents}


@pytest.mark.parametrize("kind", kubernetes_documents())
def test_kubernetes(kind):
    document = kubernetes_documents()[kind]
    kubernetes_validate.validate(document, KUBERNETES, strict=True)
    assert document["metadata"]["labels"] == {"app": "radn"}


def test_kubernetes_config():
    data = kubernetes_documents()["ConfigMap"]["data"]
    assert data["monitoring.config"] == read("config/monitoring.config")


def inference_service():
    return yaml.safe_load(read("inference_service.yaml"))


# The fields of KServe's PredictorSpec and PredictorExtensionSpec, by its API
# reference (serving.kserve.io/v1beta1). Both have those of Kubernetes' PodSpec
# and Container besides.
_PREDICTOR = {
    "minReplicas": {"type": "integer", "minimum": 0},
    "maxReplicas": {"type": "integer", "minimum": 1},
    "scaleTarget": {"type": "integer"},
    "scaleMetric": {"enum": ["cpu", "memory", "concurrency", "rps"]},
    "containerConcurrency": {"type": "integer", "minimum": 0},
    "timeout": {"type": "integer", "minimum": 1},
    "canaryTrafficPercent": {"type": "integer"},
    "model": {"type": "object", "required": ["modelFormat"]},
}
_MODEL = {
    "modelFormat": {
        "type": "object",
        "required": ["name"],
        "properties": {
            "name": {"type": "string"},
            "version": {"type": "string"},
        },
        "additionalProperties": False,
    },
    "runtime": {"type": "string"},
    "runtimeVersion": {"type": "string"},
    "protocolVersion": {"enum": ["v1", "v2", "grpc-v1", "grpc-v2"]},
    "storageUri": {"type": "string", "pattern": "^(pvc|gs|s3|https?|oci)://"},
}


def test_inference_service():
    service = inference_service()
    assert service["apiVersion"] == "serving.kserve.io/v1beta1"
    assert service["kind"] == "InferenceService"
    assert set(service) == {"apiVersion", "kind", "metadata", "spec"}
    assert list(service["spec"]) == ["predictor"]
    predictor = service["spec"]["predictor"]
    pod = own_fields_valid(predictor, _PREDICTOR)
    container = own_fields_valid(predictor["model"], _MODEL)
    # What is left is Kubernetes'.
    kubernetes_validate.validate(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": service["metadata"],
            "spec": {**pod, "containers": [{"name": "model", **container}]},
        },
        KUBERNETES,
        strict=True,
    )
    claim = kubernetes_documents()["PersistentVolumeClaim"]["metadata"]["name"]
    assert predictor["model"]["storageUri"] == f"pvc://{claim}/radn"


def own_fields_valid(value, fields):
    """Checks KServe's fields, and returns the others."""
    own = {key: value[key] for key in value if key in fields}
    jsonschema.validate(own, {"type": "object", "properties": fields})
    return {key: value[key] for key in value if key not in fields}


def test_native_op_is_built_as_by_cmake():
    """Starlark is a subset of Python, so the targets need no Bazel."""
    targets = {}

    def cc_library(name, **kwargs):
        targets[name] = kwargs

    def glob(patterns):
        sources = ROOT / "custom_ops"
        return sorted(
            str(path.relative_to(sources))
            for pattern in patterns
            for path in sources.glob(pattern)
        )

    exec(read("native_op.BUILD"), {"cc_library": cc_library, "glob": glob})
    cmake = (ROOT / "custom_ops" / "CMakeLists.txt").read_text()
    for target in targets.values():
        for source in target["srcs"]:
            assert (ROOT / "custom_ops" / source).is_file()
    compiled = {s for s in targets["deformable"]["srcs"] if s.endswith(".cc")}
    added = re.search(r"add_library\(\s*deformable MODULE([^)]*)\)", cmake)[1]
    assert compiled == set(added.split())
    flags = {}

    def expanded(words):
        return [
            flag for word in words.split() for flag in flags.get(word, [word])
        ]

    for name, words in re.findall(r"set\((AVX\w+) ([^)]*)\)", cmake):
        flags[f"${{{name}}}"] = expanded(words)
    every = re.search(r"foreach\(source ([^)]*)\)", cmake)[1].split()
    kernels = {
        f"{one}_{isa}": expanded(words)
        for source, isa, words in re.findall(
            r"add_cpu_kernels\((\S+) (\w+)([^)]*)\)", cmake
        )
        for one in (every if source == "${source}" else [source])
    }
    assert {
        name: target["copts"][1:]
        for name, target in targets.items()
        if name != "deformable"
    } == kernels
