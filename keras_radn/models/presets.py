"""Variants of the paper's Table 1, a light one, and packaged weights.

`gmac` is at 256x256 (`keras_radn.models.cost`); `psnr` of packaged weights is
the mean in dB that MODEL_CARD.md reports of both validation sets.
"""

RADN_PRESETS = {
    "radn1": {
        "description": "Bottleneck decoder, no attention, random encoder.",
        "parameters": 7_231_603,
        "gmac": 8.65,
        "config": {"decoder_block": "bottleneck", "attention": False},
    },
    "radn2": {
        "description": "RADN1 with an ImageNet encoder.",
        "parameters": 7_231_603,
        "gmac": 8.65,
        "config": {
            "decoder_block": "bottleneck",
            "attention": False,
            "encoder_weights": "imagenet",
        },
    },
    "radn3": {
        "description": "Dense modules with ordinary convolutions.",
        "parameters": 8_718_259,
        "gmac": 10.30,
        "config": {
            "decoder_block": "dense",
            "attention": False,
            "encoder_weights": "imagenet",
        },
    },
    "radn4": {
        "description": "RADN3 with self-attention.",
        "parameters": 9_046_579,
        "gmac": 10.42,
        "config": {
            "decoder_block": "dense",
            "attention": True,
            "encoder_weights": "imagenet",
        },
    },
    "radn_final": {
        "description": "Dense deformable modules and self-attention.",
        "parameters": 10_337_719,
        "gmac": 12.11,
        "config": {
            "decoder_block": "deformable",
            "attention": True,
            "encoder_weights": "imagenet",
        },
        "weights": {
            "file": "radn_final_v4.npz",
            "sha256": (
                "21f326e4d2037f7094e9357cafaf3f32"
                "7423915d6fe80ca8734f52c8995a26a5"
            ),
            "psnr": {"GoPro": 26.62, "Kodak": 26.46},
        },
    },
    "lite": {
        "description": "Narrow, with fewer units, for phones and CPUs.",
        "parameters": 1_635_859,
        "gmac": 2.80,
        "config": {
            "encoder_units": (6, 8, 12),
            "growth_rate": 16,
            "stem_filters": 48,
            "transition_filters": (64, 96, 160),
            "decoder_filters": (64, 48, 48, 16),
            "deform_units": 4,
            "deform_growth_rate": 24,
        },
        "weights": {
            "file": "lite_v1.npz",
            "sha256": (
                "0b9fc50092616951635e5ffd492e2e3f"
                "f20c767f995f36a914b10ffb041db2aa"
            ),
            "psnr": {"GoPro": 26.18, "Kodak": 26.05},
        },
    },
}

# The five rows of the paper's Table 2.
RESIDUAL_BASELINE_PRESETS = {
    f"residual_{count}{'_attention' * attention}": {
        "description": (
            f"{count} of 6 trunk convolutions deformable, "
            f"{'with' if attention else 'without'} self-attention."
        ),
        "config": {"deformable_layers": count, "attention": attention},
    }
    for count, attention in (
        (0, False),
        (0, True),
        (3, False),
        (6, False),
        (6, True),
    )
}
