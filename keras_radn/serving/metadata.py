from grpc import StatusCode
from tensorflow_serving.apis import get_model_metadata_pb2

from keras_radn.serving.errors import ServingError, invalid
from keras_radn.serving.servable import DEFAULT_SIGNATURE, Servable

_METHODS = {
    "classify": ("classification", "tensorflow/serving/classify"),
    "regress": ("regression", "tensorflow/serving/regress"),
}


def signature_map(
    servable: Servable,
) -> get_model_metadata_pb2.SignatureDefMap:
    """The signatures, as the protocols send them."""
    signatures = get_model_metadata_pb2.SignatureDefMap()
    for name, signature in servable.signatures.items():
        signatures.signature_def[name].CopyFrom(signature)
    return signatures


def refuse_method(servable: Servable, method: str, name: str) -> None:
    """Answers a `classify` or `regress` request.

    An image network has signatures of the kind "predict" only, for which this
    raises what TF-Serving does.

    Raises:
        ServingError: always.
    """
    name = name or DEFAULT_SIGNATURE
    if name not in servable.signatures:
        raise invalid(f"No signature was found with the name: {name}")
    kind, wanted = _METHODS[method]
    found = servable.signatures[name].method_name
    if found != wanted:
        raise invalid(
            f"Expected {kind} signature method_name to be {wanted}. Was: "
            f"{found}"
        )
    raise ServingError(
        StatusCode.UNIMPLEMENTED, f"This server does not {method}; use predict."
    )
