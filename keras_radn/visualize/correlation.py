import warnings
from collections.abc import Sequence


def rank_correlation(
    strengths: Sequence[float], magnitudes: Sequence[float]
) -> float:
    """Spearman's rank correlation of blur strength and offset magnitude.

    Args:
        strengths: of the blur of each image.
        magnitudes: of its offsets, `Inspection.offset_magnitude`.

    Returns:
        From -1 to 1, where magnitudes grow with the strengths without
        exception; NaN if the magnitudes are all the same.
    """
    try:
        from scipy import stats
    except ImportError as error:
        raise ImportError(
            "Correlations need SciPy: pip install 'keras-radn[visualize]'."
        ) from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.ConstantInputWarning)
        return float(stats.spearmanr(strengths, magnitudes).statistic)
