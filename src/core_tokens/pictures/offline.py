"""What a page with pictures needs to work without a network: Vega and the page's own script."""

import json
from functools import cache
from importlib import resources

import vl_convert

from core_tokens.pictures import VEGA_LITE, style

NOTICE = """\
/* Vega, Vega-Lite, Vega-Embed, Vega-Tooltip (c) University of Washington Interactive Data Lab,
   BSD-3-Clause; D3 (c) Mike Bostock, ISC. https://vega.github.io */
"""


@cache
def script() -> str:
    """JavaScript that defines ``vegaEmbed``, drawing as wide as the page and in its colours."""
    bundle = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", VEGA_LITE)
    configs = json.dumps({theme: style.config(theme) for theme in ("light", "dark")})
    page = resources.files("core_tokens.pictures").joinpath("page.js").read_text("utf-8")
    whole = f"{NOTICE}(() => {{{bundle}}})();\nwindow.pageConfigs = {configs};\n{page}"
    return whole.replace("</script", "<\\/script").replace("<!--", "<\\!--")
