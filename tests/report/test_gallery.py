import base64

from envoi.report.gallery import EmbeddedPicture, embed
from envoi.results import Picture


def test_pictures_are_embedded_in_order(make_folder, result):
    folder = make_folder(result).path
    pictures = embed(folder, result.gallery)
    assert [picture.caption for picture in pictures] == [p.caption for p in result.gallery]
    for picture, source in zip(pictures, result.gallery, strict=True):
        assert (picture.width_px, picture.height_px) == (448, 28)
        content = base64.b64decode(picture.uri.removeprefix("data:image/png;base64,"))
        assert content == (folder / source.file).read_bytes()
        assert picture.is_row
        assert picture.is_small


def test_shapes_of_pictures():
    assert not EmbeddedPicture("", "", 120, 120).is_row
    assert not EmbeddedPicture("", "", 120, 120).is_small
    assert EmbeddedPicture("", "", 960, 60).aspect == 16


def test_names_may_leave_out_the_gallery(make_folder, result):
    folder = make_folder(result).path
    assert embed(folder, (Picture("0.png", ""),)) == embed(folder, (Picture("gallery/0.png", ""),))


def test_what_is_missing_outside_or_no_picture_is_left_out(make_folder, result):
    folder = make_folder(result).path
    (folder / "secret.png").write_bytes((folder / "gallery/0.png").read_bytes())
    (folder / "gallery/text.png").write_text("<script>alert(1)</script>")
    cut = (folder / "gallery/1.png").read_bytes()[:200]
    (folder / "gallery/cut.png").write_bytes(cut)
    (folder / "gallery/link.png").symlink_to(folder / "secret.png")
    names = [
        "gallery/none.png",
        "../secret.png",
        "gallery/../secret.png",
        str(folder / "secret.png"),
        "gallery/text.png",
        "gallery/cut.png",
        "gallery/link.png",
        "gallery",
        "",
        "a\0b",
        "x" * 5000,
    ]
    assert embed(folder, tuple(Picture(name, "") for name in names)) == ()
