"""HTML and SVG as text: elements that escape all user text."""

from .elements import Markup, element, escaped, joined

__all__ = ["Markup", "element", "escaped", "joined"]
