"""Where the story comes from."""

from pipeline.dataset import DatasetInfo
from pipeline.tasks import about
from pipeline.tasks.about import Origin

RETOLD = "belling_the_cat_retold"


class About(about.About):
    """The fable of this project, or another text."""

    def origin(self, info: DatasetInfo) -> Origin:
        """The origin of the story."""
        limits = (
            "The evaluated windows are those that trained: accuracy says how much of the text was learned by heart.",
        )
        if info.dataset == RETOLD:
            return Origin(
                "A fable that is attributed to Aesop, told anew for this project, as tokens.",
                "MIT",
                "written for this project",
                limits=limits,
            )
        return Origin(f"The text {info.dataset}, which params.yaml names, as tokens.", limits=limits)
