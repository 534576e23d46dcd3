"""Variants of the networks that the paper's Table 1 compares RADN with.

Without Keras, so that names are known before it is imported.
"""

MSCNN_PRESETS = {
    "mscnn": {"description": "MSCNN (DeepDeblur), 3 scales.", "config": {}},
}

DEBLURGAN_PRESETS = {
    "deblurgan": {"description": "DeblurGAN's generator.", "config": {}},
}

SVRNN_PRESETS = {
    "svrnn": {"description": "Spatially variant RNN.", "config": {}},
}

SRN_PRESETS = {
    "srn": {
        "description": "SRN with its ConvLSTM, on colors.",
        "config": {"recurrent": True, "color": True},
    },
    "srn_lstm": {
        "description": "SRN as published for gray images, one per color.",
        "config": {"recurrent": True, "color": False},
    },
    "srn_color": {
        "description": "SRN as published for colors, without ConvLSTM.",
        "config": {"recurrent": False, "color": True},
    },
}

PSSSRN_PRESETS = {
    "pss_srn": {"description": "PSS-SRN, on each color.", "config": {}},
}

DMPHN_PRESETS = {
    "dmphn_1_2_4": {
        "description": "DMPHN(1-2-4).",
        "config": {"levels": 3},
    },
    "dmphn_1_2_4_8": {
        "description": "DMPHN(1-2-4-8).",
        "config": {"levels": 4},
    },
    "stack4_dmphn": {
        "description": "Stack(4)-DMPHN, of four DMPHN(1-2-4).",
        "config": {"levels": 3, "stack": 4},
    },
}

# In the order of the paper's Table 1.
PEER_PRESETS = {
    **MSCNN_PRESETS,
    **DEBLURGAN_PRESETS,
    **SVRNN_PRESETS,
    **SRN_PRESETS,
    **PSSSRN_PRESETS,
    **DMPHN_PRESETS,
}
