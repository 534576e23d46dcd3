import pytest
import tensorflow as tf

from keras_radn import export
from keras_radn.export.network import picture_function


@pytest.mark.slow
def test_norms_cost_nothing(network):
    """Norms of the decoder and after convolutions are folded in."""
    graph = picture_function(network, loops=False).get_concrete_function().graph
    operations = graph.get_operations()
    kinds = [op.type for op in operations]
    assert kinds.count("Conv2DBackpropInput") == 3
    norms = ("FusedBatchNormV3", "Mul", "Sub", "AddV2")
    after = [
        op.name
        for op in operations
        if op.type in norms
        and any(x.op.type.startswith("Conv2D") for x in op.inputs)
    ]
    # Where the attention's residual and the offsets' parts are added.
    assert all(name.startswith("add") for name in after), after
    # One for each unit of the encoder and each transition, no more.
    assert kinds.count("FusedBatchNormV3") == 3 * (1 + 1)


@pytest.mark.slow
def test_large_images_are_served_in_chunks(network, tmp_path):
    """A SavedModel's memory does not grow with the pixels squared."""
    exported = export.saved_model(network, tmp_path / "radn", warmup=False)
    loaded = tf.saved_model.load(str(exported.path))
    graph = loaded.signatures["serving_default"].graph.as_graph_def()
    functions = (graph.node, *(f.node_def for f in graph.library.function))
    kinds = {node.op for nodes in functions for node in nodes}
    assert kinds & {"While", "StatelessWhile"}
