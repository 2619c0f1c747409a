"""A page's tags, read strictly, and a name that tries everything."""

from html.parser import HTMLParser

VOID = {"meta", "link", "img", "br", "hr", "input"}
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'>{{ 7*7 }}\u202e\x00"


class Outline(HTMLParser):
    """Reads a page and complains about tags that do not match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def assert_hostile_words_are_text(page: str, *, images: int, escaped: int) -> None:
    """`HOSTILE` stands in the page as text, more often than `escaped`, and does nothing."""
    outline = Outline(page)
    assert outline.all("script") == []
    assert not any(name.startswith("on") for _, attributes in outline.tags for name in attributes)
    assert len(outline.all("img")) == images
    assert page.count("&lt;script&gt;") > escaped
    assert "{{ 7*7 }}" in page
    assert "\u202e" not in page
    assert "\x00" not in page
