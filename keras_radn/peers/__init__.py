"""The networks that the paper's Table 1 compares RADN with.

Each is a functional Keras model as `keras_radn.RADN` is, with the same recipe,
commands and exports.
"""

from keras_radn.keras_setup import import_keras

import_keras()

from keras_radn.peers.conversion import load_published
from keras_radn.peers.deblurgan import DeblurGANGenerator
from keras_radn.peers.dmphn import DMPHN
from keras_radn.peers.mscnn import MSCNN
from keras_radn.peers.peer_network import PeerNetwork
from keras_radn.peers.psssrn import PSSSRN
from keras_radn.peers.srn import SRN
from keras_radn.peers.svrnn import SVRNN

__all__ = [
    "DMPHN",
    "MSCNN",
    "PSSSRN",
    "SRN",
    "SVRNN",
    "DeblurGANGenerator",
    "load_published",
]

# In the order of the paper's Table 1.
NETWORKS: tuple[type[PeerNetwork], ...] = (
    MSCNN,
    DeblurGANGenerator,
    SVRNN,
    SRN,
    PSSSRN,
    DMPHN,
)

# Names of all variants, and the class of each.
PRESETS: dict[str, type[PeerNetwork]] = {
    preset: network for network in NETWORKS for preset in network.presets
}
