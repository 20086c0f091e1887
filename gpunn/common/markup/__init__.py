"""HTML and SVG as text: elements in which nothing of a user becomes markup."""

from .elements import Markup, element, escaped, joined

__all__ = ["Markup", "element", "escaped", "joined"]
