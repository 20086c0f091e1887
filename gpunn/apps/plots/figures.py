"""The figures that all pictures are: matplotlib's, and a notebook shows them."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import matplotlib.figure

SHARPNESS = 2  # pixels of the picture for each that it takes on the page


class Figure(matplotlib.figure.Figure):
    """matplotlib's figure. As the last line of a notebook's cell it shows itself.

    Figures that are made by pyplot do that by pyplot's help, which these do without: they are
    not drawn again at the end of the cell.
    """

    def _repr_png_(self) -> tuple[bytes, dict[str, Any]]:
        picture = BytesIO()
        self.savefig(picture, format="png", dpi=SHARPNESS * self.dpi)
        width, height = (int(inches * self.dpi) for inches in self.get_size_inches())
        return picture.getvalue(), {"width": width, "height": height}
