"""The elements of an XML file one by one, in constant memory, whatever its namespace and encoding."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from osparse.errors import DatasetError
from osparse.io.streams import opened

XML_LANG = "{http://www.w3.org/XML/1998/namespace}lang"


def elements(path: Path, root: str, *names: str, begins: Collection[str] = ()) -> Iterator[Element]:
    """Yield each element of ``names`` when it ends, and each of ``begins``, with its attributes alone, when it begins.

    Raises:
        DatasetError: the outermost element is not ``root``, or the file is not well-formed (path:line).
    """
    with opened(path) as file:
        parents = list[Element]()
        try:
            for event, element in ElementTree.iterparse(file, events=("start", "end")):
                name = local_name(element)
                if event == "start":
                    if not parents and name != root:
                        raise DatasetError(f"{path} is not {root.upper()}: it begins with <{name}>, not with <{root}>")
                    parents.append(element)
                    if name in begins:
                        yield element
                    continue
                parents.pop()
                if name in names:
                    yield element
                    if parents:
                        parents[-1].remove(element)
        except ElementTree.ParseError as problem:
            raise DatasetError(f"{path}:{problem.position[0]}: not well-formed XML: {problem}") from None


def local_name(element: Element) -> str:
    """The name of an element without its namespace; "" of a comment or processing instruction."""
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def running_text(element: Element, code: Collection[str]) -> str:
    """The text of an element and of those in it, but for the content of the elements named in ``code``."""
    inner = (("" if local_name(child) in code else running_text(child, code)) + (child.tail or "") for child in element)
    return (element.text or "") + "".join(inner)
