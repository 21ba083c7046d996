"""Where the strings of bits come from."""

from pipeline.dataset import DatasetInfo
from pipeline.tasks import about
from pipeline.tasks.about import Origin


class About(about.About):
    """Strings that are computed."""

    def origin(self, info: DatasetInfo) -> Origin:
        """Every string of so many bits."""
        return Origin(
            description=f"All strings of {info.shape[0]} bits, each with its number of ones. The seed draws those that "
            "train, all others test.",
            licence="MIT",
            source="computed by this project",
            limits=(
                "Counts in the middle are frequent and those at the ends are rare, as the binomial distribution says.",
            ),
        )
