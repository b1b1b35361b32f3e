"""What mkdocs does beside its plug-ins: cross-references of docstrings (``:class:`Bundle```) become plain code."""

import re
from typing import Any

ROLE = re.compile(r":(?:class|func|meth|mod|data|attr):<code>~?([^<]*)</code>")


def on_page_content(html: str, **_: Any) -> str:
    """The page with its roles replaced; what stands inside code blocks is not markup and stays."""
    return ROLE.sub(r"<code>\1</code>", html)
