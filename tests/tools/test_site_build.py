"""The web edition is not built over a warning, and not without a look at its links."""

import pytest

pytest.importorskip("sphinx", reason="the extra `site` is not installed")

from tools.setup.say import Stop
from tools.site import build


def staged(text):
    """A `stage` that writes one page instead of the course."""

    def stage(source, _place):
        source.mkdir(parents=True)
        (source / "index.md").write_text(text, encoding="utf-8")

    return stage


@pytest.mark.parametrize("link", ["[x](#no-such-heading)", "[x](no-such-page.md)", "[x](index.md#nor-this)"])
def test_a_link_to_what_is_not_there_stops_the_build(link, tmp_path, monkeypatch):
    monkeypatch.setattr(build, "stage", staged(f"# Title\n\n{link}\n"))
    with pytest.raises(Stop, match="was not built"):
        build.build(tmp_path / "out")
    assert not build._made(tmp_path / "out")


def pages(folder, link):
    links = "".join(f'<a href="{number}.html">x</a>' for number in range(120))
    (folder / "index.html").write_text(f'<html><body>{links}<a href="{link}">y</a></body></html>')
    for number in range(120):
        (folder / f"{number}.html").write_text("<html><body>z</body></html>")


def test_a_link_within_the_built_pages_that_leads_nowhere_is_told(tmp_path):
    pages(tmp_path, "7.html")
    build.check_links(tmp_path)
    pages(tmp_path, "gone.html")
    with pytest.raises(Stop, match=r"(?s)lead nowhere.*gone\.html"):
        build.check_links(tmp_path)


def test_a_check_that_saw_hardly_any_link_is_no_check(tmp_path):
    (tmp_path / "index.html").write_text("<html><body>nothing</body></html>")
    with pytest.raises(Stop, match="saw none"):
        build.check_links(tmp_path)
