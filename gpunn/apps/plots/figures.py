"""The figure class of all plots: matplotlib's, displayed by notebooks."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import matplotlib.figure

SHARPNESS = 2  # pixels of the picture per pixel on the page


class Figure(matplotlib.figure.Figure):
    """matplotlib's figure, displayed when it is the last line of a notebook cell.

    It does not use pyplot, so the figure is not drawn a second time at the end of the cell.
    """

    def _repr_png_(self) -> tuple[bytes, dict[str, Any]]:
        picture = BytesIO()
        self.savefig(picture, format="png", dpi=SHARPNESS * self.dpi)
        width, height = (int(inches * self.dpi) for inches in self.get_size_inches())
        return picture.getvalue(), {"width": width, "height": height}
