import argparse

from keras_radn.cli.model_file import add_model_argument, load_model


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Adds `keras-radn evaluate`."""
    parser = commands.add_parser(
        "evaluate",
        help="measure PSNR on pairs (needs keras-radn[train])",
        description="Prints the PSNR of the blurred and of the deblurred "
        "images against the sharp ones (RGB, whole images, 8 bits).",
    )
    parser.add_argument(
        "root", metavar="FOLDER", help="folder with blur/ and sharp/"
    )
    add_model_argument(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Runs `keras-radn evaluate`; see `main` for the exit status."""
    # Here, not above: the other commands do not need the extra.
    from keras_radn.training import evaluate_pairs

    rows = evaluate_pairs(options.root, load_model(options.model))
    rows.append(
        {
            "name": "mean",
            **{
                key: sum(row[key] for row in rows) / len(rows)
                for key in ("blurred_psnr", "deblurred_psnr")
            },
        }
    )
    print("| image | blurred, dB | deblurred, dB | gain, dB |")
    print("|---|---:|---:|---:|")
    for row in rows:
        before, after = row["blurred_psnr"], row["deblurred_psnr"]
        print(
            f"| {row['name']} | {before:.2f} | {after:.2f} | "
            f"{after - before:+.2f} |"
        )
    return 0
