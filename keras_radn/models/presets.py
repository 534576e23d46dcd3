"""Variants of the paper's Table 1, a light one, and packaged weights."""

RADN_PRESETS = {
    "radn1": {
        "description": "Bottleneck decoder, no attention, random encoder.",
        "config": {"decoder_block": "bottleneck", "attention": False},
    },
    "radn2": {
        "description": "RADN1 with an ImageNet encoder.",
        "config": {
            "decoder_block": "bottleneck",
            "attention": False,
            "encoder_weights": "imagenet",
        },
    },
    "radn3": {
        "description": "Dense modules with ordinary convolutions.",
        "config": {
            "decoder_block": "dense",
            "attention": False,
            "encoder_weights": "imagenet",
        },
    },
    "radn4": {
        "description": "RADN3 with self-attention.",
        "config": {
            "decoder_block": "dense",
            "attention": True,
            "encoder_weights": "imagenet",
        },
    },
    "radn_final": {
        "description": "Dense deformable modules and self-attention.",
        "config": {
            "decoder_block": "deformable",
            "attention": True,
            "encoder_weights": "imagenet",
        },
        "weights": {
            "file": "radn_final_v1.npz",
            "sha256": (
                "d0957fa26a397fb9747af5938fb39365"
                "bb83eb0af5502b264ac67de181bb5328"
            ),
        },
    },
    "lite": {
        "description": "Narrow, with fewer units, for phones and CPUs.",
        "config": {
            "encoder_units": (6, 8, 12),
            "growth_rate": 16,
            "stem_filters": 48,
            "transition_filters": (64, 96, 160),
            "decoder_filters": (64, 48, 48, 16),
            "deform_units": 4,
            "deform_growth_rate": 24,
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
