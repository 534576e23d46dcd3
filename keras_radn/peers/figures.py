"""What others report of networks and methods on GoPro's test set."""

from typing import NamedTuple


class Reported(NamedTuple):
    """A row of the paper's Table 1.

    Attributes:
        psnr: in dB.
        ssim: structural similarity.
        seconds: for an image of 1280x720; of the networks on a GPU.
    """

    psnr: float
    ssim: float
    seconds: float


# By presets of `keras_radn.RADN` and `keras_radn.peers`, in the table's order.
TABLE_1 = {
    "mscnn": Reported(29.23, 0.9162, 6.0),
    "deblurgan": Reported(28.70, 0.8580, 1.0),
    "svrnn": Reported(29.19, 0.9306, 1.4),
    "srn": Reported(30.10, 0.9323, 1.6),
    "pss_srn": Reported(30.92, 0.9421, 1.6),
    "stack4_dmphn": Reported(31.20, 0.9451, 0.7),
    "radn1": Reported(30.77, 0.9417, 0.032),
    "radn2": Reported(31.17, 0.9454, 0.032),
    "radn3": Reported(31.42, 0.9494, 0.034),
    "radn4": Reported(31.58, 0.9503, 0.036),
    "radn_final": Reported(31.76, 0.9530, 0.038),
}

# Methods of the table that are not networks from image to image.
CLASSICAL = {
    "Hyun Kim et al. 2013": Reported(23.80, 0.8358, 2000.0),
    "Whyte et al. 2012": Reported(24.60, 0.8458, 700.0),
    "MBMF (Gong et al. 2017)": Reported(24.64, 0.8429, 120.0),
}

# PSNR in dB by the networks' own authors, where there is a source beside the
# paper's table.
AUTHORS_PSNR = {
    "srn": 30.26,  # Tao et al., CVPR 2018, doi:10.1109/CVPR.2018.00390
    "srn_lstm": 30.19,  # README of jiangsutx/SRN-Deblur, `--model=lstm`
    "stack4_dmphn": 31.20,  # Zhang et al., CVPR 2019, arXiv:1904.03468
}
