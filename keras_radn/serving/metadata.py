from tensorflow_serving.apis import get_model_metadata_pb2

from keras_radn.serving.servable import Servable


def signature_map(
    servable: Servable,
) -> get_model_metadata_pb2.SignatureDefMap:
    """The signatures, as the protocols send them."""
    signatures = get_model_metadata_pb2.SignatureDefMap()
    for name, signature in servable.signatures.items():
        signatures.signature_def[name].CopyFrom(signature)
    return signatures
