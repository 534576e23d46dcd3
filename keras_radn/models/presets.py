"""Variants of the paper's Table 1, smaller networks, and packaged weights.

`gmac` is at 256x256 (`keras_radn.models.cost`); `psnr` of packaged weights is
the mean in dB that MODEL_CARD.md reports of both validation sets.
"""

# What the inference form of a network computes in.
DTYPES = ("float32", "bfloat16")

# The architecture of the paper's RADN(Final); presets say what they change.
FINAL = {
    "decoder_block": "deformable",
    "attention": True,
    "attention_pool": 1,
    "attention_window": 0,
    "stem_pool": False,
    "encoder_units": (12, 16, 24),
    "growth_rate": 32,
    "stem_filters": 64,
    "transition_filters": (128, 256, 512),
    "decoder_filters": (128, 64, 64, 16),
    "deform_units": 6,
    "deform_growth_rate": 32,
}

RADN_PRESETS = {
    "radn1": {
        "description": "Bottleneck decoder, no attention, random encoder.",
        "parameters": 7_167_395,
        "gmac": 31.19,
        "config": {"decoder_block": "bottleneck", "attention": False},
    },
    "radn2": {
        "description": "RADN1 with an ImageNet encoder.",
        "parameters": 7_167_395,
        "gmac": 31.19,
        "config": {
            "decoder_block": "bottleneck",
            "attention": False,
            "encoder_weights": "imagenet",
        },
    },
    "radn3": {
        "description": "Dense modules with ordinary convolutions.",
        "parameters": 8_655_779,
        "gmac": 37.80,
        "config": {
            "decoder_block": "dense",
            "attention": False,
            "encoder_weights": "imagenet",
        },
    },
    "radn4": {
        "description": "RADN3 with self-attention.",
        "parameters": 8_984_099,
        "gmac": 38.74,
        "config": {"decoder_block": "dense", "encoder_weights": "imagenet"},
    },
    "radn_final": {
        "description": "Dense deformable modules and self-attention.",
        "parameters": 10_275_239,
        "gmac": 45.50,
        "config": {"encoder_weights": "imagenet"},
    },
    "radn_final_pooled": {
        "description": "RADN(Final) with DenseNet's pooling after the stem.",
        "parameters": 10_341_031,
        "gmac": 12.11,
        "config": {"stem_pool": True, "encoder_weights": "imagenet"},
    },
    "compact": {
        "description": "Fewer units, some narrower: trains and runs faster.",
        "parameters": 3_839_333,
        "gmac": 14.88,
        "config": {
            "encoder_units": (4, 6, 12),
            "stem_filters": 48,
            "transition_filters": (96, 192, 384),
            "decoder_filters": (128, 64, 48, 16),
            "deform_units": 3,
            "attention_pool": 2,
            "attention_window": 32,
        },
        "weights": {
            "file": "compact_v3.npz",
            "sha256": (
                "40fbe08406fd4bbfd2f3a232915f20f6"
                "c6f1f7c6e3578f4e28830ab55a6fc24a"
            ),
            "psnr": {"GoPro": 28.34, "Kodak": 27.65},
        },
    },
    "lite": {
        "description": "Narrow, with few units, for phones and CPUs.",
        "parameters": 835_495,
        "gmac": 3.94,
        "config": {
            "encoder_units": (3, 4, 8),
            "growth_rate": 16,
            "stem_filters": 32,
            "transition_filters": (48, 96, 160),
            "decoder_filters": (64, 48, 32, 16),
            "deform_units": 2,
            "deform_growth_rate": 24,
            "attention_pool": 2,
            "attention_window": 32,
        },
        "weights": {
            "file": "lite_v7.npz",
            "sha256": (
                "3061c11816cb1e297752bbdca46e8841"
                "9d0ef7b2d53ea5bfce3775eeda143957"
            ),
            "psnr": {"GoPro": 28.28, "Kodak": 27.59},
        },
    },
}

# What `pretrained=True` and the command line take unless another is named: the
# largest network that is at least 0.3 dB better than the next smaller one, on
# the mean of both validation sets, in no more than three times its time.
DEFAULT_PRESET = "lite"

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
