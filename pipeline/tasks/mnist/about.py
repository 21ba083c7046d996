"""Where the images of digits come from."""

from pipeline.dataset import DatasetInfo
from pipeline.tasks import about
from pipeline.tasks.about import Origin


class About(about.About):
    """MNIST, or its stand-in."""

    def origin(self, info: DatasetInfo) -> Origin:
        """The origin of MNIST, or of the digits that scikit-learn ships."""
        if info.stand_in:
            return Origin(
                description="The 1,797 digits that scikit-learn ships, 8 x 8 pixels, brought into the form of MNIST.",
                licence="CC-BY-4.0",
                source="https://archive.ics.uci.edu/dataset/80/optical+recognition+of+handwritten+digits",
                citation="E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning "
                "Repository, 1998, doi:10.24432/C50P49",
                limits=("It takes the place of MNIST where that cannot be had. Its figures are not those of MNIST.",),
            )
        return Origin(
            description="Grey images of handwritten digits, made of two databases of NIST: employees of the US Census "
            "Bureau wrote one, high school students the other. No writer of a test image wrote one that trains.",
            licence="CC-BY-SA-3.0",
            source="http://yann.lecun.com/exdb/mnist/",
            citation="Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, Gradient-based learning applied to document "
            "recognition, Proceedings of the IEEE 86(11), 1998",
            limits=(
                "American hands wrote them: a 1 is a stroke, a 7 has no bar. A 1 with a long flag may be read as a 7.",
                "Each digit stands alone, centred in its image. Photographs are brought into that form first.",
            ),
        )
