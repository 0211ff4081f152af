"""From a specification to a file, without a browser."""

from typing import Any, Literal

import vl_convert

from core_tokens.pictures import VEGA_LITE

Format = Literal["svg", "png"]


def rendered(specification: dict[str, Any], file_format: Format) -> bytes:
    """A picture as a file.

    SVG has the same bytes on every machine: its text is measured by a font that comes with the
    library. PNG is drawn at twice the size with whatever version of that font is there.
    """
    if file_format == "svg":
        return vl_convert.vegalite_to_svg(specification, vl_version=VEGA_LITE).encode()
    return vl_convert.vegalite_to_png(specification, vl_version=VEGA_LITE, scale=2)
